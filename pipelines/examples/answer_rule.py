"""Tells which option of a question an example has, by a column or a comparison."""

import dataclasses
import math
import operator
import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.events import column_values

SIGNS = {
  '>': operator.gt,
  '>=': operator.ge,
  '<': operator.lt,
  '<=': operator.le,
  '==': operator.eq,
  '!=': operator.ne,
}
_COMPARISON = re.compile(r'(.+?)\s*(>=|<=|==|!=|>|<)\s*(.+)')
_NO_SIGN = re.compile(r'.+\s(=|=>|=<|<>|=!)\s.+')
NO_ANSWER = -1
_SHOWN_VALUES = 50


@dataclasses.dataclass(frozen=True)
class AnswerRule:
  """Tells which option of a choice a row has.

  Attributes:
    column: name of the column that decides.
    options: the options.
    values: text of the column -> option; not used with a sign.
    rounds: whether the options are ascending numbers, and a row has the one nearest to
      its own number, which must not lie outside them; `values` are not used then.
    sign: key of SIGNS: a row has the first option if its number compares so to
      `number`, else the second; '' for a column that names the option.
    number: number that the column is compared to.
  """

  column: str
  options: tuple[str, ...]
  values: Mapping[str, str] = dataclasses.field(default_factory=dict)
  rounds: bool = False
  sign: str = ''
  number: float = 0.0

  @classmethod
  def parse(
    cls,
    text: str,
    options: tuple[str, ...],
    values: Mapping[str, str],
    rounds: bool = False,
  ) -> 'AnswerRule':
    """Reads a column, or a comparison such as 'value > 3'.

    Args:
      text: the text.
      options: the options.
      values: text of the column -> option.
      rounds: whether a number has the nearest option.

    Raises:
      ValueError: it compares to no number, or more than two options.
    """
    if wrong := _NO_SIGN.fullmatch(text):
      raise ValueError(f'{text!r} has {wrong[1]}; expected one of {list(SIGNS)}')
    found = _COMPARISON.fullmatch(text.strip())
    if not found:
      return cls(text.strip(), options, values, rounds)
    column, sign, number = found.groups()
    compared = _number(number)
    if compared is None or not math.isfinite(compared):
      raise ValueError(
        f'{text!r} compares to {number!r}; expected a number, as in value > 3'
      )
    if len(options) != 2:
      raise ValueError(
        f'{text!r} is true or false, and there are {len(options)} options; expected '
        'two, the first for true'
      )
    return cls(column, options, sign=sign, number=compared)

  @property
  def expected(self) -> str:
    """Returns what a value of the column should be, for rejects."""
    if self.sign:
      return 'a number'
    if self.rounds:
      return f'a number from {self.options[0]} to {self.options[-1]}'
    known = [*self.values]
    if len(known) > _SHOWN_VALUES:
      return f'one of {len(known):,} texts such as {known[0]!r} and {known[-1]!r}'
    return f'one of {sorted(known)}'

  def choose(self, column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns the options of rows.

    Args:
      column: [n] texts or numbers.

    Returns:
      [n] int32 positions in `options`, NO_ANSWER for empty values; [n] bool, whether
      the value is empty, or one that names an option.
    """
    texts = column_values.known_texts(column)
    empty = pc.equal(texts, '').to_numpy(zero_copy_only=False)
    if self.sign or self.rounds:
      numbers, good = column_values.numbers(texts)
      chosen, inside = self._compare(numbers) if self.sign else self._round(numbers)
      good &= inside
      return np.where(good, chosen, NO_ANSWER).astype(np.int32), good | empty
    distinct = texts.dictionary_encode()
    known = [self._option(text) for text in distinct.dictionary.to_pylist()]
    chosen = np.array(known, np.int32)[distinct.indices.to_numpy()]
    return chosen, (chosen != NO_ANSWER) | empty

  def _compare(self, numbers: np.ndarray) -> tuple[np.ndarray, bool]:
    """Returns the options of numbers [n], and that each has one."""
    return np.where(SIGNS[self.sign](numbers, self.number), 0, 1), True

  def _round(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the nearest options of numbers [n], and which are not outside them."""
    options = np.array(self.options, float)
    inside = (options[0] <= numbers) & (numbers <= options[-1])
    return np.searchsorted((options[1:] + options[:-1]) / 2, numbers), inside

  def _option(self, text: str) -> int:
    """Returns the position of the option that a text names; 1.0 is 1, True is true."""
    if text not in self.values:
      text = next((key for key in self.values if _same(key, text)), text)
    named = self.values.get(text)
    return NO_ANSWER if named is None else self.options.index(named)


def _same(key: str, text: str) -> bool:
  """Tells whether texts are the same number, or the same truth value."""
  if key.lower() in ('true', 'false'):
    return key.lower() == text.lower()
  return _number(key) == _number(text) is not None


def _number(text: str) -> float | None:
  try:
    return float(text)
  except ValueError:
    return None
