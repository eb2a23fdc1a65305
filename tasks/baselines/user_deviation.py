"""Answers by the item's share and by how the user's values differ from other users'."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import special

from tasks.baselines.choice_samples import (
  ChoiceSamples,
  ChosenProbabilities,
  mean_log_loss,
)
from tasks.baselines.class_regression import fit_classes, turn_columns
from tasks.baselines.item_shares import OptionCounts, item_mean, smoothed_shares
from tasks.baselines.user_samples import standardize_columns

_OF_THE_MEAN = 5.0  # values at the overall mean that each item's mean counts more
SHRINKAGES = (1.0, 3.0, 10.0, 30.0)
LEAST_SPREAD = 1e-9  # of values that tell anything
_PENALTY = 1e-3  # of standardized columns: only keeps the weights finite


class SummedValues(NamedTuple):
  """Sums the values that training users gave to items, each user's once.

  Attributes:
    total: [I] float64 sum of the values of each item.
    count: [I] float64 number of them.
    of_users: (items [n] int ascending, sums [n], numbers [n]) of each training user.
    mean: mean of all values; 0 without any.
    spread: their standard deviation.
  """

  total: np.ndarray
  count: np.ndarray
  of_users: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
  mean: float
  spread: float


def sum_item_values(train: ChoiceSamples, num_items: int) -> SummedValues:
  """Sums the values in the longest history of each training user."""
  longest: dict[str, int] = {}
  for row, user in enumerate(train.user_ids):
    if len(train.items[row]) >= len(train.items[longest.get(user, row)]):
      longest[user] = row
  total, count = np.zeros((2, num_items))
  of_users = {}
  for user, row in longest.items():
    items, place = np.unique(train.items[row], return_inverse=True)
    sums = np.bincount(place, train.values[row], len(items))
    numbers = np.bincount(place, minlength=len(items))
    total[items] += sums
    count[items] += numbers
    of_users[user] = items, sums, numbers
  every = [train.values[row] for row in longest.values()]
  values = np.concatenate([np.zeros(0), *every])
  mean = float(values.mean()) if len(values) else 0.0
  return SummedValues(
    total, count, of_users, mean, float(values.std()) if len(values) else 0.0
  )


def user_deviations(values: SummedValues, samples: ChoiceSamples) -> np.ndarray:
  """Returns how much higher each example's history is valued than by other users.

  It is Σ (v - m_i) over the values v of the history, where m_i is the mean of the
  training users' values of the item, without those of the same user and with 5 values
  at the overall mean more. Items that the training never saw have that mean (the user
  bias of Koren, Bell and Volinsky 2009, doi 10.1109/MC.2009.263).

  Args:
    values: values of the training users.
    samples: E examples.

  Returns:
    [E] float64; 0 for an empty history.
  """
  found = np.zeros(len(samples.items))
  for row, (items, own) in enumerate(zip(samples.items, samples.values, strict=True)):
    total, count = values.total[items], values.count[items]
    if samples.user_ids[row] in values.of_users:
      _subtract(total, count, items, values.of_users[samples.user_ids[row]])
    means = (total + _OF_THE_MEAN * values.mean) / (count + _OF_THE_MEAN)
    found[row] = (own - means).sum()
  return found


def _subtract(total, count, items, of_user):
  """Subtracts a user's own values from the sums [n] of items, in place."""
  known, sums, numbers = of_user
  if len(known):
    at = np.searchsorted(known, items).clip(max=len(known) - 1)
    same = known[at] == items
    total -= np.where(same, sums[at], 0)
    count -= np.where(same, numbers[at], 0)


def item_mean_user_bias(
  counts: OptionCounts,
  train: ChoiceSamples,
  samples: ChoiceSamples,
  num_items: int,
) -> ChosenProbabilities | None:
  """Answers a question of two options by the item's share and the user's deviation.

  The log odds of the first option are a + b x + c d / (n + s): x are the log odds of
  `item_mean`, d the `user_deviations` over the n items of the history; a, b, c are
  fitted to the training examples, each with the shares of the folds without its user.
  The shrinkage s is the one with the least log loss on them.

  Args:
    counts: answers of the training examples.
    train: the training examples.
    samples: E examples to answer; their answers are not read. Those that are training
      examples are not fitted to.
    num_items: I.

  Returns:
    The answers; None if no example is left to fit to, or if all values of the training
    users are equal, so that they tell nothing.
  """
  fitted, values = train.without(samples), sum_item_values(train, num_items)
  if not len(fitted.asked) or values.spread < LEAST_SPREAD:
    return None
  strength = item_mean(counts, train, samples).settings['strength']
  parts = [_parts(counts, values, x, strength) for x in (fitted, samples)]
  best = None
  for shrinkage in SHRINKAGES:
    columns = [
      np.stack([odds, deviation / (length + shrinkage)], axis=1)
      for odds, deviation, length in parts
    ]
    own, asked = standardize_columns(*columns)
    truth = fitted.answers[:, None] == 0
    weights, intercept = fit_classes(turn_columns(own), truth, _PENALTY)
    told = [_two_options((x @ weights + intercept)[:, 0]) for x in (own, asked)]
    loss = mean_log_loss(fitted.answers, told[0])
    if best is None or loss < best[0]:
      best = loss, told[1], {'strength': strength, 'shrinkage': shrinkage}
  return ChosenProbabilities(*best[1:])


def _parts(counts, values, samples, strength):
  """Returns log odds of `item_mean`, deviations, lengths of the histories, each [E]."""
  first = smoothed_shares(counts, samples, strength)[:, 0]
  lengths = np.array([len(items) for items in samples.items], int)
  return special.logit(first), user_deviations(values, samples), lengths


def _two_options(log_odds):
  first = special.expit(log_odds)
  return np.stack([first, 1 - first], axis=1)
