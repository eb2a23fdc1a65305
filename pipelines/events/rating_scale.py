"""Defines the scale of ratings."""

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.labels import LabelRule

_STEPS = (1.0, 0.5)  # of usual scales


class SeenRatings(NamedTuple):
  """Describes ratings that were found: their lowest, highest and common step, or 0."""

  low: float
  high: float
  step: float

  @classmethod
  def of(cls, ratings: np.ndarray) -> 'SeenRatings':
    """Describes ratings [n], n > 0, all of them finite."""
    ratings = pc.unique(pa.array(ratings)).to_numpy()  # few, even of millions
    fits = [step for step in _STEPS if not np.any(ratings % step)]
    return cls(float(ratings.min()), float(ratings.max()), max(fits, default=0.0))


def suggest_scale(seen: Iterable[SeenRatings]) -> str:
  """Says which flags would hold all ratings that were seen; '' if none would.

  Steps begin at the first step above 0: a scale to 10 begins at 1, even if nobody gave
  a 1.
  """
  low, high, step = map(np.asarray, zip(*seen, strict=True))
  low, high, step = float(low.min()), float(high.max()), float(step.min())
  found = f'ratings from {low:.12g} to {high:.12g}'
  if 0 < step <= low:
    low = step
  if low >= high:
    return ''
  steps = f':{step:g}' if step else ''
  return (
    f'{found} fit --rating_scale={low:.12g}:{high:.12g}{steps}, with label thresholds '
    f'such as {thresholds_on(low, high)}'
  )


def thresholds_on(low: float, high: float) -> str:
  """Returns flags of the usual label thresholds, moved from five stars to a scale."""
  stars, usual = RatingScale(), LabelRule()
  share = (high - low) / (stars.high - stars.low)
  moved = lambda mean: f'{low + (mean - stars.low) * share:.3g}'
  return (
    f'--label_liked_above={moved(usual.liked_above)} '
    f'--label_disliked_below={moved(usual.disliked_below)}'
  )


@dataclasses.dataclass(frozen=True)
class RatingScale:
  """Describes the valid ratings: low, low + step, ... high.

  Attributes:
    low: lowest rating.
    high: highest rating.
    step: distance between two ratings; 0 allows every rating from low to high.

  Raises:
    ValueError: low is not below high, or step is negative.
  """

  low: float = 0.5
  high: float = 5.0
  step: float = 0.5

  def __post_init__(self):
    if not self.low < self.high or self.step < 0:
      raise ValueError(f'rating scale {self}: expected low < high and a step >= 0')

  @classmethod
  def parse(cls, text: str) -> 'RatingScale':
    """Reads 'low:high:step' or 'low:high'.

    Raises:
      ValueError: the text has another form.
    """
    try:
      low, high, *step = map(float, text.split(':'))
      (step,) = step or [0.0]
    except ValueError:
      raise ValueError(
        f'rating_scale={text!r}: expected low:high:step, such as 0.5:5:0.5'
      ) from None
    return cls(low, high, step)

  def holds(self, ratings: np.ndarray) -> np.ndarray:
    """Tells for each rating [n] float whether it is on the scale, [n] bool."""
    inside = (ratings >= self.low) & (ratings <= self.high)
    if not self.step:
      return inside
    with np.errstate(invalid='ignore'):
      steps = (ratings - self.low) / self.step
      return inside & (np.abs(steps - np.rint(steps)) < 1e-6)

  def __str__(self):
    steps = f' in steps of {self.step:g}' if self.step else ''
    return f'{self.low:g} to {self.high:g}{steps}'
