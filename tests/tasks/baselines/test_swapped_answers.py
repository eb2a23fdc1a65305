"""Answers that are scored against the labels of other users."""

import numpy as np
import pytest

from tasks import baselines, metrics


def draw(users: int):
  """Labels [U, 6], and answers that are often right."""
  rng = np.random.default_rng(0)
  truth = rng.random((users, 6)) < 0.4
  return truth, truth ^ (rng.random(truth.shape) < 0.1)


@pytest.mark.parametrize('users', [2, 9, 50])
def test_means_equal_loops(users):
  """With every roll, each pair of different users is met once."""
  truth, predicted = draw(users)
  order = np.random.default_rng(3).permutation(users)
  found = []
  for roll in range(1, min(20, users - 1) + 1):
    answers = np.zeros_like(predicted)
    for place, user in enumerate(order):
      other = order[(place - roll) % users]
      assert other != user
      answers[user] = predicted[other]
    found.append(metrics.weighted_scores(truth, answers))
  made = baselines.swapped_users(truth, predicted, seed=3)
  assert made.pop('rolls') == len(found) == min(20, users - 1)
  for name, value in made.items():
    assert value == pytest.approx(np.mean([x[name] for x in found]))
  assert made.keys() == {'precision', 'recall', 'f1'}


def test_it_tells_a_model_from_a_constant():
  truth, predicted = draw(200)
  swapped = baselines.swapped_users(truth, predicted)
  assert swapped['f1'] < metrics.weighted_scores(truth, predicted)['f1'] - 0.3
  same = np.tile(predicted[:1], (200, 1))
  constant = metrics.weighted_scores(truth, same)
  swapped = baselines.swapped_users(truth, same)
  assert {name: swapped[name] for name in constant} == pytest.approx(constant)


def test_the_seed_decides():
  truth, predicted = draw(40)
  swap = lambda seed: baselines.swapped_users(truth, predicted, rolls=2, seed=seed)
  assert swap(1) == swap(1) != swap(2)


@pytest.mark.filterwarnings('error')
def test_nobody_and_a_single_user():
  truth, predicted = draw(1)
  assert baselines.swapped_users(truth, predicted) == {}
  assert baselines.swapped_users(truth[:0], predicted[:0]) == {}
