"""The numbers behind the plots of a run's page: arrays in, rows of a table out.

Labels and answers are [U, 2G] bool (`tasks.metrics.indicator`): liked genres first,
then disliked ones.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tasks import metrics

TRUE_STATES = ('liked', 'disliked', 'neither')
SAID_STATES = ('liked', 'disliked', 'not named', 'both')
_LEAST_USERS = 15  # of a bin: intervals over fewer users are too wide to help


class LengthScores(NamedTuple):
  """Holds one method's scores for the users with `low` to `high` ratings."""

  low: int
  high: int
  users: int
  method: str
  f1: float
  f1_low: float
  f1_high: float


class GenreScores(NamedTuple):
  """Holds the scores of a genre on one side; a ratio with denominator 0 is nan."""

  genre: str
  side: str
  support: int
  named: int
  precision: float
  recall: float


class LossPoint(NamedTuple):
  """Holds a logged loss; `split` is 'train' or 'validation'."""

  stage: str
  split: str
  metric: str
  step: int
  value: float


def equal_bins(lengths: np.ndarray, at_most: int = 6) -> list[tuple[int, int]]:
  """Returns ranges [low, high] of lengths with roughly equal numbers of users.

  Args:
    lengths: [U] int.
    at_most: largest number of ranges; few users or repeated lengths give fewer.
  """
  if not len(lengths):
    return []
  count = int(np.clip(len(lengths) // _LEAST_USERS, 1, at_most))
  cuts = np.quantile(lengths, np.arange(count) / count, method='inverted_cdf')
  lows = np.unique(cuts).astype(int)
  highs = [*(lows[1:] - 1), np.max(lengths)]
  return [(int(low), int(high)) for low, high in zip(lows, highs, strict=True)]


def score_by_length(
  lengths: np.ndarray,
  truth: np.ndarray,
  answers: Mapping[str, np.ndarray],
  *,
  samples: int,
  seed: int,
) -> list[LengthScores]:
  """Returns the weighted F1 of every method by history length, with 95 % intervals.

  Args:
    lengths: [U] int.
    truth: [U, 2G] bool.
    answers: [U, 2G] bool of each method.
    samples: number of bootstrap resamples of the users of a bin.
    seed: seed of the bootstrap.
  """
  rows = []
  for low, high in equal_bins(lengths):
    users = (lengths >= low) & (lengths <= high)
    for method, predicted in answers.items():
      f1 = metrics.weighted_scores(truth[users], predicted[users])['f1']
      interval = metrics.bootstrap_f1(
        truth[users], predicted[users], samples=samples, seed=seed
      )
      rows.append(LengthScores(low, high, int(users.sum()), method, f1, *interval))
  return rows


def score_by_genre(
  truth: np.ndarray, predicted: np.ndarray, genres: Sequence[str]
) -> list[GenreScores]:
  """Returns precision, recall and support of every class; both are [U, 2G] bool."""
  counts = metrics.class_counts(truth, predicted)
  names = [(name, side) for side in ('liked', 'disliked') for name in genres]
  ratio = lambda hits, of: hits / of if of else float('nan')
  return [
    GenreScores(*name, support, named, ratio(hits, named), ratio(hits, support))
    for name, hits, support, named in zip(
      names, *(count.tolist() for count in counts), strict=True
    )
  ]


def count_confusions(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
  """Counts the users of each genre by its states in the label and in the answer.

  Args:
    truth: [U, 2G] bool; no genre is liked and disliked.
    predicted: [U, 2G] bool; an answer may name a genre on both sides.

  Returns:
    [G, 3, 4] int: genre, TRUE_STATES, SAID_STATES.
  """
  half = truth.shape[1] // 2
  liked, disliked = truth[:, :half], truth[:, half:]
  says, denies = predicted[:, :half], predicted[:, half:]
  true = (liked, disliked, ~liked & ~disliked)
  said = (says & ~denies, denies & ~says, ~says & ~denies, says & denies)
  table = [[(of & answer).sum(0) for answer in said] for of in true]
  return np.array(table).transpose(2, 0, 1)


def count_by_length(lengths: np.ndarray, bins: int = 8) -> list[tuple[int, int, int]]:
  """Counts users by history length, in bins that grow by a constant factor.

  Args:
    lengths: [U] int.
    bins: largest number of bins; few different lengths give fewer.

  Returns:
    (low, high, users) of each bin, which holds low <= length <= high.
  """
  if not len(lengths):
    return []
  low, high = int(np.min(lengths)), int(np.max(lengths)) + 1
  inner = np.geomspace(max(low, 1), high, bins + 1)[1:-1]
  edges = np.unique([low, *np.round(inner).astype(int), high])
  users = np.histogram(lengths, edges)[0]
  rows = zip(edges[:-1].tolist(), (edges[1:] - 1).tolist(), users.tolist(), strict=True)
  return list(rows)


def sample_positions(among: np.ndarray, count: int, seed: int) -> list[int]:
  """Draws at most `count` positions where `among` [U] bool is true; ascending."""
  rows = np.flatnonzero(among)
  chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
  return sorted(rows[chosen].tolist())


def read_losses(lines: Iterable[str]) -> list[LossPoint]:
  """Reads the losses in a trainer's `metrics.jsonl` (`persoma_tf.training.metric_log`).

  Where a stage's objective is a single loss, only the objective is returned.
  """
  points = []
  for row in map(json.loads, lines):
    step = row.pop('step')
    for key, value in row.items():
      if not key.endswith('loss'):
        continue
      stage, metric = key.rsplit('/', 1)
      split = 'validation' if stage.startswith('validation/') else 'train'
      stage = stage.removeprefix('validation/')
      points.append(LossPoint(stage, split, metric, step, value))
  whole = {point[:2] + point[3:] for point in points if point.metric == 'loss'}
  parts = {
    point[:3]
    for point in points
    if point.metric != 'loss' and point[:2] + point[3:] not in whole
  }
  return [point for point in points if point.metric == 'loss' or point[:3] in parts]
