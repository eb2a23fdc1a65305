"""Factorizes which items training users have, for models that rank candidates.

Items that the same users have are near each other, whatever their texts say. Each item
gets F factors, such that the product of two items' factors is large where many users
have both: a truncated singular value decomposition (Cremonesi et al. 2010, doi
10.1145/1864708.1864721) of the users' items, of which each counts 1 / sqrt(items of the
user x users of the item), as in graph filters (Shen et al. 2021, arXiv 2108.07567).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import scipy.sparse
import scipy.sparse.linalg

from pipelines.histories.clean import RatingColumns
from tasks.schema import FACTORS, ITEM_FACTORS
from tasks.user_folds import FOLDS

MOST_USERS = 200_000  # whose items are factorized: in the memory of one machine


class UserItems(NamedTuple):
  """Holds the items of U users of a shard.

  Attributes:
    folds: [U] int8 fold of each user.
    counts: [U] int32 number of each user's items.
    items: [n] int32 row numbers of the items, user by user.
  """

  folds: np.ndarray
  counts: np.ndarray
  items: np.ndarray


def collect_items(rows: RatingColumns, folds: np.ndarray, most: int) -> UserItems:
  """Collects the items of users of a shard, of some users if it has too many.

  Args:
    rows: ratings, of each user and item the last one.
    folds: [V] int fold of each user of the shard.
    most: number of users whose items are collected.
  """
  drawn = np.random.default_rng(0).permutation(np.unique(rows.user))[:most]
  users, items = rows.user, rows.item
  if len(drawn) == most:
    kept = np.isin(users, drawn)
    users, items = users[kept], items[kept]
  order = np.argsort(users, kind='stable')
  users, counts = np.unique(users, return_counts=True)
  of_users = folds[users].astype(np.int8), counts.astype(np.int32)
  return UserItems(*of_users, items[order].astype(np.int32))


def factorize(shards: Sequence[UserItems], num_items: int) -> np.ndarray:
  """Computes the factors of all items, as the users of each fold are told of them.

  Whoever is told of an item is told of the users of the other folds, as of its values
  (`value_sums`). Factors of different folds cannot be compared.

  Args:
    shards: users and their items.
    num_items: I.

  Returns:
    [FOLDS, I, FACTORS] float32; the squared length of an item that somebody has is 1 on
    average.
  """
  folds, counts, items = map(np.concatenate, zip(*shards, strict=True))
  users = np.repeat(np.arange(len(folds)), counts)
  factors = np.zeros((FOLDS, num_items, FACTORS), np.float32)
  for fold in range(FOLDS):
    told = folds[users] != fold
    factors[fold] = _factors_of(users[told], items[told], (len(folds), num_items))
  return factors


def _factors_of(users, items, shape):
  """Returns the factors [I, FACTORS] of pairs of users and items."""
  factors = np.zeros((shape[1], FACTORS))
  number = min(FACTORS, len(np.unique(users)) - 1, len(np.unique(items)) - 1)
  if number < 1:
    return factors
  matrix = scipy.sparse.csr_array((np.ones(len(users)), (users, items)), shape)
  weights = [
    scipy.sparse.diags_array(1 / np.sqrt(np.maximum(matrix.sum(axis=axis), 1)))
    for axis in (1, 0)
  ]
  start = np.random.default_rng(0).normal(size=min(shape))  # the same in each run
  found = scipy.sparse.linalg.svds(weights[0] @ matrix @ weights[1], number, v0=start)
  had = np.unique(items)
  factors[had, :number] = (found[2].T * found[1])[had]
  return factors / np.sqrt((factors[had] ** 2).sum(axis=1).mean())


def with_factors(table: pa.Table, factors: np.ndarray) -> pa.Table:
  """Returns the item table [I] with a column of the factors, fold by fold."""
  flat = pa.array(factors.transpose(1, 0, 2).ravel())
  column = pa.FixedSizeListArray.from_arrays(flat, FOLDS * FACTORS)
  return table.append_column(ITEM_FACTORS, column)
