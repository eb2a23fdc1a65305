"""Users as the baselines see them, and vectors of their histories."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class UserSamples(NamedTuple):
  """Holds the sampled interactions and the labels of U users.

  Attributes:
    items: row numbers [n] int of each user's items in the item table.
    ratings: ratings [n] of each user's items.
    truth: [U, 2G] bool labels.
  """

  items: Sequence[np.ndarray]
  ratings: Sequence[np.ndarray]
  truth: np.ndarray


def pool_users(vectors: np.ndarray, users: UserSamples) -> np.ndarray:
  """Pools the item vectors of each user's sample into one vector.

  Args:
    vectors: [I, H] float.
    users: U users.

  Returns:
    [U, 2H + 1] float64: the mean vector, the mean of the vectors times the deviations
    of their ratings from the user's mean rating, and this mean rating; zeros for a user
    without items.
  """
  width = vectors.shape[1]
  pooled = np.zeros((len(users.truth), 2 * width + 1))
  for row, items, ratings in zip(pooled, users.items, users.ratings, strict=True):
    if len(items):
      own, mean = vectors[items].astype(np.float64), np.mean(ratings, dtype=np.float64)
      row[:width] = own.mean(axis=0)
      row[width:-1] = (ratings - mean) @ own / len(items)
      row[-1] = mean
  return pooled


def standardize_columns(
  train: np.ndarray, *others: np.ndarray
) -> tuple[np.ndarray, ...]:
  """Standardizes columns by their mean and standard deviation over training users.

  Args:
    train: [T, F] float.
    others: arrays [U, F] float of other users.

  Returns:
    The arrays, `train` first. Columns that are constant in `train` are only centred;
    without training users nothing is changed.
  """
  if not len(train):
    return train, *others
  mean, spread = train.mean(axis=0), train.std(axis=0)
  varies = spread > 1e-9 * np.abs(train).max(initial=0)  # else only rounding
  scale = np.where(varies, spread, 1)
  return tuple((values - mean) / scale for values in (train, *others))
