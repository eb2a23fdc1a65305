"""The rows of one shard to the histories of its users."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.common import arrow_bytes
from pipelines.histories import clean, history_records, tf_example
from pipelines.histories.clean import RatingColumns
from pipelines.histories.hashing import hash_ids
from pipelines.histories.history_settings import HistorySettings
from pipelines.histories.history_statistics import ShardStatistics, shard_statistics
from pipelines.histories.samplers import SAMPLERS, History
from pipelines.items.item_table import ItemFacts
from tasks.labels import label_users

_SAMPLING = 0x5A  # keeps a user's sampling seed apart from the hash that splits


class ShardUsers(NamedTuple):
  """Clean ratings of a shard's U users.

  Attributes:
    ids: [U], sorted.
    history: the rows that a history may hold, by user, newest first.
    labelled: the rows that labels are made of; the same ones without a cutoff.
    dropped: rule -> ratings that it dropped.
  """

  ids: pa.Array
  history: RatingColumns
  labelled: RatingColumns
  dropped: dict[str, int]


class ShardHistories(NamedTuple):
  """A shard.

  Attributes:
    records: [U] binary, serialized examples, in the order of the user ids.
    statistics: its counts.
  """

  records: pa.Array
  statistics: ShardStatistics


def read_users(table: pa.Table, settings: HistorySettings) -> ShardUsers:
  """Orders, cleans and cuts; the order of the given rows does not matter.

  Rows are dropped by the rules of `order.arrange`; those of the second of the cut, as
  'at_label_cutoff'; those of users with too short a history, as
  'user_below_min_history'.

  Args:
    table: shuffle.RATINGS, one chunk.
    settings: see there.
  """
  ids, rows, dropped = clean.arrange(table)
  parts = [rows]
  if settings.cutoff:
    before, after = settings.cutoff.sides(rows, clean.user_starts(rows.user, len(ids)))
    dropped['at_label_cutoff'] = int(np.sum(~(before | after)))
    parts = [rows.take(before), rows.take(after)]
  enough = np.bincount(parts[0].user, minlength=len(ids)) >= settings.min_history
  lost = sum(int(np.sum(~enough[part.user])) for part in parts)
  dropped['user_below_min_history'] = lost
  if lost:
    ids = ids.filter(pa.array(enough))
    parts = [_of_users(part, enough) for part in parts]
  return ShardUsers(ids, parts[0], parts[-1], dropped)


def count_items(
  table: pa.Table, num_items: int, settings: HistorySettings
) -> np.ndarray:
  """How many histories each item is in before sampling, [I] int64."""
  return np.bincount(read_users(table, settings).history.item, minlength=num_items)


def make_histories(
  table: pa.Table, items: ItemFacts, settings: HistorySettings
) -> ShardHistories:
  """Labels and samples; the order of the rows does not matter.

  Args:
    table: shuffle.RATINGS, one chunk.
    items: what is known of the items.
    settings: see there.
  """
  users = read_users(table, settings)
  starts = clean.user_starts(users.history.user, len(users.ids))
  labels = _label(users.labelled, len(users.ids), items, settings.rule)
  sample = users.history.take(_sample(users, starts, items, settings))
  records = _encode(users.ids, sample, labels, np.diff(starts), items.genre_names)
  answers = _label(sample, len(users.ids), items, settings.rule)
  found = shard_statistics(users, sample, labels, answers, items.genres.shape)
  return ShardHistories(records, found)


def _of_users(rows, chosen):
  """The rows of the chosen users [U] bool, who are numbered anew."""
  rows = rows.take(chosen[rows.user])
  return rows._replace(user=(np.cumsum(chosen) - 1)[rows.user])


def _label(rows, num_users, items, rule):
  starts = clean.user_starts(rows.user, num_users)
  return label_users(items.genres, starts, rows.item, rows.rating, rule)


def _sample(users, starts, items, settings) -> np.ndarray:
  """Which rows are kept, [n] bool."""
  rows = users.history
  keep = np.ones(len(rows.user), bool)
  sampler, size = SAMPLERS[settings.sampler].select, settings.max_history
  seeds = hash_ids(users.ids, settings.seed ^ _SAMPLING).tolist()
  for user in np.flatnonzero(np.diff(starts) > size).tolist():
    start, end = starts[user], starts[user + 1]
    history = History(
      rows.item[start:end], rows.rating[start:end], rows.timestamp[start:end]
    )
    keep[start:end] = False
    keep[start + sampler(history, items, size, seeds[user])] = True
  return keep


def _encode(
  ids: pa.Array,
  rows: RatingColumns,
  labels: tuple[np.ndarray, np.ndarray],
  totals: np.ndarray,
  genre_names: tuple[str, ...],
) -> pa.Array:
  """One serialized example a user, [U] binary."""
  splits = clean.user_starts(rows.user, len(ids))
  ratings = rows.rating.astype('<f4').view(np.uint8)
  each = np.arange(len(ids) + 1)
  return history_records.encode_examples(
    {
      'user_id': tf_example.single_texts(ids),
      'history_items': tf_example.packed_varints(rows.item, splits),
      'history_ratings': arrow_bytes.binary(ratings, 4 * splits),
      'history_timestamps': tf_example.packed_varints(rows.timestamp, splits),
      'liked': _named(labels[0], genre_names),
      'disliked': _named(labels[1], genre_names),
      'history_total': tf_example.packed_varints(totals, each),
    }
  )


def _named(columns, names) -> pa.Array:
  """Lists of genre names of the columns [U, top], as bytes of a record [U]."""
  distinct, inverse = np.unique(columns, axis=0, return_inverse=True)
  lists = [[names[genre] for genre in row if genre >= 0] for row in distinct.tolist()]
  return tf_example.text_lists(lists).take(pa.array(inverse.reshape(-1)))
