"""Chooses the settings of a baseline, and the classes that an answer names."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from tasks import metrics


class ChosenAnswers(NamedTuple):
  """Holds answers and the settings that they were made with.

  Attributes:
    answers: [U, 2G] bool.
    settings: value of each setting.
  """

  answers: np.ndarray
  settings: Mapping[str, float]


def best_settings(
  truth: np.ndarray,
  candidates: Iterable[tuple[Mapping[str, float], np.ndarray]],
  default: Mapping[str, float],
) -> Mapping[str, float]:
  """Returns the settings whose answers to validation users have the highest F1.

  Args:
    truth: [V, 2G] bool labels of the validation users.
    candidates: settings, and the answers [V, 2G] bool with them; of equal ones the
      first wins. They are not asked for if the default is taken.
    default: settings that are taken if no validation user has a label.
  """
  if not truth.any():
    return default
  score = lambda answers: metrics.weighted_scores(truth, answers)['f1']
  scored = ((score(answers), settings) for settings, answers in candidates)
  return max(scored, key=lambda pair: pair[0])[1]


def top_classes(scores: np.ndarray, above: float, top: int) -> np.ndarray:
  """Names on each side the `top` classes with the highest scores above a threshold.

  Args:
    scores: [U, 2G] float; of equal scores, those of the lower columns count as higher.
    above: threshold, which a score must exceed.
    top: maximum number of genres on a side.

  Returns:
    [U, 2G] bool class indicators.
  """
  sides = scores.reshape(len(scores), 2, scores.shape[1] // 2)
  best = np.argsort(-sides, axis=-1, kind='stable')[..., :top]
  named = np.zeros(sides.shape, bool)
  np.put_along_axis(named, best, True, axis=-1)
  return (named & (sides > above)).reshape(scores.shape)
