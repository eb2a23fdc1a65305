"""Answers with a number: the item's mean and the user's deviation from other users."""

from typing import NamedTuple

import numpy as np

from tasks.baselines.choice_samples import ChoiceSamples
from tasks.baselines.item_shares import OptionCounts, item_mean, smoothed_shares
from tasks.baselines.user_deviation import (
  LEAST_SPREAD,
  SHRINKAGES,
  sum_item_values,
  user_deviations,
)


class ToldNumbers(NamedTuple):
  """Holds told numbers and the settings that they were made with.

  Attributes:
    told: [E] float64.
    settings: value of each setting.
  """

  told: np.ndarray
  settings: dict[str, float]


def item_mean_user_bias_number(
  counts: OptionCounts,
  train: ChoiceSamples,
  samples: ChoiceSamples,
  num_items: int,
  numbers: np.ndarray,
) -> ToldNumbers | None:
  """Answers with a + b x + c d / (n + s), within the smallest and the largest number.

  x is the expected number of `item_mean`, d the `user_deviations` over the n items of
  the history. a, b and c are the least squares on the training examples, each with the
  shares of the folds without its user; the shrinkage s is the one with the least
  squared error there. With b = c = 1 it is the baseline of Koren, Bell and Volinsky
  2009 (doi 10.1109/MC.2009.263).

  Args:
    counts: answers of the training examples.
    train: the training examples.
    samples: E examples to answer; their answers are not read. Those that are training
      examples are not fitted to.
    num_items: I.
    numbers: [O] number of each option.

  Returns:
    The answers; None if no example is left to fit to, or if all values of the training
    users are equal.
  """
  fitted, values = train.without(samples), sum_item_values(train, num_items)
  if not len(fitted.asked) or values.spread < LEAST_SPREAD:
    return None
  strength = item_mean(counts, train, samples).settings['strength']
  truth, best = numbers[fitted.answers], None
  means = [smoothed_shares(counts, x, strength) @ numbers for x in (fitted, samples)]
  sums = [user_deviations(values, x) for x in (fitted, samples)]
  lengths = [np.array([*map(len, x.items)], int) for x in (fitted, samples)]
  for shrinkage in SHRINKAGES:
    own, asked = (
      np.stack([np.ones_like(mean), mean, total / (length + shrinkage)], axis=1)
      for mean, total, length in zip(means, sums, lengths, strict=True)
    )
    weights = np.linalg.lstsq(own, truth)[0]
    error = np.square(own @ weights - truth).mean()
    if best is None or error < best[0]:
      told = (asked @ weights).clip(numbers.min(), numbers.max())
      best = error, told, {'strength': strength, 'shrinkage': shrinkage}
  return ToldNumbers(*best[1:])
