"""Computes scores of genre answers: weighted precision, recall and F1 over 2G classes.

Liking a genre and disliking it are two classes. Each class's score is weighted by the
class's number of users, as in UEM (arXiv 2401.04858) and as scikit-learn defines it for
`average='weighted', zero_division=0`.

Two libraries are not used here, but the tests compare with both. scikit-learn takes 60
times as long, and cannot compute scores from the summed counts of several shards.
`scipy.stats.bootstrap` draws the same users in the same time, but fails for a single
user and keeps all draws in memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tasks.answers.lists import Answer


def indicator(answers: Sequence[Answer], genres: Sequence[str]) -> np.ndarray:
  """Returns class indicators [U, 2G] bool: liked genres first, then disliked genres."""
  column = {name: i for i, name in enumerate(genres)}
  matrix = np.zeros((len(answers), 2 * len(genres)), bool)
  for row, answer in enumerate(answers):
    matrix[row, [column[name] for name in answer.liked]] = True
    matrix[row, [len(genres) + column[name] for name in answer.disliked]] = True
  return matrix


class ClassCounts(NamedTuple):
  """Holds the counts from which scores are computed; counts of shards can be summed.

  Attributes:
    hits: [C] number of users who have the class and whose answer names it.
    support: [C] number of users who have the class.
    named: [C] number of users whose answer names the class.
  """

  hits: np.ndarray
  support: np.ndarray
  named: np.ndarray


def class_counts(truth: np.ndarray, predicted: np.ndarray) -> ClassCounts:
  """Counts the users of each class in labels and answers, both [U, C] bool."""
  return ClassCounts((truth & predicted).sum(0), truth.sum(0), predicted.sum(0))


def scores(counts: ClassCounts) -> dict[str, float]:
  """Computes support-weighted precision, recall and F1.

  Returns:
    {'precision', 'recall', 'f1'}, each in [0, 1]; all 0 if no user has any class.
  """
  hits, support, named = (np.asarray(count, float) for count in counts)
  weight = support / max(support.sum(), 1)
  return {
    'precision': float(weight @ _ratio(hits, named)),
    'recall': float(weight @ _ratio(hits, support)),
    'f1': float(weight @ _ratio(2 * hits, support + named)),
  }


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
  return np.divide(
    numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0
  )


def weighted_scores(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
  """Computes the `scores` of answers, given labels and answers as [U, C] bool."""
  return scores(class_counts(truth, predicted))


def bootstrap_f1(
  truth: np.ndarray, predicted: np.ndarray, *, samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
  """Computes the 95 % percentile interval of the weighted F1 over resampled users.

  Args:
    truth: [U, C] bool labels.
    predicted: [U, C] bool answers.
    samples: number of resamples of the U users with replacement.
    seed: seed of the resampling; the intervals of two methods with the same seed are
      over the same draws.

  Returns:
    (low, high); (0.0, 0.0) without users.
  """
  if not len(truth):
    return 0.0, 0.0
  draws = drawn_users(len(truth), samples, seed)
  return percentile_interval(_f1(truth[rows], predicted[rows]) for rows in draws)


def paired_bootstrap(
  truth: np.ndarray,
  first: np.ndarray,
  second: np.ndarray,
  *,
  samples: int = 1000,
  seed: int = 0,
) -> tuple[float, float]:
  """Computes the 95 % interval of the difference of two methods' F1 over users.

  Both methods are scored on the same resampled users, so what these users have in
  common does not widen the interval, as it would if two intervals were compared.

  Args:
    truth: [U, C] bool labels.
    first: [U, C] bool answers of the method with the sign +.
    second: [U, C] bool answers of the method with the sign -.
    samples: number of resamples of the U users with replacement.
    seed: seed of the resampling, as in `bootstrap_f1`.

  Returns:
    (low, high), percentiles of the differences; (0.0, 0.0) without users.
  """
  if not len(truth):
    return 0.0, 0.0
  draws = drawn_users(len(truth), samples, seed)
  return percentile_interval(
    _f1(truth[rows], first[rows]) - _f1(truth[rows], second[rows]) for rows in draws
  )


def drawn_users(users: int, samples: int, seed: int) -> Iterator[np.ndarray]:
  """Yields resamples with replacement: positions [users] int, `samples` times."""
  rng = np.random.default_rng(seed)
  return (rng.integers(0, users, users) for _ in range(samples))


def _f1(truth: np.ndarray, predicted: np.ndarray) -> float:
  return weighted_scores(truth, predicted)['f1']


def percentile_interval(values: Iterable[float]) -> tuple[float, float]:
  """Returns the 2.5 % and the 97.5 % percentile of bootstrapped values."""
  low, high = np.percentile([*values], [2.5, 97.5])
  return float(low), float(high)


def genre_scores(targets: Sequence[Answer], predictions: Sequence[Answer]) -> dict:
  """Computes weighted scores over all genres in labels and answers, for SeqIO.

  Args:
    targets: parsed labels.
    predictions: parsed model answers, aligned with `targets`.

  Returns:
    {'f1', 'precision', 'recall', 'parse_failures'}; `parse_failures` is a share of
    the answers.
  """
  named = (answer.liked + answer.disliked for answer in [*targets, *predictions])
  genres = sorted({name for names in named for name in names})
  scores = weighted_scores(indicator(targets, genres), indicator(predictions, genres))
  failures = sum(not answer.ok for answer in predictions) / max(len(predictions), 1)
  return {**scores, 'parse_failures': failures}
