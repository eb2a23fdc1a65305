"""What is known of histories before anything is trained on them.

Counted shard by shard; the counts of shards add up to the statistics of a folder.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tasks import metrics
from tasks.labels import members

_QUANTILES = {'min': 0, 'p10': 0.1, 'p25': 0.25, 'median': 0.5}
_QUANTILES |= {'p75': 0.75, 'p90': 0.9, 'p99': 0.99, 'max': 1}


class Lengths(NamedTuple):
  """A histogram of history lengths.

  Attributes:
    values: [v] distinct lengths, ascending.
    users: [v] users of each.
  """

  values: np.ndarray
  users: np.ndarray

  @classmethod
  def of(cls, rows_user: np.ndarray, num_users: int) -> 'Lengths':
    """Of rows [n] with the position of their user."""
    lengths = np.bincount(rows_user, minlength=num_users)
    return cls(*np.unique(lengths, return_counts=True))

  @classmethod
  def merge(cls, parts: Iterable['Lengths']) -> 'Lengths':
    """Of the users of all parts."""
    values, users = zip(*parts, strict=True)
    distinct, place = np.unique(np.concatenate(values), return_inverse=True)
    return cls(distinct, np.bincount(place, np.concatenate(users)).astype(int))

  def quantiles(self) -> dict[str, float]:
    """Nearest-rank quantiles and the mean; {} without users."""
    if not len(self.values):
      return {}
    found = np.quantile(
      self.values, list(_QUANTILES.values()), weights=self.users, method='inverted_cdf'
    )
    mean = float(self.values @ self.users / self.users.sum())
    return {**dict(zip(_QUANTILES, found.tolist(), strict=True)), 'mean': mean}


@dataclasses.dataclass(frozen=True)
class ShardStatistics:
  """Counts of a shard of U users.

  Attributes:
    users: U.
    rows_kept: ratings of these users, before sampling.
    dropped: rule -> ratings that it dropped.
    num_ratings: [I] int64, histories that each item is in, before sampling.
    rating_values: the distinct ratings of the histories, ascending.
    lengths: of the histories before sampling.
    sampled: of the histories as they are written.
    labelled: users with a liked or disliked genre.
    classes: of the labels, and of the label rule's answers on the sample.
  """

  users: int
  rows_kept: int
  dropped: Mapping[str, int]
  num_ratings: np.ndarray
  rating_values: Sequence[float]
  lengths: Lengths
  sampled: Lengths
  labelled: int
  classes: metrics.ClassCounts


def shard_statistics(
  users, sample, labels, answers, shape: tuple[int, int]
) -> ShardStatistics:
  """Counts a shard.

  Args:
    users: its `histories.Users`.
    sample: the rows that are written.
    labels: liked and disliked, as `labels.label_users` gives them.
    answers: the same of the label rule on the sample.
    shape: numbers of items and genres.
  """
  (num_items, num_genres), num_users = shape, len(users.ids)
  history, labelled = users.history, users.labelled
  truth, predicted = (members(sides, num_genres) for sides in (labels, answers))
  return ShardStatistics(
    num_users,
    len(history.user) + (0 if labelled is history else len(labelled.user)),
    users.dropped,
    np.bincount(history.item, minlength=num_items),
    np.unique(history.rating).tolist(),
    Lengths.of(history.user, num_users),
    Lengths.of(sample.user, num_users),
    int(truth.any(axis=1).sum()),
    metrics.class_counts(truth, predicted),
  )


def summarize_statistics(
  shards: Mapping[str, Sequence[ShardStatistics]], genres: Sequence[str]
) -> dict:
  """Statistics of a folder, as JSON.

  Args:
    shards: split -> its shards.
    genres: the G genre names.
  """
  everyone = [shard for of_split in shards.values() for shard in of_split]
  users = sum(shard.users for shard in everyone)
  support = sum(shard.classes.support for shard in everyone).tolist()
  return {
    'users': users,
    'items': int(np.count_nonzero(sum(shard.num_ratings for shard in everyone))),
    'ratings': sum(shard.rows_kept for shard in everyone),
    'history_length': Lengths.merge(x.lengths for x in everyone).quantiles(),
    'sampled_length': Lengths.merge(x.sampled for x in everyone).quantiles(),
    'users_with_label': sum(x.labelled for x in everyone) / max(users, 1),
    'users_who_like': dict(zip(genres, support[: len(genres)], strict=True)),
    'users_who_dislike': dict(zip(genres, support[len(genres) :], strict=True)),
    'rule_on_sample': {
      split: metrics.scores(
        metrics.ClassCounts(*map(sum, zip(*(x.classes for x in of_split), strict=True)))
      )
      for split, of_split in shards.items()
      if of_split
    },
  }
