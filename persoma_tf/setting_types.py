"""Types of settings, and the check of a recipe's values by them.

A parameter of a configurable that is annotated with a type here, or with a plain type,
is checked when a recipe is parsed, before anything is loaded or written.
"""

import types
import typing
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

# The number is the least value.
Positive = Annotated[int, 1]
Count = Annotated[int, 0]
Amount = Annotated[float, 0]
OperandType = typing.Literal['auto', 'float32', 'bfloat16']

_NAMES = {
  int: 'a whole number',
  float: 'a number',
  str: 'a text',
  bool: 'True or False',
  types.NoneType: 'None',
}
# Tuples of two entries, as they are written.
_EXAMPLES = {
  int: '(1, 2)',
  float: '(0.5, 1)',
  str: "('a', 'b')",
  bool: '(True, False)',
}
_PYTHON = {float: (int, float)}


def expected_of(hint: Any, value: Any) -> str | None:
  """Returns what a parameter expects in place of a value; None if the value is right.

  Types other than texts, numbers, truth values and sequences of them are not checked.

  Args:
    hint: type of the parameter.
    value: Python literal.
  """
  if isinstance(value, str) and value.startswith(('@', '%')):
    return None  # a reference or macro within a sequence
  origin, arguments = typing.get_origin(hint), typing.get_args(hint)
  if origin is Annotated:
    least = hint.__metadata__[0]
    kind = expected_of(arguments[0], value)
    if kind or not isinstance(least, int | float):
      return kind
    return None if value >= least else f'at least {least}'
  if origin is typing.Literal:
    return None if value in arguments else f'one of {list(arguments)}'
  if origin in (typing.Union, types.UnionType):
    found = [expected_of(argument, value) for argument in arguments]
    return None if None in found else ' or '.join(dict.fromkeys(found))
  if hint in _NAMES:
    right = isinstance(value, _PYTHON.get(hint, hint))
    return None if right and isinstance(value, bool) <= (hint is bool) else _NAMES[hint]
  if origin in (tuple, Sequence, Iterable) and arguments:
    return _expected_sequence(arguments, value)
  return None


def _expected_sequence(arguments, value):
  """Returns what a sequence of one type expects, as `expected_of` does."""
  entry = arguments[0]
  one_of = typing.get_args(entry) if typing.get_origin(entry) is typing.Literal else ()
  # Not checked: a type for each entry, entries of other types.
  if len({*arguments} - {...}) > 1 or not (one_of or entry in _NAMES):
    return None
  wrong = lambda item: expected_of(entry, item)
  if isinstance(value, tuple | list) and not any(map(wrong, value)):
    return None
  kind = f'one of {list(one_of)}' if one_of else _NAMES[entry]
  example = one_of[:2] or _EXAMPLES[entry]
  return f'a tuple with commas, each entry {kind}, such as {example}'
