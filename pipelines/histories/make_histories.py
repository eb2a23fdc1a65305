"""Makes the histories of a shard's users from its ratings."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.common.job import JobError
from pipelines.histories import clean, history_records, tf_example
from pipelines.histories.clean import RatingColumns
from pipelines.histories.hashing import hash_ids
from pipelines.histories.history_settings import HistorySettings
from pipelines.histories.history_statistics import ShardStatistics, shard_statistics
from pipelines.histories.samplers import SAMPLERS, History
from pipelines.items.item_table import ItemFacts
from tasks.labels import label_users

# Makes a user's sampling seed independent of the hash of the split.
SAMPLING_SEED = 0x5A


class ShardUsers(NamedTuple):
  """Holds the cleaned ratings of a shard's U users.

  Attributes:
    ids: [U] user ids, sorted.
    history: ratings for the histories, by user, newest first.
    labelled: ratings for the labels; without a cutoff, the same as `history`.
    dropped: number of ratings that each rule dropped.
  """

  ids: pa.Array
  history: RatingColumns
  labelled: RatingColumns
  dropped: dict[str, int]


class ShardHistories(NamedTuple):
  """Holds the histories of a shard.

  Attributes:
    records: [U] binary, serialized examples, in the order of the user ids.
    statistics: counts of the shard.
  """

  records: pa.Array
  statistics: ShardStatistics


def read_users(table: pa.Table, settings: HistorySettings) -> ShardUsers:
  """Sorts, cleans and cuts ratings; the order of the input rows does not matter.

  Rows are dropped by the rules of `clean.arrange`, as 'at_label_cutoff' if they are in
  the second of the cut, and as 'user_below_min_history' if the user's history is too
  short.

  Args:
    table: ratings as `shuffle.unpack` returns them, in one chunk.
    settings: settings of the histories.
  """
  ids, rows, dropped = clean.arrange(table, settings.ranks)
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
  table: pa.Table, num_items: int, settings: HistorySettings, before: int = clean.EVER
) -> np.ndarray:
  """Returns the number of histories with each item before sampling, [I] int64.

  Args:
    table: ratings as `shuffle.unpack` returns them, in one chunk.
    num_items: I.
    settings: settings of the histories.
    before: time at which the histories end; EVER for whole histories.
  """
  if before == clean.EVER:
    rows = read_users(table, settings).history
  else:
    timeline = clean.read_timeline(table, settings.ranks)
    rows = timeline.rows.take(timeline.before(before))
  return np.bincount(rows.item, minlength=num_items)


def count_users(
  table: pa.Table, items: ItemFacts, settings: HistorySettings
) -> ShardStatistics:
  """Counts the users of a shard and their ratings, where nothing is asked about users.

  Args:
    table: ratings as `shuffle.unpack` returns them, in one chunk.
    items: facts about the items.
    settings: settings of the histories.
  """
  users = read_users(table, settings)
  nothing = (np.zeros((len(users.ids), 0), np.int64),) * 2
  shape = (items.genres.shape[0], 0)
  return shard_statistics(users, users.history, nothing, nothing, shape)


def make_histories(
  table: pa.Table, items: ItemFacts, settings: HistorySettings
) -> ShardHistories:
  """Labels users and samples histories; the order of the input rows does not matter.

  Args:
    table: ratings as `shuffle.unpack` returns them, in one chunk.
    items: facts about the items.
    settings: settings of the histories.

  Raises:
    JobError: the sampler counts items, and there are no counts.
  """
  users = read_users(table, settings)
  starts = clean.user_starts(users.history.user, len(users.ids))
  labels = _label(users.labelled, len(users.ids), items, settings.rule)
  sample = users.history.take(_sample(users, starts, items, settings))
  records = _encode(users.ids, sample, labels, np.diff(starts), items.genre_names)
  answers = _label(sample, len(users.ids), items, settings.rule)
  statistics = shard_statistics(users, sample, labels, answers, items.genres.shape)
  return ShardHistories(records, statistics)


def _of_users(rows, chosen):
  """Returns the rows of the chosen users [U] bool, with new user positions."""
  rows = rows.take(chosen[rows.user])
  return rows._replace(user=(np.cumsum(chosen) - 1)[rows.user])


def _label(rows, num_users, items, rule):
  starts = clean.user_starts(rows.user, num_users)
  return label_users(items.genres, starts, rows.item, rows.rating, rule)


def _sample(users, starts, items, settings) -> np.ndarray:
  """Returns a mask of the rows that are kept, [n] bool."""
  rows = users.history
  keep = np.ones(len(rows.user), bool)
  size = settings.max_history
  long = np.flatnonzero(np.diff(starts) > size).tolist()
  if not long:
    return keep
  sampler = choose_sampler(settings.sampler, items)
  seeds = hash_ids(users.ids, settings.seed ^ SAMPLING_SEED).tolist()
  for user in long:
    start, end = starts[user], starts[user + 1]
    history = History(
      rows.item[start:end], rows.rating[start:end], rows.timestamp[start:end]
    )
    keep[start:end] = False
    keep[start + sampler(history, items, size, seeds[user])] = True
  return keep


def choose_sampler(
  name: str, items: ItemFacts
) -> Callable[[History, ItemFacts, int, int], np.ndarray]:
  """Returns the function of a sampler.

  Raises:
    JobError: the sampler counts items, and there are no counts.
  """
  sampler, needs = SAMPLERS[name]
  if needs == 'counts' and items.counts is None:
    raise JobError(
      f'--sampler={name} counts the items of training users (before the first '
      'example, if examples are asked about), and there are none: use more users, '
      'more of them for training, or another sampler'
    )
  return sampler


def _encode(
  ids: pa.Array,
  rows: RatingColumns,
  labels: tuple[np.ndarray, np.ndarray],
  totals: np.ndarray,
  genre_names: tuple[str, ...],
) -> pa.Array:
  """Returns one serialized example per user, [U] binary."""
  splits = clean.user_starts(rows.user, len(ids))
  each = np.arange(len(ids) + 1)
  return history_records.encode_examples(
    {
      'user_id': tf_example.single_texts(ids),
      **history_records.encode_interactions(rows, splits),
      'liked': _named(labels[0], genre_names),
      'disliked': _named(labels[1], genre_names),
      'history_total': tf_example.packed_varints(totals, each),
    }
  )


def _named(columns, names) -> pa.Array:
  """Encodes genres [U, top] as lists of genre names, [U] binary."""
  distinct, inverse = np.unique(columns, axis=0, return_inverse=True)
  lists = [[names[genre] for genre in row if genre >= 0] for row in distinct.tolist()]
  return tf_example.text_lists(lists).take(pa.array(inverse.reshape(-1)))
