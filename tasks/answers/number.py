"""Defines the number: a question about an example, answered with one of some numbers.

    How many stars will the user give {title}?

It is a choice whose options are numbers in equal steps. So it is answered in two ways:
with the number that the model writes, and with the expected number: the mean of all
numbers, weighted by their probabilities.
"""

import dataclasses
import decimal
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tasks.answers.choice import Choice, ChosenOption


def write_numbers(low: float, high: float, step: float) -> tuple[str, ...]:
  """Writes the numbers from low to high in equal steps: '0.5', '1', '1.5'.

  Raises:
    ValueError: high is not some steps above low.
  """
  first, last, each = (decimal.Decimal(str(x)) for x in (low, high, step))
  if each <= 0 or last <= first or (last - first) % each:
    raise ValueError(
      f'from {low:g} to {high:g} in steps of {step:g}; expected a step above 0, and a '
      'last number that is some steps above the first'
    )
  count = int((last - first) / each) + 1
  return tuple(f'{float(first + each * at):g}' for at in range(count))


@dataclasses.dataclass(frozen=True)
class Number(Choice):
  """Holds the words of a question that is answered with a number.

  Attributes:
    options: the numbers as texts, ascending.

  Raises:
    ValueError: as of a choice, or an option is no number.
  """

  KIND: ClassVar[str] = 'number'

  def __post_init__(self):
    super().__post_init__()
    try:
      ascending = (np.diff(self.numbers) > 0).all()
    except ValueError:
      ascending = False
    if not ascending:
      self._refuse('options', "ascending numbers, such as ('1', '2', '3')")

  @property
  def numbers(self) -> np.ndarray:
    """Returns the number of each option, [O] float64."""
    return np.array([float(option) for option in self.options])

  def parse(self, text: str) -> ChosenOption:
    """Parses an answer: one of the numbers, however it is written, as '4' or '4.0'."""
    try:
      place = self.numbers.tolist().index(float(text.strip().removesuffix('.')))
    except ValueError:
      return ChosenOption(None)
    return ChosenOption(self.options[place])

  def row(
    self,
    example: Mapping[str, Any],
    text: str,
    log_prob: float,
    history_length: int,
    probabilities: Sequence[float] = (),
  ) -> dict[str, Any]:
    """Returns a row as a choice does, with the columns `value` and `draft_value`."""
    row = super().row(example, text, log_prob, history_length, probabilities)
    answer = row['answer']
    return row | {
      'value': None if answer is None else float(answer),
      'draft_value': self.expected(row['draft_probabilities']),
    }

  def expected(self, probabilities: Sequence[float]) -> float | None:
    """Returns the mean of the numbers, weighted by [O]; None without probabilities."""
    if not len(probabilities):
      return None
    return float(np.average(self.numbers, weights=probabilities))
