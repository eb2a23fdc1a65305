"""Scores of genre answers: weighted precision, recall and F1 over 2G classes.

Liking a genre and disliking it are two classes. Each class's score is weighted
by its number of users, as in UEM (arXiv 2401.04858) and as scikit-learn's
`average='weighted', zero_division=0` defines it.

Two libraries stay out; the tests compare with both. scikit-learn scores rows and takes
60 times as long: it has no way from the counts of several shards to their scores.
`scipy.stats.bootstrap` draws the same users and takes the same time and as many lines,
but it refuses a single user and keeps all draws in memory.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.questions import Answer


def indicator(answers: Sequence[Answer], genres: Sequence[str]) -> np.ndarray:
  """Class membership [U, 2G] bool: liked genres first, then disliked ones."""
  column = {name: i for i, name in enumerate(genres)}
  matrix = np.zeros((len(answers), 2 * len(genres)), bool)
  for row, answer in enumerate(answers):
    matrix[row, [column[name] for name in answer.liked]] = True
    matrix[row, [len(genres) + column[name] for name in answer.disliked]] = True
  return matrix


class ClassCounts(NamedTuple):
  """What the scores are made of; counts of parts of the users add up.

  Attributes:
    hits: [C] users that have the class and were given it.
    support: [C] users that have it.
    named: [C] users that were given it.
  """

  hits: np.ndarray
  support: np.ndarray
  named: np.ndarray


def class_counts(truth: np.ndarray, predicted: np.ndarray) -> ClassCounts:
  """Counts of class members, both [U, C] bool."""
  return ClassCounts((truth & predicted).sum(0), truth.sum(0), predicted.sum(0))


def scores(counts: ClassCounts) -> dict[str, float]:
  """Support-weighted precision, recall and F1.

  Returns:
    {'precision', 'recall', 'f1'}, each in [0, 1]; 0 where no user has a class.
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
  """`scores` of class members, both [U, C] bool."""
  return scores(class_counts(truth, predicted))


def bootstrap_f1(
  truth: np.ndarray, predicted: np.ndarray, *, samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
  """95 % percentile interval of the weighted F1 over resampled users.

  Args:
    truth: [U, C] bool.
    predicted: [U, C] bool.
    samples: number of resamples of the U users with replacement.
    seed: of the resampling; the same seed resamples the same users, so that two
      methods' intervals rest on the same draws.
  """
  if not len(truth):
    return 0.0, 0.0
  rng = np.random.default_rng(seed)
  draws = (rng.integers(0, len(truth), len(truth)) for _ in range(samples))
  scores = [weighted_scores(truth[rows], predicted[rows])['f1'] for rows in draws]
  low, high = np.percentile(scores, [2.5, 97.5])
  return float(low), float(high)


def genre_scores(targets: Sequence[Answer], predictions: Sequence[Answer]) -> dict:
  """SeqIO metric: weighted scores over the genres that either side names.

  Args:
    targets: parsed labels.
    predictions: parsed model answers, aligned with `targets`.

  Returns:
    {'f1', 'precision', 'recall', 'parse_failures'}; the last is a share.
  """
  named = (answer.liked + answer.disliked for answer in [*targets, *predictions])
  genres = sorted({name for names in named for name in names})
  scores = weighted_scores(indicator(targets, genres), indicator(predictions, genres))
  failures = sum(not answer.ok for answer in predictions) / max(len(predictions), 1)
  return {**scores, 'parse_failures': failures}
