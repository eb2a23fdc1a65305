"""Reads YAML so that every message can name the line and the key.

Plain scalars are read as YAML 1.2 and JSON read them: `Yes`, `1:5:1` and `2015-01-31`
are texts.
"""

import difflib
import re
from collections.abc import Callable
from typing import Any, NoReturn

import yaml

from pipelines.common.job import JobError
from pipelines.events import column_values

_TIME = 'a date such as 2015-01-31, or seconds since 1970 from 1973 to 2100'
_FIRST_SECONDS, _LAST_SECONDS = 10**8, 4_102_444_800  # else it is a year, or no seconds
_WORDS = {'': None, '~': None, 'null': None, 'true': True, 'false': False}
_TEXT = 'tag:yaml.org,2002:str'
_INT = re.compile(r'[-+]?[0-9]{1,18}')
_FLOAT = re.compile(r'[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?')
_KINDS = {
  str: 'a text',
  int: 'a whole number',
  float: 'a number',
  bool: 'true or false',
  list: 'a list',
  dict: 'keys with values',
}


class Part:
  """Holds a part of a YAML file: keys with values, a list, or a value.

  Attributes:
    file: path of the file.
    line: line number of the part, from 1.
    path: keys that lead to the part, such as 'events.files'.
    value: text, number, True, False or None; dict or list of Parts.
  """

  def __init__(self, file: str, path: str, node: yaml.Node):
    """Reads a node.

    Raises:
      JobError: a key stands twice.
    """
    self.file, self.path, self.line = file, path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
      self.value: Any = {}
      for key, value in node.value:
        name = str(key.value)
        part = Part(file, f'{path}.{name}'.lstrip('.'), value)
        part.line = key.start_mark.line + 1
        if name in self.value:
          part.refuse('this key stands twice')
        self.value[name] = part
    elif isinstance(node, yaml.SequenceNode):
      self.value = [
        Part(file, f'{path}[{number}]', each) for number, each in enumerate(node.value)
      ]
    else:
      self.value = _scalar(node)

  def refuse(self, reason: str) -> NoReturn:
    """Raises a JobError that names the file, the line and the key."""
    where = f'{self.path}: ' if self.path else ''
    raise JobError(f'{self.file}, line {self.line}: {where}{reason}')

  def expect(self, *keys: str) -> None:
    """Checks that all keys are among those that there can be.

    Raises:
      JobError: a key is unknown; the message has the nearest known one.
    """
    for key, part in self._keys().items():
      if key not in keys:
        near = difflib.get_close_matches(key, keys, n=1)
        hint = f'did you mean {near[0]}?' if near else f'expected one of {list(keys)}'
        part.refuse(f'unknown key; {hint}')

  def get(self, key: str) -> 'Part | None':
    """Returns the part under a key; None if there is none."""
    return self._keys().get(key)

  def need(self, key: str, expected: str) -> 'Part':
    """Returns the part under a key.

    Raises:
      JobError: there is none.
    """
    found = self.get(key)
    if found is None:
      self.refuse(f'no key {key}; expected {expected}')
    return found

  def names(self) -> list[str]:
    """Returns the keys."""
    return list(self._keys())

  def items(self) -> list['Part']:
    """Returns the parts of a list.

    Raises:
      JobError: it is no list.
    """
    return self._as(list)

  def text(self, key: str, default: str | None = None, expected: str = '') -> str:
    """Returns the text under a key; without a default the key is required."""
    return self._plain(key, str, default, expected)

  def number(self, key: str, default: float | None = None) -> float:
    """Returns the number under a key; without a default the key is required."""
    return float(self._plain(key, float, default, 'a number'))

  def whole(self, key: str, default: int | None = None) -> int:
    """Returns the whole number under a key; without a default it is required."""
    return self._plain(key, int, default, 'a whole number')

  def switch(self, key: str, default: bool) -> bool:
    """Returns whether true or false stands under a key."""
    return self._plain(key, bool, default, '')

  def texts(self, key: str) -> list['Part']:
    """Returns the texts of a list under a key, or the one text; none without it."""
    found = self.get(key)
    if found is None:
      return []
    each = found.value if isinstance(found.value, list) else [found]
    for part in each:
      part._as(str)
    return each

  def word(self) -> str:
    """Returns a text, or a number or truth value as it is written: Yes, 4, true.

    Raises:
      JobError: it is a list, keys with values, or nothing.
    """
    if isinstance(self.value, list | dict) or self.value is None:
      self.refuse(f'{_shown(self.value)}; expected a text or a number')
    value = self.value
    return str(value).lower() if isinstance(value, bool) else str(value)

  def time(self, key: str) -> int:
    """Returns the time under a key, a date or seconds, as seconds since 1970."""
    part = self.need(key, _TIME)
    if isinstance(part.value, int):
      if not _FIRST_SECONDS <= part.value < _LAST_SECONDS:
        part.refuse(f'{part.value}; expected {_TIME}')
      return part.value
    try:
      seconds = int(column_values.iso_seconds(part._as(str)))
    except ValueError:
      seconds = -1
    if not 0 <= seconds < _LAST_SECONDS:
      part.refuse(f'{part.value!r}; expected {_TIME}')
    return seconds

  def make(self, make: Callable[[Any], Any], value: Any) -> Any:
    """Returns what is made of a value; a ValueError becomes the part's own message."""
    try:
      return make(value)
    except (ValueError, TypeError) as error:
      self.refuse(str(error))

  def _keys(self) -> dict[str, 'Part']:
    return self._as(dict)

  def _plain(self, key, kind, default, expected):
    if default is not None and self.get(key) is None:
      return default
    return self.need(key, expected or _KINDS[kind])._as(kind)

  def _as(self, kind):
    """Returns the value; raises JobError if it is of another kind."""
    right = isinstance(self.value, int | float if kind is float else kind)
    if not right or (isinstance(self.value, bool) and kind is not bool):
      shown = 'nothing' if self.value is None else _shown(self.value)
      self.refuse(f'{shown}; expected {_KINDS[kind]}')
    return self.value


def read_yaml(file: str, text: str) -> Part:
  """Reads a YAML file.

  Args:
    file: path of the file, for messages.
    text: its content.

  Raises:
    JobError: it is no YAML, or a key stands twice.
  """
  try:
    node = yaml.compose(text, yaml.SafeLoader)
    return Part(file, '', node) if node else _refuse_nothing(file)
  except RecursionError:
    raise JobError(
      f'{file}: its parts are nested too deep, or hold themselves'
    ) from None
  except yaml.YAMLError as error:
    mark = getattr(error, 'problem_mark', None)
    line = f', line {mark.line + 1}' if mark else ''
    reason = getattr(error, 'problem', None) or str(error).split('\n')[0]
    raise JobError(
      f'{file}{line}: no valid YAML: {reason}; texts with ": ", " #", brackets, '
      'braces or a * at the start need quotes'
    ) from None


def _refuse_nothing(file) -> NoReturn:
  raise JobError(f'{file} is empty; expected a dataset file')


def _scalar(node):
  """Returns the value of a scalar; a quoted one is a text, and so is !!str 5."""
  if node.style is not None or node.tag == _TEXT:
    return node.value
  if node.value.lower() in _WORDS:
    return _WORDS[node.value.lower()]
  if _INT.fullmatch(node.value):
    return int(node.value)
  return float(node.value) if _FLOAT.fullmatch(node.value) else node.value


def _shown(value):
  if isinstance(value, dict):
    return f'the keys {sorted(value)}'
  return 'a list' if isinstance(value, list) else repr(value)
