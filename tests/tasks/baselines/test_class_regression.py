"""Logistic regressions against scikit-learn, one class at a time."""

import numpy as np
import pytest

from tasks import metrics
from tasks.baselines import (
  UserSamples,
  class_regression,
  fit_classes,
  logistic_regression,
  pool_users,
  standardize_columns,
  top_classes,
  turn_columns,
)

CLASSES, WIDTH = 6, 4
RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(50, WIDTH)).astype(np.float32)
WEIGHTS = RNG.normal(size=(2 * WIDTH + 1, CLASSES))


def draw(seed: int, count: int) -> UserSamples:
  """Users whose labels follow, with some noise, from their pooled vectors."""
  rng = np.random.default_rng(seed)
  lengths = rng.integers(3, 12, count)
  items = [rng.choice(50, n, replace=False) for n in lengths]
  ratings = [(rng.integers(1, 11, n) / 2).astype(np.float32) for n in lengths]
  users = UserSamples(items, ratings, np.zeros((count, CLASSES), bool))
  (columns,) = standardize_columns(pool_users(VECTORS, users))
  noise = rng.normal(size=(count, CLASSES)) if count else 0
  return users._replace(truth=columns @ WEIGHTS + noise > 1)


NOBODY = draw(0, 0)


@pytest.mark.parametrize('penalty', [0.5, 20.0])
def test_fits_equal_scikit_learn(penalty):
  library = pytest.importorskip('sklearn.linear_model')
  users = draw(1, 80)
  (columns,) = standardize_columns(pool_users(VECTORS, users))
  weights, intercepts = fit_classes(turn_columns(columns), users.truth, penalty)
  for column in range(CLASSES):
    model = library.LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=10_000)
    model.fit(columns, users.truth[:, column])
    np.testing.assert_allclose(weights[:, column], model.coef_[0], atol=1e-3)
    np.testing.assert_allclose(intercepts[column], model.intercept_[0], atol=1e-3)


def test_fewer_users_than_columns():
  library = pytest.importorskip('sklearn.linear_model')
  columns, truth = RNG.normal(size=(9, 20)), np.arange(9)[:, None] % 2 > 0
  turned = turn_columns(columns)
  assert turned.turn.shape == (20, 9)
  weights, intercepts = fit_classes(turned, truth, 2.0)
  model = library.LogisticRegression(C=0.5, tol=1e-8, max_iter=10_000)
  model.fit(columns, truth[:, 0])
  np.testing.assert_allclose(weights[:, 0], model.coef_[0], atol=1e-3)
  np.testing.assert_allclose(intercepts[0], model.intercept_[0], atol=1e-3)


@pytest.mark.filterwarnings('error')
def test_classes_that_nobody_or_everybody_has():
  users = draw(1, 40)
  (columns,) = standardize_columns(pool_users(VECTORS, users))
  truth = users.truth.copy()
  truth[:, 1], truth[:, 4] = False, True
  turned = turn_columns(columns)
  weights, intercepts = fit_classes(turned, truth, 1.0)
  assert (intercepts[1], intercepts[4]) == (-np.inf, np.inf)
  assert not weights[:, [1, 4]].any()
  others = [0, 2, 3, 5]
  apart, _ = fit_classes(turned, truth[:, others], 1.0)
  np.testing.assert_allclose(weights[:, others], apart, atol=1e-9)
  for labels in (truth[:0], np.zeros_like(truth)):
    turned = turn_columns(columns[: len(labels)])
    weights, intercepts = fit_classes(turned, labels, 1.0)
    assert not weights.any()
    assert np.all(intercepts == -np.inf)


@pytest.mark.filterwarnings('error')
def test_it_finds_what_the_vectors_tell():
  train, validation, users = draw(1, 150), draw(2, 40), draw(3, 60)
  blind = users._replace(truth=np.zeros_like(users.truth))
  made = logistic_regression(VECTORS, train, validation, blind, top=3)
  share = train.truth.mean(axis=0)
  best_guess = top_classes(np.tile(share, (60, 1)), 0.0, 3)
  f1 = lambda answers: metrics.weighted_scores(users.truth, answers)['f1']
  assert f1(made.answers) > f1(best_guess) + 0.1
  assert made.answers.reshape(60, 2, -1).sum(axis=-1).max() <= 3


def test_the_settings_are_the_best_on_the_validation_users():
  library = pytest.importorskip('sklearn.linear_model')
  train, validation, users = draw(1, 60), draw(2, 30), draw(3, 20)
  columns, *others = standardize_columns(
    *(pool_users(VECTORS, x) for x in (train, validation, users))
  )
  scores, answers = {}, {}
  for penalty in class_regression._PENALTIES:
    model = lambda penalty=penalty: library.LogisticRegression(
      C=1 / (penalty * columns.shape[1]), tol=1e-8, max_iter=10_000
    )
    models = [model().fit(columns, of_class) for of_class in train.truth.T]
    probable = lambda x, models=models: np.transpose(
      [fitted.predict_proba(x)[:, 1] for fitted in models]
    )
    for threshold in class_regression._THRESHOLDS:
      said = top_classes(probable(others[0]), threshold, 2)
      f1 = metrics.weighted_scores(validation.truth, said)['f1']
      scores[penalty, threshold] = f1
      answers[penalty, threshold] = top_classes(probable(others[1]), threshold, 2)
  made = logistic_regression(VECTORS, train, validation, users, top=2)
  chosen = made.settings['penalty'], made.settings['threshold']
  assert scores[chosen] == max(scores.values()) > min(scores.values())
  np.testing.assert_array_equal(made.answers, answers[chosen])


@pytest.mark.filterwarnings('error')
def test_without_users_of_a_split():
  users = draw(1, 30)
  made = logistic_regression(VECTORS, users, NOBODY, users, top=3)
  assert made.settings == {'penalty': 0.1, 'threshold': 0.2}
  assert made.answers.any()
  for validation in (users, NOBODY):
    made = logistic_regression(VECTORS, NOBODY, validation, users, top=3)
    assert not made.answers.any()
  unlabelled = users._replace(truth=np.zeros_like(users.truth))
  assert not logistic_regression(VECTORS, unlabelled, users, users, top=3)[0].any()
  made = logistic_regression(VECTORS, users, users, NOBODY, top=3)
  assert made.answers.shape == (0, CLASSES)
