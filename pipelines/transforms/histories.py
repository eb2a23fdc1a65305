"""The rows of one shard to the histories of its users."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import schema
from pipelines.transforms import tf_example
from pipelines.transforms.hashing import hash_ids
from pipelines.transforms.sample import SAMPLERS, History
from tasks.labels import LabelRule, label_users

_SAMPLING = 0x5A  # keeps a user's sampling seed apart from the hash that splits


@dataclasses.dataclass(frozen=True)
class HistorySettings:
  """What a history looks like.

  Attributes:
    sampler: a name in `sample.SAMPLERS`.
    max_history: the most interactions that are kept.
    min_history: users with fewer are dropped.
    seed: of samplers that draw.
    rule: the label rule.
  """

  sampler: str
  max_history: int
  min_history: int
  seed: int
  rule: LabelRule


class ItemGenres(NamedTuple):
  """The genres of I items; item i has columns[offsets[i]:offsets[i + 1]].

  Attributes:
    names: the G genre names.
    offsets: [I + 1] int64.
    columns: [sum] int64, indices into `names`.
  """

  names: tuple[str, ...]
  offsets: np.ndarray
  columns: np.ndarray


class ShardHistories(NamedTuple):
  """A shard.

  Attributes:
    records: serialized examples, in the order of the user ids.
    rows_kept: ratings of users that are in, before sampling.
    dropped: rule -> ratings that it dropped.
    num_ratings: [I] int64, kept ratings of each item.
    rating_values: the distinct kept ratings, ascending.
  """

  records: list[bytes]
  rows_kept: int
  dropped: dict[str, int]
  num_ratings: np.ndarray
  rating_values: list[float]


class _Columns(NamedTuple):
  """Ratings as arrays [n]; `user` are positions in the sorted user ids."""

  user: np.ndarray
  item: np.ndarray
  rating: np.ndarray
  timestamp: np.ndarray

  def take(self, rows: np.ndarray) -> '_Columns':
    """The given rows."""
    return _Columns(*(column[rows] for column in self))


def make_histories(
  table: pa.Table, genres: ItemGenres, settings: HistorySettings
) -> ShardHistories:
  """Orders, cleans, labels and samples; the order of the rows does not matter.

  An identical row is a 'duplicate'. Of several ratings of an item by a user the
  newest counts (at the same second the highest), the others are 'superseded'. All
  rows of users with too few are dropped as 'user_below_min_history'.

  Args:
    table: schema.RATINGS, one chunk.
    genres: of the items.
    settings: see there.
  """
  ids, rows = _sorted_users(table)
  rows, dropped = _one_a_user_and_item(rows)
  lengths = np.bincount(rows.user, minlength=len(ids))
  enough = lengths >= settings.min_history
  keep = enough[rows.user]
  dropped['user_below_min_history'] = int(np.sum(~keep))
  rank = np.cumsum(enough) - 1
  rows = rows.take(keep)
  rows = rows._replace(user=rank[rows.user])
  rows = rows.take(np.lexsort((rows.item, -rows.timestamp, rows.user)))
  ids = ids.filter(pa.array(enough))
  return ShardHistories(
    _encode(ids, rows, genres, settings),
    len(rows.user),
    dropped,
    np.bincount(rows.item, minlength=len(genres.offsets) - 1),
    np.unique(rows.rating).tolist(),
  )


def _sorted_users(table: pa.Table) -> tuple[pa.Array, _Columns]:
  """The user ids in order, and the rows with their positions therein."""
  chunks = [column.combine_chunks() for column in table.columns]
  user, *others = chunks
  names = user.dictionary
  order = np.asarray(pc.sort_indices(names))
  position = np.empty(len(order), np.int64)
  position[order] = np.arange(len(order))
  users = position[np.asarray(user.indices)]
  return names.take(pa.array(order)), _Columns(users, *map(np.asarray, others))


def _one_a_user_and_item(rows: _Columns) -> tuple[_Columns, dict[str, int]]:
  order = np.lexsort((-rows.rating, -rows.timestamp, rows.item, rows.user))
  rows = rows.take(order)
  again = np.zeros(len(order), bool)
  again[1:] = (np.diff(rows.user) == 0) & (np.diff(rows.item) == 0)
  equal = again.copy()
  equal[1:] &= (np.diff(rows.timestamp) == 0) & (np.diff(rows.rating) == 0)
  duplicates = int(equal.sum())
  dropped = {'duplicate': duplicates, 'superseded': int(again.sum()) - duplicates}
  return rows.take(~again), dropped


def _encode(ids, rows, genres, settings) -> list[bytes]:
  """One serialized example a user, sampled and labelled."""
  num_users = len(ids)
  names = np.array([name.encode() for name in genres.names], object)
  labels = label_users(
    (genres.offsets, genres.columns),
    rows.user,
    rows.item,
    rows.rating,
    num_users,
    len(genres.names),
    settings.rule,
  )
  starts = np.searchsorted(rows.user, np.arange(num_users + 1))
  seeds = hash_ids(ids, settings.seed ^ _SAMPLING)
  sampler, chosen = SAMPLERS[settings.sampler], []
  for start, end, seed in zip(starts[:-1], starts[1:], seeds.tolist(), strict=True):
    history = History(*(column[start:end] for column in rows[1:]))
    chosen.append(start + sampler(history, settings.max_history, seed))
  splits = np.concatenate([[0], np.cumsum([len(x) for x in chosen])]).astype(np.int64)
  sampled = rows.take(np.concatenate([np.zeros(0, np.int64), *chosen]))
  items = tf_example.packed_varints(sampled.item, splits)
  times = tf_example.packed_varints(sampled.timestamp, splits)
  ratings = sampled.rating.astype('<f4').tobytes()
  return [
    schema.encode_example(
      {
        'user_id': name,
        'history_items': items[user],
        'history_ratings': ratings[4 * splits[user] : 4 * splits[user + 1]],
        'history_timestamps': times[user],
        'liked': [names[genre] for genre in labels[0][user] if genre >= 0],
        'disliked': [names[genre] for genre in labels[1][user] if genre >= 0],
        'history_total': starts[user + 1] - starts[user],
      }
    )
    for user, name in enumerate(ids.to_pylist())
  ]
