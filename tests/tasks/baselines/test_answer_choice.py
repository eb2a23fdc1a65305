"""Settings that are best on validation users, and the classes of an answer."""

import numpy as np
import pytest

from tasks import metrics
from tasks.baselines import best_settings, top_classes


def test_the_best_settings():
  rng = np.random.default_rng(0)
  truth = rng.random((40, 6)) < 0.4
  wrong = truth ^ (rng.random(truth.shape) < 0.5)
  candidates = [({'errors': 0.5}, wrong), ({'errors': 0}, truth)]
  candidates.append(({'again': True}, truth))
  scores = [metrics.weighted_scores(truth, made)['f1'] for _, made in candidates]
  assert scores[0] < scores[1] == scores[2] == 1
  assert best_settings(truth, candidates, {}) == {'errors': 0}, 'the first of equals'


def test_without_labels_nothing_is_tried():
  def candidates():
    raise AssertionError('asked')
    yield

  for truth in (np.zeros((0, 4), bool), np.zeros((3, 4), bool)):
    assert best_settings(truth, candidates(), {'own': 1}) == {'own': 1}


def by_hand(scores, above, top):
  """One user after the other, one side after the other."""
  half = scores.shape[1] // 2
  named = np.zeros(scores.shape, bool)
  for user, row in enumerate(scores):
    for side in (range(half), range(half, 2 * half)):
      best = sorted(side, key=lambda column: (-row[column], column))[:top]
      named[user, [column for column in best if row[column] > above]] = True
  return named


@pytest.mark.parametrize(('above', 'top'), [(0.5, 3), (0.0, 1), (0.9, 9), (0.2, 2)])
def test_top_classes(above, top):
  scores = np.random.default_rng(0).integers(0, 6, (50, 10)) / 5  # many are equal
  np.testing.assert_array_equal(
    top_classes(scores, above, top), by_hand(scores, above, top)
  )


def test_nobody_and_no_genres():
  assert top_classes(np.zeros((0, 4)), 0.5, 3).shape == (0, 4)
  assert top_classes(np.zeros((2, 0)), 0.5, 3).shape == (2, 0)
