"""The rows of a shard, cleaned and in order: by user, newest first, then by item."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class RatingColumns(NamedTuple):
  """Ratings as columns [n].

  Attributes:
    user: positions in the sorted user ids.
    item: row numbers of the item table.
    rating: float32.
    timestamp: int64, seconds since 1970.
  """

  user: np.ndarray
  item: np.ndarray
  rating: np.ndarray
  timestamp: np.ndarray

  def take(self, rows: np.ndarray) -> 'RatingColumns':
    """The given rows: positions, or a mask."""
    return RatingColumns(*(column[rows] for column in self))


def arrange(table: pa.Table) -> tuple[pa.Array, RatingColumns, dict[str, int]]:
  """Cleans and orders; the order of the given rows does not matter.

  An identical row is a 'duplicate'. Of several ratings of an item by a user the
  newest counts (at the same second the highest), the others are 'superseded'.

  Args:
    table: shuffle.RATINGS, one chunk, [n] rows.

  Returns:
    user ids [U] in the order of their texts, the rows, rule -> rows that it dropped.
  """
  ids, rows = _sorted_users(table)
  rows, dropped = _one_a_user_and_item(rows)
  return ids, rows.take(_newest_first(rows)), dropped


def user_starts(user: np.ndarray, num_users: int) -> np.ndarray:
  """[num_users + 1] where each user's rows begin, if `user` [n] is ascending."""
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
  # Only the rows in question are put in order, since they are few.
  within = np.flatnonzero(np.isin(key, repeated))
  some = rows.take(within)
  order = np.lexsort((-some.rating, -some.timestamp, some.item, some.user))
  within, some = within[order], some.take(order)
  again = np.zeros(len(within), bool)
  again[1:] = (np.diff(some.user) == 0) & (np.diff(some.item) == 0)
  equal = again.copy()
  equal[1:] &= (np.diff(some.timestamp) == 0) & (np.diff(some.rating) == 0)
  keep = np.ones(len(key), bool)
  keep[within[again]] = False
  duplicates = int(equal.sum())
  dropped = {'duplicate': duplicates, 'superseded': int(again.sum()) - duplicates}
  return rows.take(keep), dropped


def _newest_first(rows):
  """[n] positions. No two rows are equal in all three keys."""
  if not len(rows.user):
    return np.zeros(0, np.int64)
  newest = rows.timestamp.max()
  keys = (rows.user, newest - rows.timestamp, rows.item)
  bits = [int(key.max()).bit_length() for key in keys]
  if sum(bits) > 64:
    return np.lexsort(keys[::-1])
  # One number a row: numpy sorts these with vector instructions.
  packed = np.zeros(len(rows.user), np.uint64)
  for key, width in zip(keys, bits, strict=True):
    packed = packed << np.uint64(width) | key.astype(np.uint64)
  return np.argsort(packed)
