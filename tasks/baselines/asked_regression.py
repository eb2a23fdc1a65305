"""A logistic regression on the history's vectors and the vector of the asked item."""

import functools

import numpy as np
from scipy import special

from tasks.baselines.choice_samples import (
  ChoiceSamples,
  ChosenProbabilities,
  mean_log_loss,
)
from tasks.baselines.class_regression import fit_classes, turn_columns
from tasks.baselines.user_samples import UserSamples, pool_users, standardize_columns

_WIDTH = 64  # of the vectors that the regression reads
_MOST_EXAMPLES = 50_000  # of the fit, so that the columns fit into memory
_PENALTIES = (0.01, 0.1, 1.0, 10.0)
_DEFAULT = 0.1
_BLOCK = 16_384  # items or examples at a time


def shorten_vectors(vectors: np.ndarray, width: int = _WIDTH) -> np.ndarray:
  """Projects item vectors onto their first principal components.

  Args:
    vectors: [I, H] float; rows of nan are items without a vector.
    width: number of components.

  Returns:
    [I, min(width, H)] float64, centred; zeros for items without a vector.
  """
  known = np.isfinite(vectors).all(axis=1)
  mean = vectors[known].mean(axis=0, dtype=np.float64) if known.any() else 0.0
  centred = lambda rows: np.where(known[rows, None], vectors[rows] - mean, 0.0)
  blocks = [slice(at, at + _BLOCK) for at in range(0, len(vectors), _BLOCK)]
  gram = np.zeros((vectors.shape[1],) * 2)
  for rows in blocks:
    gram += centred(rows).T @ centred(rows)
  turn = np.linalg.eigh(gram)[1][:, ::-1][:, :width]  # the largest come last
  return np.concatenate(
    [np.zeros((0, turn.shape[1])), *(centred(x) @ turn for x in blocks)]
  )


def pair_columns(vectors: np.ndarray, samples: ChoiceSamples) -> np.ndarray:
  """Returns the columns that the regression reads of each example.

  Args:
    vectors: [I, R] float.
    samples: E examples; one that asks about no item has zeros for its vector.

  Returns:
    [E, 5R + 3] float64: the pooled history (`pool_users`), the asked item's vector, its
    products with the two pooled vectors, and the sums of these products.
  """
  width = vectors.shape[1]
  nothing = np.zeros((len(samples.asked), 0), bool)
  pooled = pool_users(vectors, UserSamples(samples.items, samples.values, nothing))
  asked = np.where(samples.asked[:, None] >= 0, vectors[samples.asked], 0.0)
  products = [pooled[:, x] * asked for x in (slice(width), slice(width, 2 * width))]
  sums = [x.sum(axis=1, keepdims=True) for x in products]
  return np.hstack([pooled, asked, *products, *sums])


def asked_regression(
  vectors: np.ndarray,
  train: ChoiceSamples,
  validation: ChoiceSamples,
  samples: ChoiceSamples,
  num_options: int,
) -> ChosenProbabilities | None:
  """Answers with a logistic regression on `pair_columns` of shortened vectors.

  Of two options the first one is fitted; of more each is fitted on its own, and the
  probabilities are scaled to the sum 1. The `penalty` of the squared weights, times
  the number of columns, is the one with the least log loss on the validation examples;
  without answers to these it is 0.1. Both read at most 50,000 drawn examples.

  Args:
    vectors: [I, H] float, as `ItemVectors.by_item` returns them.
    train: examples that the regression is fitted to, but those in `samples`.
    validation: examples that the penalty is chosen by.
    samples: E examples to answer; their answers are not read.
    num_options: O.

  Returns:
    The answers; None if no training example has an answer.
  """
  fitted, vectors = _draw_some(train.without(samples)), shorten_vectors(vectors)
  if not len(fitted.asked):
    return None
  raw = pair_columns(vectors, fitted)
  chosen_by = _draw_some(validation.without(samples))
  (own,) = standardize_columns(raw)
  options = np.arange(1 if num_options == 2 else num_options)
  truth, turned = fitted.answers[:, None] == options, turn_columns(own)

  @functools.cache
  def fit(penalty):
    return fit_classes(turned, truth, penalty * own.shape[1])

  def answer(penalty, some):
    weights, intercepts = fit(penalty)
    columns = standardize_columns(raw, pair_columns(vectors, some))[1]
    return _to_probabilities(columns @ weights + intercepts)

  loss = lambda x: mean_log_loss(chosen_by.answers, answer(x, chosen_by))
  penalty = min(_PENALTIES, key=loss) if len(chosen_by.asked) else _DEFAULT
  blocks = [
    samples.take(np.arange(at, min(at + _BLOCK, len(samples.asked))))
    for at in range(0, len(samples.asked), _BLOCK)
  ]
  told = np.concatenate([answer(penalty, x) for x in blocks])
  return ChosenProbabilities(told, {'penalty': penalty})


def _draw_some(samples):
  """Returns at most _MOST_EXAMPLES of the examples, in their order."""
  drawn = np.random.default_rng(0).permutation(len(samples.asked))[:_MOST_EXAMPLES]
  return samples.take(np.sort(drawn))


def _to_probabilities(log_odds):
  """Returns probabilities [E, O] of log odds: [E, 1] of the first of two, or [E, O]."""
  # The intercept of an option that is always or never right is infinite.
  told = special.expit(log_odds).clip(1e-9, 1 - 1e-9)
  told = np.hstack([told, 1 - told]) if told.shape[1] == 1 else told
  return told / told.sum(axis=1, keepdims=True)
