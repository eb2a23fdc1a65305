"""Answers without a model."""

import itertools

import numpy as np
import pytest

from tasks import baselines, metrics
from tasks.labels import LabelRule


def test_constant_is_the_best_there_is():
  """Against every answer with up to three genres a side."""
  rng = np.random.default_rng(0)
  train = rng.random((60, 8)) < rng.uniform(0, 0.7, 8)
  sides = [
    [combo for size in range(4) for combo in itertools.combinations(columns, size)]
    for columns in (range(4), range(4, 8))
  ]
  best = 0.0
  for liked, disliked in itertools.product(*sides):
    answer = np.zeros((60, 8), bool)
    answer[:, [*liked, *disliked]] = True
    best = max(best, metrics.weighted_scores(train, answer)['f1'])
  ours = np.tile(baselines.constant(train), (60, 1))
  assert metrics.weighted_scores(train, ours)['f1'] == best


def test_constant_names_nothing_that_nobody_has():
  assert not baselines.constant(np.zeros((5, 6), bool)).any()


def test_counting():
  member = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [1, 1, 1, 0]], bool)
  made = baselines.counting([member, member[:0]], 4)
  assert made[0].tolist() == [True, True, True, False] + [False] * 4
  assert not made[1].any()


def test_rule_on_sample():
  member = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [0, 1]], bool)
  ratings = np.array([5, 5, 4, 1, 2, 1], np.float32)
  made = baselines.rule_on_sample(
    [(member, ratings), (member[:2], ratings[:2])], 2, LabelRule()
  )
  assert made[0].tolist() == [True, False, False, True]
  assert not made[1].any()


def test_nobody_is_answered():
  for made in (
    baselines.counting([], 4),
    baselines.rule_on_sample([], 4, LabelRule()),
  ):
    assert made.shape == (0, 8)
    assert made.dtype == bool


@pytest.mark.filterwarnings('error')
def test_without_training_users_the_constant_names_nothing():
  assert not baselines.constant(np.zeros((0, 4), bool)).any()
