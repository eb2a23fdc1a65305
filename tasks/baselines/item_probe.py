"""A linear probe: the label rule on categories that item vectors alone tell."""

import itertools
from collections.abc import Sequence

import numpy as np
from scipy import linalg, sparse

from tasks import labels
from tasks.baselines.answer_choice import ChosenAnswers, best_settings
from tasks.baselines.user_samples import UserSamples

_RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
_THRESHOLDS = (0.3, 0.4, 0.5, 0.6)
_DEFAULT = {'ridge': 0.01, 'threshold': 0.5}
_BLOCK = 16_384  # items at a time, so that no copy of all vectors is made


def linear_probe(
  vectors: np.ndarray,
  categories: np.ndarray,
  validation: UserSamples,
  users: UserSamples,
  rule: labels.LabelRule,
) -> ChosenAnswers:
  """Answers with the label rule on categories that a linear probe reads from vectors.

  The probe is fitted to the whole item table, so it shows what the vectors hold of the
  categories of these items, not how well it would read those of new ones. The `ridge`
  and the `threshold`, above which an estimate is a category, are those with the best F1
  on the validation users; without labels of these they are 0.01 and 0.5.

  Args:
    vectors: [I, H] float, as `ItemVectors.by_item` returns them.
    categories: [I, G] bool.
    validation: users whose labels the settings are chosen by.
    users: users to answer; their labels are not read.
    rule: rule of the full-history labels.
  """
  estimates = dict(
    zip(_RIDGES, estimate_categories(vectors, categories, _RIDGES), strict=True)
  )

  def answer(settings, of):
    found = estimates[settings['ridge']] > settings['threshold']
    return answer_by_rule(found, of, rule)

  grid = [
    {'ridge': ridge, 'threshold': threshold}
    for ridge, threshold in itertools.product(_RIDGES, _THRESHOLDS)
  ]
  candidates = ((settings, answer(settings, validation)) for settings in grid)
  chosen = best_settings(validation.truth, candidates, _DEFAULT)
  return ChosenAnswers(answer(chosen, users), chosen)


def estimate_categories(
  vectors: np.ndarray, categories: np.ndarray, ridges: Sequence[float]
) -> np.ndarray:
  """Estimates the categories of items from their vectors by ridge least squares.

  Minimizes |X W + b - Y|² + λ d |W|² over W [H, G] and b [G], where X are the vectors,
  Y the categories as 0 and 1, λ a ridge, and d the mean of the diagonal of XᵀX of the
  centred vectors.

  Args:
    vectors: [I, H] float; items whose vector is nan are left out.
    categories: [I, G] bool.
    ridges: R values of λ, above 0.

  Returns:
    [R, I, G] float64; nan for items without a vector.
  """
  estimates = np.full((len(ridges), *categories.shape), np.nan)
  known = np.isfinite(vectors).all(axis=1)
  if not known.any():
    return estimates
  x = vectors if known.all() else vectors[known]
  y = categories[known]
  mean, share = x.mean(axis=0, dtype=np.float64), y.mean(axis=0)
  blocks = [slice(at, at + _BLOCK) for at in range(0, len(x), _BLOCK)]
  gram, cross = np.zeros((x.shape[1],) * 2), np.zeros((x.shape[1], y.shape[1]))
  for block in blocks:
    centred = x[block] - mean  # float64
    gram += centred.T @ centred
    cross += centred.T @ (y[block] - share)
  scale = np.trace(gram) / len(gram) or 1.0  # equal vectors: W is 0
  for row, ridge in zip(estimates, ridges, strict=True):
    factor = linalg.cho_factor(gram + ridge * scale * np.eye(len(gram)))
    weights = linalg.cho_solve(factor, cross)
    row[known] = np.concatenate([(x[block] - mean) @ weights for block in blocks])
    row += share
  return estimates


def answer_by_rule(
  categories: np.ndarray, users: UserSamples, rule: labels.LabelRule
) -> np.ndarray:
  """Applies the label rule to users' sampled items with some categories of items.

  Args:
    categories: [I, G] bool.
    users: U users; their labels are not read.
    rule: label rule.

  Returns:
    [U, 2G] bool class indicators.
  """
  starts = np.cumsum([0, *map(len, users.items)])
  items = np.concatenate([np.zeros(0, np.int64), *users.items])
  ratings = np.concatenate([np.zeros(0, np.float32), *users.ratings])
  of_items = sparse.csr_array(categories.astype(np.float64))
  found = labels.label_users(of_items, starts, items, ratings, rule)
  return labels.members(found, categories.shape[1])
