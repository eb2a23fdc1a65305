"""Cleans the ratings of a shard and sorts them: by user, newest first, then by item.

A user can rate an item several times. The newest rating counts, but a history that ends
before it knows nothing of it. So every row has a time until which it counts.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

EVER = np.iinfo(np.int64).max  # time after all others


class RatingColumns(NamedTuple):
  """Holds n ratings as columns [n].

  Attributes:
    user: [n] int64, positions in the sorted user ids.
    item: [n] row numbers in the item table.
    rating: [n] float32.
    timestamp: [n] int64, seconds since 1970.
    text: [n] row numbers in the table of event texts; None where there is none.
  """

  user: np.ndarray
  item: np.ndarray
  rating: np.ndarray
  timestamp: np.ndarray
  text: np.ndarray | None = None

  def take(self, rows: np.ndarray) -> 'RatingColumns':
    """Returns some of the rows; `rows` holds positions or is a mask."""
    return RatingColumns(*(x if x is None else x[rows] for x in self))


class Timeline(NamedTuple):
  """Holds all ratings of a shard's U users.

  Attributes:
    ids: [U] user ids, sorted.
    rows: ratings, without repeated identical ones, sorted by user, newest first.
    until: [n] int64, time of the next rating of the same user and item; EVER without
      one. A history that ends before a time t has the rows with timestamp < t <= until.
    duplicates: number of identical rows that were dropped.
  """

  ids: pa.Array
  rows: RatingColumns
  until: np.ndarray
  duplicates: int

  def before(self, time: int) -> np.ndarray:
    """Returns the rows [n] bool of histories that end before a time."""
    return (self.rows.timestamp < time) & (self.until >= time)


def read_timeline(table: pa.Table, ranks: bool = False) -> Timeline:
  """Sorts ratings; the order of the input rows does not matter.

  Args:
    table: [n] rows as `shuffle.unpack` returns them, in one chunk.
    ranks: whether the times are numbers of rows; they become ranks, 0 for the oldest
      row of each user.
  """
  ids, rows = _sorted_users(table)
  until, duplicates = _lifetimes(rows)
  if duplicates:
    kept = until >= 0
    rows, until = rows.take(kept), until[kept]
  order = _newest_first(rows)
  rows, until = rows.take(order), until[order]
  if ranks:
    rows, until = _as_ranks(rows, until, len(ids))
  return Timeline(ids, rows, until, duplicates)


def arrange(
  table: pa.Table, ranks: bool = False
) -> tuple[pa.Array, RatingColumns, dict[str, int]]:
  """Cleans and sorts ratings; the order of the input rows does not matter.

  A repeated identical row is dropped as 'duplicate'. If a user rated an item several
  times, the newest rating is kept (in the same second, the highest one, and of several
  such the one with the last text); the other ratings are dropped as 'superseded'.

  Args:
    table: [n] rows as `shuffle.unpack` returns them, in one chunk.
    ranks: see `read_timeline`.

  Returns:
    The sorted user ids [U], the rows that are kept, and the number of rows that each
    rule dropped.
  """
  found = read_timeline(table, ranks)
  newest = found.until == EVER
  dropped = {'duplicate': found.duplicates, 'superseded': int(np.sum(~newest))}
  rows = found.rows if newest.all() else found.rows.take(newest)
  return found.ids, rows, dropped


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


def _lifetimes(rows):
  """Returns `Timeline.until`, -1 for repeated identical rows, and their number."""
  until = np.full(len(rows.user), EVER)
  key = rows.user.astype(np.uint64) << np.uint64(32) | rows.item.astype(np.uint64)
  ascending = np.sort(key)
  repeated = ascending[1:][ascending[1:] == ascending[:-1]]
  if not len(repeated):
    return until, 0
  # Only these few rows are sorted.
  within = np.flatnonzero(np.isin(key, repeated))
  repeats = rows.take(within)
  largest = [repeats.text, repeats.rating, repeats.timestamp]
  largest = [-x for x in largest if x is not None]
  order = np.lexsort((*largest, repeats.item, repeats.user))
  within, repeats = within[order], repeats.take(order)
  again = np.zeros(len(within), bool)
  again[1:] = (np.diff(repeats.user) == 0) & (np.diff(repeats.item) == 0)
  equal = again.copy()
  for column in largest:
    equal[1:] &= np.diff(column[order]) == 0
  until[within[again]] = repeats.timestamp[:-1][again[1:]]
  until[within[equal]] = -1
  return until, int(equal.sum())


def _as_ranks(rows, until, num_users):
  """Replaces the numbers of rows by ranks, which only earlier rows decide."""
  ends = user_starts(rows.user, num_users)[1:]
  ranks = ends[rows.user] - 1 - np.arange(len(rows.user))
  later = np.flatnonzero(until != EVER)
  if len(later):
    of_row = dict(zip(rows.timestamp.tolist(), ranks.tolist(), strict=True))
    until[later] = [of_row[number] for number in until[later].tolist()]
  return rows._replace(timestamp=ranks), until


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
