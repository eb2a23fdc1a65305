"""Computes scores of answers that choose one of O options.

Accuracy and F1 read the chosen options. The area under the ROC curve (AUC), the log
loss and the calibration read the probabilities of the options. Intervals are
bootstrapped over users: a user is drawn with all of their examples, since these are
not independent of each other. An example counts as often as its user was drawn, so the
probabilities are sorted once and not for every resample.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from tasks import metrics
from tasks.choice_curves import calibration_bins, calibration_error

# Scores that methods are ranked by.
WORDS = {'auc': 'AUC', 'accuracy': 'accuracy', 'rmse': 'RMSE'}
INTERVALS = ('auc', 'accuracy', 'log_loss', 'f1', 'mae', 'rmse')
_ERRORS = ('rmse',)  # the lower, the better
_LEAST = np.finfo(np.float64).eps  # of a probability, as in scikit-learn's log_loss

# Takes how often each of U users was drawn, [U] int; returns a score, or nan.
Measure = Callable[[np.ndarray], float]


class OptionAnswers(NamedTuple):
  """Holds a method's answers to E examples.

  Attributes:
    chosen: [E] int, number of the option; -1 for an answer that names none.
    probabilities: [E, O] float64 of the options; None if the method tells none.
    told: [E] float64 numbers, if the method tells some that follow from neither.
  """

  chosen: np.ndarray
  probabilities: np.ndarray | None = None
  told: np.ndarray | None = None

  def numbers(self, of_options: np.ndarray) -> np.ndarray:
    """Returns the number [E] float64 that each answer tells.

    It is the expected number if the method has probabilities, else the chosen one; of
    an answer that names no option, the mean of all options.

    Args:
      of_options: [O] number of each option.
    """
    if self.told is not None:
      return self.told
    if self.probabilities is not None:
      return self.probabilities @ of_options
    return np.append(of_options, of_options.mean())[self.chosen]


def most_probable(probabilities: np.ndarray) -> OptionAnswers:
  """Returns the answers that name the option with the highest probability, [E, O]."""
  return OptionAnswers(probabilities.argmax(axis=1), probabilities)


def goodness(score: str, value: float | None) -> float:
  """Returns a number that is higher for the better of two values of a score."""
  if value is None:
    return -np.inf
  return -value if score in _ERRORS else value


def choice_measures(
  truth: np.ndarray,
  users: np.ndarray,
  answers: OptionAnswers,
  num_options: int,
  numbers: np.ndarray | None = None,
) -> dict[str, Measure]:
  """Prepares the scores of a method as functions of the drawn users.

  Args:
    truth: [E] int, number of the right option.
    users: [E] int, number of each example's user, below U; every user has an example.
    answers: answers to the E examples.
    num_options: O.
    numbers: [O] number of each option, if they are numbers.

  Returns:
    'accuracy', and 'precision', 'recall', 'f1', which are weighted by the options'
    numbers of examples (`metrics.scores`); with probabilities also 'auc' and
    'log_loss', the mean of -ln p of the right option in nats. The AUC of two options is
    that of the first one; of more it is the mean over the options, each against the
    rest, that some examples have and some have not. It is nan if there is none. With
    numbers also 'mae' and 'rmse': the mean distance of the told numbers from the right
    ones, and the root of their mean squared distance.
  """
  wanted, named = (_one_hot(x, num_options) for x in (truth, answers.chosen))
  counts = _sum_by_user(np.hstack([wanted & named, wanted, named]), users)
  count = lambda drawn: metrics.ClassCounts(*np.split(drawn @ counts, 3))
  measures = {
    'accuracy': lambda drawn: count(drawn).hits.sum() / count(drawn).support.sum(),
    'precision': lambda drawn: metrics.scores(count(drawn))['precision'],
    'recall': lambda drawn: metrics.scores(count(drawn))['recall'],
    'f1': lambda drawn: metrics.scores(count(drawn))['f1'],
  }
  if answers.probabilities is not None:
    of_truth = answers.probabilities[np.arange(len(truth)), truth]
    losses = -np.log(of_truth.clip(_LEAST, 1 - _LEAST))
    sums = _sum_by_user(np.stack([losses, np.ones(len(truth))], axis=1), users)
    measures['log_loss'] = lambda drawn: np.divide(*(drawn @ sums))
    measures['auc'] = _auc(answers.probabilities, wanted, users)
  if numbers is not None:
    apart = answers.numbers(numbers) - numbers[truth]
    columns = np.stack([np.abs(apart), apart**2, np.ones(len(truth))], axis=1)
    errors = _sum_by_user(columns, users)
    measures['mae'] = lambda drawn: np.divide(*(drawn @ errors)[[0, 2]])
    measures['rmse'] = lambda drawn: np.sqrt(np.divide(*(drawn @ errors)[[1, 2]]))
  return measures


def _one_hot(chosen, num_options):
  return np.asarray(chosen)[:, None] == np.arange(num_options)


def _sum_by_user(columns, users):
  """Returns the sums [U, C] of columns [E, C] over the examples of each user."""
  return np.stack([np.bincount(users, column) for column in columns.T], axis=1)


def _auc(probabilities, wanted, users):
  """Prepares the AUC: of the first of two options, or the mean over more of them."""
  options = range(1 if wanted.shape[1] == 2 else wanted.shape[1])
  each = [_auc_of_one(probabilities[:, x], wanted[:, x], users) for x in options]

  def measure(drawn):
    found = np.array([auc(drawn) for auc in each])
    known = np.isfinite(found)
    return found[known].mean() if known.any() else np.nan

  return measure


def _auc_of_one(values, positive, users):
  """Prepares the share of (positive, negative) pairs in the right order.

  Equal values count half: this is the statistic U of Mann and Whitney, divided by the
  number of pairs (Hanley and McNeil 1982, doi 10.1148/radiology.143.1.7063747).
  """
  order = np.argsort(values, kind='stable')
  right, wrong = (order[x[order]] for x in (positive, ~positive))
  low, high = (
    np.searchsorted(values[wrong], values[right], side) for side in ('left', 'right')
  )
  of_right, of_wrong = users[right], users[wrong]

  def measure(drawn):
    below = np.concatenate([[0], np.cumsum(drawn[of_wrong])])
    weight = drawn[of_right]
    pairs = float(weight.sum()) * float(below[-1])
    return float(weight @ (below[low] + below[high])) / (2 * pairs) if pairs else np.nan

  return measure


def bootstrap_measures(
  measures: Mapping[str, Measure], num_users: int, *, samples: int, seed: int
) -> dict[str, tuple[float, float]]:
  """Computes the 95 % percentile interval of scores over resampled users.

  Args:
    measures: the scores; all of them are computed on the same draws.
    num_users: U.
    samples: number of resamples of the U users with replacement.
    seed: seed of the resampling.

  Returns:
    (low, high) of each score. Resamples without a score, such as the AUC of examples
    with one and the same answer, are left out; nan if there is no other.
  """
  draws = metrics.drawn_users(num_users, samples, seed)
  counted = (np.bincount(rows, minlength=num_users) for rows in draws)
  found = [[measure(drawn) for measure in measures.values()] for drawn in counted]
  columns = np.array(found).reshape(-1, len(measures)).T
  known = [column[np.isfinite(column)] for column in columns]
  return {
    name: metrics.percentile_interval(values) if len(values) else (np.nan, np.nan)
    for name, values in zip(measures, known, strict=True)
  }


def option_scores(
  truth: np.ndarray,
  users: np.ndarray,
  answers: OptionAnswers,
  num_options: int,
  numbers: np.ndarray | None = None,
  *,
  samples: int = 1000,
  seed: int = 0,
) -> dict[str, float | None]:
  """Computes all scores of a method, as in `metrics.json`.

  Args:
    truth: [E] int, number of the right option; E is at least 1.
    users: [E] int, number of each example's user.
    answers: answers to the E examples.
    num_options: O.
    numbers: [O] number of each option, if they are numbers.
    samples: number of bootstrap resamples of the users; 0 computes no intervals.
    seed: seed of the bootstrap.

  Returns:
    The scores of `choice_measures` and 'calibration_error', and '<name>_low' and
    '<name>_high' of those in INTERVALS. None stands for a score that does not exist.
  """
  measures = choice_measures(truth, users, answers, num_options, numbers)
  everybody = np.ones(users.max() + 1, np.int64)
  found = {name: measure(everybody) for name, measure in measures.items()}
  if answers.probabilities is not None:
    bins = calibration_bins(truth, answers.probabilities)
    found['calibration_error'] = calibration_error(bins)
  if samples:
    some = {name: measures[name] for name in INTERVALS if name in measures}
    intervals = bootstrap_measures(some, len(everybody), samples=samples, seed=seed)
    for name, (low, high) in intervals.items():
      found |= {f'{name}_low': low, f'{name}_high': high}
  return {name: float(x) if np.isfinite(x) else None for name, x in found.items()}
