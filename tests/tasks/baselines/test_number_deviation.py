"""Told numbers against least squares by hand, and what a user's deviation adds."""

import numpy as np

from tasks import baselines
from tests.tasks.baselines.test_user_deviation import ITEMS, NEW, TRAIN

NUMBERS = np.array([10.0, 30.0])


def answer(train=TRAIN, samples=NEW):
  counts = baselines.count_options(train, ITEMS, 2)
  return baselines.item_mean_user_bias_number(counts, train, samples, ITEMS, NUMBERS)


def test_least_squares_of_item_mean_and_deviation():
  found = answer()
  counts = baselines.count_options(TRAIN, ITEMS, 2)
  values = baselines.sum_item_values(TRAIN, ITEMS)

  def columns(samples):
    shares = baselines.smoothed_shares(counts, samples, found.settings['strength'])
    sums = baselines.user_deviations(values, samples)
    lengths = np.array([len(x) for x in samples.items]) + found.settings['shrinkage']
    return np.stack([np.ones(len(sums)), shares @ NUMBERS, sums / lengths], axis=1)

  own = columns(TRAIN)
  weights = np.linalg.solve(own.T @ own, own.T @ NUMBERS[TRAIN.answers])
  wanted = np.clip(columns(NEW) @ weights, 10, 30)
  np.testing.assert_allclose(found.told, wanted)
  assert weights[1] > 0 > weights[2], 'option 0, the lower number, is to like the book'


def test_it_knows_more_than_the_item():
  counts = baselines.count_options(TRAIN, ITEMS, 2)
  by_item = baselines.item_mean(counts, TRAIN, NEW).probabilities @ NUMBERS
  error = lambda told: np.square(told - NUMBERS[NEW.answers]).mean()
  assert error(answer().told) < 0.9 * error(by_item)


def test_answered_examples_are_not_fitted_to():
  assert answer(TRAIN, TRAIN) is None
