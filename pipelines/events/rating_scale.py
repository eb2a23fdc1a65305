"""Defines the scale of ratings."""

import dataclasses

import numpy as np


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
