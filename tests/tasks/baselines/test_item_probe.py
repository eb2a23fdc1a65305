"""The linear probe against numpy's least squares and the rule on true categories."""

import numpy as np
import pytest

from tasks import labels, metrics
from tasks.baselines import (
  UserSamples,
  answer_by_rule,
  estimate_categories,
  item_probe,
  linear_probe,
  rule_on_sample,
)

RULE = labels.LabelRule()
ITEMS, GENRES, WIDTH = 90, 5, 8


def draw(seed: int, users: int):
  """(vectors that hold the categories, categories, users with taste and labels)."""
  rng = np.random.default_rng(seed)
  categories = rng.random((ITEMS, GENRES)) < 0.3
  noise = rng.normal(0, 0.05, (ITEMS, WIDTH))
  vectors = categories @ rng.normal(size=(GENRES, WIDTH)) + 3 + noise
  items = [rng.choice(ITEMS, n, replace=False) for n in rng.integers(0, 40, users)]
  taste = rng.integers(1, 6, (users, GENRES))
  ratings = [
    np.clip(categories[own] @ likes / np.maximum(categories[own].sum(1), 1), 1, 5)
    for own, likes in zip(items, taste, strict=True)
  ]
  ratings = [np.round(2 * x).astype(np.float32) / 2 for x in ratings]
  samples = [(categories[own], x) for own, x in zip(items, ratings, strict=True)]
  truth = rule_on_sample(samples, GENRES, RULE)
  return vectors.astype(np.float32), categories, UserSamples(items, ratings, truth)


@pytest.mark.parametrize('block', [16_384, 7])
def test_estimates_equal_least_squares(monkeypatch, block):
  """Ridge is least squares with a row of sqrt(λ d) for every weight."""
  monkeypatch.setattr(item_probe, '_BLOCK', block)
  vectors, categories, _ = draw(0, 1)
  ridges = (1e-3, 1.0)
  made = estimate_categories(vectors, categories, ridges)
  assert made.shape == (2, ITEMS, GENRES)
  x, y = vectors.astype(float), categories.astype(float)
  centred = x - x.mean(0)
  for found, ridge in zip(made, ridges, strict=True):
    extra = np.sqrt(ridge * np.diag(centred.T @ centred).mean()) * np.eye(WIDTH)
    stacked = np.vstack([centred, extra]), np.vstack([y - y.mean(0), 0 * x[:WIDTH, :5]])
    weights, *_ = np.linalg.lstsq(*stacked, rcond=None)
    np.testing.assert_allclose(found, centred @ weights + y.mean(0), atol=1e-9)


def test_items_without_a_vector_change_nothing():
  vectors, categories, _ = draw(0, 1)
  known = np.arange(ITEMS) % 3 > 0
  some = np.where(known[:, None], vectors, np.nan)
  made = estimate_categories(some, categories, [0.1])
  wanted = estimate_categories(vectors[known], categories[known], [0.1])
  np.testing.assert_array_equal(made[:, known], wanted)
  assert np.isnan(made[:, ~known]).all()


@pytest.mark.filterwarnings('error')
def test_equal_vectors_and_no_items():
  categories = draw(0, 1)[1]
  made = estimate_categories(np.ones((ITEMS, WIDTH)), categories, [0.1])
  np.testing.assert_allclose(made[0], np.tile(categories.mean(0), (ITEMS, 1)))
  nothing = estimate_categories(np.zeros((0, WIDTH)), categories[:0], [0.1, 1])
  assert nothing.shape == (2, 0, GENRES)


def test_the_rule_equals_that_of_one_user():
  _, categories, users = draw(1, 30)
  np.testing.assert_array_equal(answer_by_rule(categories, users, RULE), users.truth)


@pytest.mark.filterwarnings('error')
def test_vectors_that_hold_the_categories_give_the_answers_of_the_rule():
  vectors, categories, users = draw(2, 60)
  validation = UserSamples(*(x[:20] for x in users))
  made = linear_probe(vectors, categories, validation, users, RULE)
  assert metrics.weighted_scores(users.truth, made.answers)['f1'] > 0.95
  assert made.settings.keys() == {'ridge', 'threshold'}


def test_the_settings_are_the_best_on_the_validation_users():
  """Not on those that are answered, whose labels are not read."""
  vectors, categories, users = draw(3, 60)
  vectors += np.random.default_rng(0).normal(0, 0.7, vectors.shape)
  validation = UserSamples(*(x[:20] for x in users))
  blind = users._replace(truth=np.zeros_like(users.truth))
  made = linear_probe(vectors, categories, validation, blind, RULE)
  scores = {}
  for ridge in (1e-3, 1e-2, 1e-1, 1):
    (estimates,) = estimate_categories(vectors, categories, [ridge])
    for threshold in (0.3, 0.4, 0.5, 0.6):
      answers = answer_by_rule(estimates > threshold, validation, RULE)
      f1 = metrics.weighted_scores(validation.truth, answers)['f1']
      scores[ridge, threshold] = f1
  best = made.settings['ridge'], made.settings['threshold']
  assert scores[best] == max(scores.values()) > min(scores.values())
  (estimates,) = estimate_categories(vectors, categories, best[:1])
  wanted = answer_by_rule(estimates > best[1], users, RULE)
  np.testing.assert_array_equal(made.answers, wanted)


@pytest.mark.filterwarnings('error')
def test_without_validation_users_and_without_users():
  vectors, categories, users = draw(4, 10)
  nobody = UserSamples([], [], users.truth[:0])
  unlabelled = users._replace(truth=np.zeros_like(users.truth))
  for validation in (nobody, unlabelled):
    made = linear_probe(vectors, categories, validation, users, RULE)
    assert made.settings == {'ridge': 0.01, 'threshold': 0.5}
  made = linear_probe(vectors, categories, users, nobody, RULE)
  assert made.answers.shape == (0, 2 * GENRES)
