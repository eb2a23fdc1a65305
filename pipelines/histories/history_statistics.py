"""Computes statistics of the histories, for a look at the data before a training.

Each shard is counted; the sums of these counts give the statistics of a folder.
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
  """Holds a histogram of history lengths.

  Attributes:
    values: [v] distinct lengths, ascending.
    users: [v] number of users with each length.
  """

  values: np.ndarray
  users: np.ndarray

  @classmethod
  def of(cls, rows_user: np.ndarray, num_users: int) -> 'Lengths':
    """Counts lengths; `rows_user` [n] holds the position of each row's user."""
    lengths = np.bincount(rows_user, minlength=num_users)
    return cls(*np.unique(lengths, return_counts=True))

  @classmethod
  def merge(cls, parts: Iterable['Lengths']) -> 'Lengths':
    """Merges the histograms of several groups of users."""
    values, users = zip(*parts, strict=True)
    distinct, place = np.unique(np.concatenate(values), return_inverse=True)
    return cls(distinct, np.bincount(place, np.concatenate(users)).astype(int))

  def quantiles(self) -> dict[str, float]:
    """Returns nearest-rank quantiles and the mean; {} without users."""
    if not len(self.values):
      return {}
    quantiles = np.quantile(
      self.values, list(_QUANTILES.values()), weights=self.users, method='inverted_cdf'
    )
    mean = float(self.values @ self.users / self.users.sum())
    return {**dict(zip(_QUANTILES, quantiles.tolist(), strict=True)), 'mean': mean}


@dataclasses.dataclass(frozen=True)
class ShardStatistics:
  """Holds the counts of a shard with U users.

  Attributes:
    users: U.
    rows_kept: number of ratings of these users, before sampling.
    dropped: number of ratings that each rule dropped.
    num_ratings: [I] int64, number of histories with each item, before sampling.
    rating_values: distinct ratings of the histories, ascending.
    lengths: lengths of the histories before sampling.
    sampled: lengths of the histories as they are written.
    labelled: number of users with a liked or disliked genre.
    classes: class counts of the label rule's answers on the sample, against the
      labels.
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
    users: the `make_histories.ShardUsers` of the shard.
    sample: `RatingColumns` of the rows that are written.
    labels: liked and disliked genres, as `labels.label_users` returns them.
    answers: liked and disliked genres by the label rule on the sample.
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
  """Returns the statistics of a folder, as JSON types.

  Args:
    shards: statistics of the shards of each split.
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
