"""Cleans the ratings of a shard and sorts them: by user, newest first, then by item."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class RatingColumns(NamedTuple):
  """Holds n ratings as columns [n].

  Attributes:
    user: [n] int64, positions in the sorted user ids.
    item: [n] row numbers in the item table.
    rating: [n] float32.
    timestamp: [n] int64, seconds since 1970.
  """

  user: np.ndarray
  item: np.ndarray
  rating: np.ndarray
  timestamp: np.ndarray

  def take(self, rows: np.ndarray) -> 'RatingColumns':
    """Returns some of the rows; `rows` holds positions or is a mask."""
    return RatingColumns(*(column[rows] for column in self))


def arrange(table: pa.Table) -> tuple[pa.Array, RatingColumns, dict[str, int]]:
  """Cleans and sorts ratings; the order of the input rows does not matter.

  A repeated identical row is dropped as 'duplicate'. If a user rated an item several
  times, the newest rating is kept (in the same second, the highest one); the other
  ratings are dropped as 'superseded'.

  Args:
    table: [n] rows with schema `shuffle.RATINGS`, in one chunk.

  Returns:
    The sorted user ids [U], the rows that are kept, and the number of rows that each
    rule dropped.
  """
  ids, rows = _sorted_users(table)
  rows, dropped = _one_a_user_and_item(rows)
  return ids, rows.take(_newest_first(rows)), dropped


def user_starts(user: np.ndarray, num_users: int) -> np.ndarray:
  """Returns where each user's rows begin, [num_users + 1]; `user` [n] is sorted."""
  return np.searchsorted(user, np.arange(num_users + 1))


def _sorted_users(table):
  user, *others = (column.combine_chunks() for column in table.columns)
  names = user.dictionary
  order = np.asarray(pc.sort_indices(names))
  position = np.empty(len(order), np.int64)
  position[order] = np.arange(len(order))
  users = position[np.asarray(user.indices)]
  return names.take(pa.array(order)), RatingColumns(users, *map(np.asarray, others))


def _one_a_user_and_item(rows):
  none = {'duplicate': 0, 'superseded': 0}
  key = rows.user.astype(np.uint64) << np.uint64(32) | rows.item.astype(np.uint64)
  ascending = np.sort(key)
  repeated = ascending[1:][ascending[1:] == ascending[:-1]]
  if not len(repeated):
    return rows, none
  # Only these few rows are sorted.
  within = np.flatnonzero(np.isin(key, repeated))
  repeats = rows.take(within)
  order = np.lexsort((-repeats.rating, -repeats.timestamp, repeats.item, repeats.user))
  within, repeats = within[order], repeats.take(order)
  again = np.zeros(len(within), bool)
  again[1:] = (np.diff(repeats.user) == 0) & (np.diff(repeats.item) == 0)
  equal = again.copy()
  equal[1:] &= (np.diff(repeats.timestamp) == 0) & (np.diff(repeats.rating) == 0)
  keep = np.ones(len(key), bool)
  keep[within[again]] = False
  duplicates = int(equal.sum())
  dropped = {'duplicate': duplicates, 'superseded': int(again.sum()) - duplicates}
  return rows.take(keep), dropped


def _newest_first(rows):
  """Returns the sorted order, [n] positions; no two rows have the same three keys."""
  if not len(rows.user):
    return np.zeros(0, np.int64)
  newest = rows.timestamp.max()
  keys = (rows.user, newest - rows.timestamp, rows.item)
  bits = [int(key.max()).bit_length() for key in keys]
  if sum(bits) > 64:
    return np.lexsort(keys[::-1])
  # One number per row: numpy sorts numbers with vector instructions.
  packed = np.zeros(len(rows.user), np.uint64)
  for key, width in zip(keys, bits, strict=True):
    packed = packed << np.uint64(width) | key.astype(np.uint64)
  return np.argsort(packed)
