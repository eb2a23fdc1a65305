"""A logistic regression of every class on pooled item vectors."""

import functools
import itertools
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from tasks.baselines.answer_choice import ChosenAnswers, best_settings, top_classes
from tasks.baselines.user_samples import UserSamples, pool_users, standardize_columns

_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)
_THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_DEFAULT = {'penalty': 0.1, 'threshold': 0.2}
_ITERATIONS = 1000
_SPREAD = 1e-12  # eigenvalues below this share of the largest are rounding errors


class TurnedColumns(NamedTuple):
  """Holds columns in the basis in which a minimization needs few steps.

  Attributes:
    values: [U, R + 1] float64 columns in the basis of the R eigenvectors of XᵀX along
      which users differ, then 1 for the intercepts.
    turn: [F, R] float64 eigenvectors.
    spread: [R] float64 eigenvalues.
  """

  values: np.ndarray
  turn: np.ndarray
  spread: np.ndarray


def logistic_regression(
  vectors: np.ndarray,
  train: UserSamples,
  validation: UserSamples,
  users: UserSamples,
  top: int,
) -> ChosenAnswers:
  """Answers with the classes that logistic regressions find probable.

  There is one regression for each class, on the standardized columns of `pool_users`.
  It knows no rule and no categories, so it also suits a question whose answer follows
  from no rule. The `penalty` of the squared weights, times the number of columns, and
  the `threshold` of the probabilities are those with the best F1 on the validation
  users; without labels of these they are 0.1 and 0.2.

  Args:
    vectors: [I, H] float, as `ItemVectors.by_item` returns them.
    train: users whose labels the regressions are fitted to.
    validation: users whose labels the settings are chosen by.
    users: users to answer; their labels are not read.
    top: maximum number of genres on a side.
  """
  pooled = [pool_users(vectors, x) for x in (train, validation, users)]
  of_train, of_validation, of_users = standardize_columns(*pooled)

  turned = turn_columns(of_train)

  @functools.cache
  def fit(penalty):
    return fit_classes(turned, train.truth, penalty * of_train.shape[1])

  def answer(settings, columns):
    weights, intercepts = fit(settings['penalty'])
    probable = special.expit(columns @ weights + intercepts)
    return top_classes(probable, settings['threshold'], top)

  grid = [
    {'penalty': penalty, 'threshold': threshold}
    for penalty, threshold in itertools.product(_PENALTIES, _THRESHOLDS)
  ]
  candidates = ((settings, answer(settings, of_validation)) for settings in grid)
  chosen = best_settings(validation.truth, candidates, _DEFAULT)
  return ChosenAnswers(answer(chosen, of_users), chosen)


def turn_columns(columns: np.ndarray) -> TurnedColumns:
  """Turns columns [U, F] float into the basis in which regressions are fitted."""
  spread, turn = np.linalg.eigh(columns.T @ columns)
  used = spread > _SPREAD * spread.max(initial=0.0)
  spread, turn = spread[used], turn[:, used]
  ones = np.ones((len(columns), 1))
  return TurnedColumns(np.hstack([columns @ turn, ones]), turn, spread)


def fit_classes(
  columns: TurnedColumns, truth: np.ndarray, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
  """Fits one logistic regression to every class, all in one convex minimization.

  The objective is the logistic loss, summed over users and classes, plus penalty / 2
  times the sum of the squared weights; intercepts are free.

  Args:
    columns: columns of U users, as `turn_columns` returns them.
    truth: [U, C] bool.
    penalty: above 0; so weights are 0 in directions along which no user differs.

  Returns:
    (weights [F, C] float64, intercepts [C] float64). A class that nobody has gets the
    intercept -inf, one that everybody has inf; without users nobody has any class.
  """
  share = truth.sum(axis=0) / max(len(truth), 1)
  varied = (share > 0) & (share < 1)
  wanted = truth[:, varied].astype(np.float64)
  values, scale = columns.values, _scales(columns, share[varied], penalty)
  start = np.zeros(scale.shape)  # intercepts: the last row
  start[-1] = special.logit(share[varied]) / scale[-1]

  def objective(scaled):
    table = scaled.reshape(start.shape) * scale
    logits = values @ table
    loss = np.logaddexp(0, logits).sum() - (wanted * logits).sum()
    gradient = values.T @ (special.expit(logits) - wanted)
    gradient[:-1] += penalty * table[:-1]
    loss += penalty / 2 * (table[:-1] ** 2).sum()
    return loss, (gradient * scale).ravel()

  weights = np.zeros((len(columns.turn), len(share)))
  intercepts = special.logit(share)
  if varied.any():
    options = {'maxiter': _ITERATIONS, 'ftol': 1e-10}
    found = optimize.minimize(
      objective, start.ravel(), jac=True, method='L-BFGS-B', options=options
    )
    table = found.x.reshape(start.shape) * scale
    weights[:, varied], intercepts[varied] = columns.turn @ table[:-1], table[-1]
  return weights, intercepts


def _scales(columns, share, penalty):
  """Scales the weights so that the minimization needs few steps.

  Args:
    columns: columns of U users.
    share: [C] share of the users who have each class.
    penalty: of the squared weights.

  Returns:
    [R + 1, C] scales by which the second derivatives of the objective are near 1 where
    nothing is known yet.
  """
  spread = np.append(columns.spread, len(columns.values))
  curvature = spread[:, None] * share * (1 - share)
  curvature[:-1] += penalty
  return 1 / np.sqrt(np.maximum(curvature, 1e-9))
