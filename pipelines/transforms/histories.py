"""The rows of one shard to the histories of its users."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines import schema
from pipelines.transforms import arrow, order, tf_example
from pipelines.transforms.hashing import hash_ids
from pipelines.transforms.order import Rows
from pipelines.transforms.sample import SAMPLERS, History, ItemFacts
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


class ShardHistories(NamedTuple):
  """A shard.

  Attributes:
    records: [U] binary, serialized examples, in the order of the user ids.
    rows_kept: ratings of users that are in, before sampling.
    dropped: rule -> ratings that it dropped.
    num_ratings: [I] int64, kept ratings of each item.
    rating_values: the distinct kept ratings, ascending.
  """

  records: pa.Array
  rows_kept: int
  dropped: dict[str, int]
  num_ratings: np.ndarray
  rating_values: list[float]


def make_histories(
  table: pa.Table, items: ItemFacts, settings: HistorySettings
) -> ShardHistories:
  """Orders, cleans, labels and samples; the order of the rows does not matter.

  Rows are dropped by the rules of `order.arrange`; those of users with too few, as
  'user_below_min_history'.

  Args:
    table: schema.RATINGS, one chunk.
    items: what is known of the items.
    settings: see there.
  """
  ids, rows, dropped = order.arrange(table)
  enough = np.bincount(rows.user, minlength=len(ids)) >= settings.min_history
  keep = enough[rows.user]
  dropped['user_below_min_history'] = int(np.sum(~keep))
  if not enough.all():
    rows = rows.take(keep)
    rows = rows._replace(user=(np.cumsum(enough) - 1)[rows.user])
    ids = ids.filter(pa.array(enough))
  starts = order.starts(rows.user, len(ids))
  labels = label_users(items.genres, starts, rows.item, rows.rating, settings.rule)
  chosen = _sample(ids, rows, starts, items, settings)
  return ShardHistories(
    _encode(ids, rows.take(chosen), labels, np.diff(starts), items.genre_names),
    len(rows.user),
    dropped,
    np.bincount(rows.item, minlength=items.genres.shape[0]),
    np.unique(rows.rating).tolist(),
  )


def _sample(ids, rows, starts, items, settings) -> np.ndarray:
  """Which rows are kept, [n] bool."""
  keep = np.ones(len(rows.user), bool)
  sampler, size = SAMPLERS[settings.sampler], settings.max_history
  seeds = hash_ids(ids, settings.seed ^ _SAMPLING).tolist()
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
  rows: Rows,
  labels: tuple[np.ndarray, np.ndarray],
  totals: np.ndarray,
  genre_names: tuple[str, ...],
) -> pa.Array:
  """One serialized example a user, [U] binary."""
  splits = order.starts(rows.user, len(ids))
  ratings = rows.rating.astype('<f4').view(np.uint8)
  each = np.arange(len(ids) + 1)
  return schema.encode_examples(
    {
      'user_id': tf_example.single_texts(ids),
      'history_items': tf_example.packed_varints(rows.item, splits),
      'history_ratings': arrow.binary(ratings, 4 * splits),
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
