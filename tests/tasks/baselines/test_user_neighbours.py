"""Similar users against scikit-learn, and their votes against loops."""

import numpy as np
import pytest

from tasks import metrics
from tasks.baselines import (
  UserSamples,
  find_neighbours,
  nearest_users,
  pool_users,
  standardize_columns,
  top_classes,
  user_neighbours,
)

CLASSES = 6
VECTORS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def draw(seed: int, count: int) -> UserSamples:
  """Users of two kinds: each rates items of its half, and has labels of its kind."""
  rng = np.random.default_rng(seed)
  kinds = rng.integers(0, 2, count)
  items = [rng.choice(20, 6, replace=False) + 20 * kind for kind in kinds]
  ratings = [(rng.integers(1, 11, 6) / 2).astype(np.float32) for _ in kinds]
  side = kinds[:, None] == np.arange(CLASSES) % 2
  truth = side & (rng.random((count, CLASSES)) < 0.8)
  return UserSamples(items, ratings, truth)


NOBODY = draw(0, 0)


@pytest.mark.parametrize('block', [256, 7])
def test_neighbours_equal_scikit_learn(monkeypatch, block):
  library = pytest.importorskip('sklearn.neighbors')
  monkeypatch.setattr(user_neighbours, '_BLOCK', block)
  rng = np.random.default_rng(0)
  train, users = rng.normal(size=(60, 5)), rng.normal(size=(25, 5))
  model = library.NearestNeighbors(n_neighbors=9, metric='cosine').fit(train)
  wanted = model.kneighbors(users, return_distance=False)
  np.testing.assert_array_equal(find_neighbours(train, users, 9), wanted)


@pytest.mark.filterwarnings('error')
def test_equal_few_and_no_neighbours():
  train = np.array([[2.0, 0], [0, 1], [1, 0], [0, 0]])
  users = np.array([[5.0, 0], [0, 0]])
  assert find_neighbours(train, users, 9).tolist() == [[0, 2, 1, 3], [0, 1, 2, 3]]
  assert find_neighbours(train, users, 1).tolist() == [[0], [0]]
  assert find_neighbours(train[:0], users, 3).shape == (2, 0)
  assert find_neighbours(train, users[:0], 3).shape == (0, 3)


def test_the_settings_are_the_best_on_the_validation_users():
  train, validation, users = draw(1, 90), draw(2, 30), draw(3, 20)
  columns, *others = standardize_columns(
    *(pool_users(VECTORS, x) for x in (train, validation, users))
  )
  unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
  near = [np.argsort(-unit(x) @ unit(columns).T, axis=1) for x in others]
  votes = lambda order, count: np.array(
    [train.truth[rows[:count]].mean(axis=0) for rows in order]
  )
  scores = {}
  for count in user_neighbours._NEIGHBOURS:
    for threshold in user_neighbours._THRESHOLDS:
      said = top_classes(votes(near[0], count), threshold, 2)
      f1 = metrics.weighted_scores(validation.truth, said)['f1']
      scores[count, threshold] = f1
  blind = users._replace(truth=np.zeros_like(users.truth))
  made = nearest_users(VECTORS, train, validation, blind, top=2)
  chosen = made.settings['neighbours'], made.settings['threshold']
  assert scores[chosen] == max(scores.values()) > min(scores.values())
  wanted = top_classes(votes(near[1], chosen[0]), chosen[1], 2)
  np.testing.assert_array_equal(made.answers, wanted)
  assert metrics.weighted_scores(users.truth, made.answers)['f1'] > 0.6


@pytest.mark.filterwarnings('error')
def test_without_users_of_a_split():
  users = draw(1, 12)  # fewer than the numbers of neighbours
  made = nearest_users(VECTORS, users, NOBODY, users, top=3)
  assert made.settings == {'neighbours': 20, 'threshold': 0.15}
  for validation in (users, NOBODY):
    made = nearest_users(VECTORS, NOBODY, validation, users, top=3)
    assert not made.answers.any()
  unlabelled = users._replace(truth=np.zeros_like(users.truth))
  assert not nearest_users(VECTORS, unlabelled, users, users, top=3).answers.any()
  made = nearest_users(VECTORS, users, users, NOBODY, top=3)
  assert made.answers.shape == (0, CLASSES)
