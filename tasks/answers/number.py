"""Defines the number: a question about an example, answered with one of some numbers.

    How many stars will the user give {title}?

It is a choice whose options are numbers in equal steps. So it is answered in two ways:
with the number that the model writes, and with the expected number: the mean of all
numbers, weighted by their probabilities.
"""

import dataclasses
import decimal
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tasks.answers.choice import Choice, ChosenOption

MOST_NUMBERS = 1_001
_NUMBER = re.compile(r'[+-]?\d+(\.\d+)?', re.ASCII)


def write_numbers(low: float, high: float, step: float) -> tuple[str, ...]:
  """Writes the numbers from low to high in equal steps: '0.5', '1', '1.5'.

  Raises:
    ValueError: high is not some steps above low, or too many.
  """
  first, last, each = (decimal.Decimal(str(x)) for x in (low, high, step))
  if each <= 0 or last <= first or (last - first) % each:
    raise ValueError(
      f'from {low:g} to {high:g} in steps of {step:g}; expected a step above 0, and a '
      'last number that is some steps above the first'
    )
  count = int((last - first) / each) + 1
  if count > MOST_NUMBERS:
    raise ValueError(
      f'{count:,} numbers; expected at most {MOST_NUMBERS:,}, for each is an option'
    )
  return tuple(_plain(first + each * at) for at in range(count))


def _plain(number: decimal.Decimal) -> str:
  """Writes a number without an exponent, and without zeros that say nothing."""
  text = f'{number:f}'
  return text.rstrip('0').rstrip('.') if '.' in text else text


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
    text = text.strip().removesuffix('.')
    number = float(text) if _NUMBER.fullmatch(text) else np.nan
    found = np.flatnonzero(self.numbers == number)
    return ChosenOption(self.options[found[0]] if len(found) else None)

  def row(
    self,
    example: Mapping[str, Any],
    text: str,
    log_prob: float,
    history_length: int,
    probabilities: Sequence[float] = (),
    decoder_probabilities: Sequence[float] = (),
  ) -> dict[str, Any]:
    """Returns a row as a choice does, with the columns `value` and `draft_value`.

    Without probabilities of the decoder, `value` is the number that it wrote.
    """
    odds = probabilities, decoder_probabilities
    row = super().row(example, text, log_prob, history_length, *odds)
    answer, value = row['answer'], self.expected(decoder_probabilities)
    if value is None and answer is not None:
      value = float(answer)
    return row | {'value': value, 'draft_value': self.expected(probabilities)}

  def expected(self, probabilities: Sequence[float]) -> float | None:
    """Returns the mean of the numbers, weighted by [O]; None without probabilities."""
    if not len(probabilities):
      return None
    return float(np.average(self.numbers, weights=probabilities))
