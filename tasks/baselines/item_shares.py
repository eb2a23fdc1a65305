"""Answers by how often each option was right in the training, in all and by item."""

from typing import NamedTuple

import numpy as np

from tasks.baselines.choice_samples import (
  ChoiceSamples,
  ChosenProbabilities,
  mean_log_loss,
)
from tasks.user_folds import FOLDS, folds_of

_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class OptionCounts(NamedTuple):
  """Counts the answers of training examples, by fold of the users.

  A training example is answered from the folds without its user, as if it were new.

  Attributes:
    by_item: [FOLDS, I + 1, O] int; the last row is of examples that ask about no item.
    overall: [FOLDS, O] int.
    names: (user, id) of the examples that were counted.
  """

  by_item: np.ndarray
  overall: np.ndarray
  names: frozenset[tuple[str, str]]


def count_options(
  train: ChoiceSamples, num_items: int, num_options: int
) -> OptionCounts:
  """Counts the answers of training examples; those without an answer are left out."""
  table = np.zeros((FOLDS, num_items + 1, num_options), np.int64)
  known = train.answers >= 0
  places = folds_of(train.user_ids)[known], train.asked[known], train.answers[known]
  np.add.at(table, places, 1)  # the item -1 is the last row
  return OptionCounts(table, table.sum(axis=1), frozenset(train.names))


def _hidden_fold(counts, samples):
  """Returns the fold [E] that an example may not read; FOLDS if it is not counted."""
  counted = [name in counts.names for name in samples.names]
  return np.where(np.array(counted, bool), folds_of(samples.user_ids), FOLDS)


def majority(counts: OptionCounts, samples: ChoiceSamples) -> ChosenProbabilities:
  """Answers every example with the shares [E, O] of all training answers.

  Each option counts one answer more than there are (Laplace's rule), so that none is
  impossible.
  """
  rest = counts.overall.sum(axis=0) - _with_none(counts.overall)
  shares = (rest + 1) / (rest.sum(axis=1, keepdims=True) + rest.shape[1])
  return ChosenProbabilities(shares[_hidden_fold(counts, samples)])


def _with_none(of_folds):
  """Returns the counts of each fold, and zeros for no fold."""
  return np.concatenate([of_folds, np.zeros_like(of_folds[:1])])


def item_mean(
  counts: OptionCounts, train: ChoiceSamples, samples: ChoiceSamples
) -> ChosenProbabilities:
  """Answers with the shares of the training answers about the asked item.

  The share of option o is (n_o + s p_o) / (n + s): n are the item's training answers,
  p the shares of `majority`, and the strength s of `_STRENGTHS` is the one with the
  least log loss on the training examples, each answered without its fold of users.

  Args:
    counts: answers of the training examples.
    train: the training examples.
    samples: E examples to answer; their answers are not read.
  """
  loss = lambda s: mean_log_loss(train.answers, smoothed_shares(counts, train, s))
  strength = min(_STRENGTHS, key=loss)
  shares = smoothed_shares(counts, samples, strength)
  return ChosenProbabilities(shares, {'strength': strength})


def smoothed_shares(
  counts: OptionCounts, samples: ChoiceSamples, strength: float
) -> np.ndarray:
  """Returns the shares [E, O] of `item_mean` with some strength."""
  whole = counts.by_item.sum(axis=0)[samples.asked]
  hidden = _hidden_fold(counts, samples)
  own = hidden < FOLDS
  whole[own] -= counts.by_item[hidden[own], samples.asked[own]]
  prior = majority(counts, samples).probabilities
  return (whole + strength * prior) / (whole.sum(axis=1, keepdims=True) + strength)
