"""Templates of texts over the columns of a data set.

    The movie {title}[ ({year})] is listed with [genres {genres}|no genres]

A field in braces is a column; after a colon it may have a format of Python, such as
`{value:.1f}`. What stands in brackets is left out if one of its fields is empty; behind
a bar stands what is written then. `{{` and `}}` are these signs themselves, and so are
`[[`, `]]` and `||` outside of brackets.
"""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_SIGN = re.compile(r'\{\{|\}\}|\[\[|\]\]|\|\||[{}\[\]|]')
_FIELD = re.compile(r'([^{}:]+)(?::([^{}]*))?\}')


class Field(NamedTuple):
  """Names a column in a template.

  Attributes:
    name: name of the column.
    form: format of Python; '' for none.
  """

  name: str
  form: str = ''

  def written(self, values: Mapping[str, Any]) -> str:
    """Returns the value of the column as text; '' for a missing one."""
    value = values[self.name]
    if isinstance(value, list | tuple):
      value = ', '.join(map(str, value))
    if value is None or value == '':
      return ''
    if self.form:
      return format(value, self.form)
    # 4 and 4.5 of float values
    return f'{value:.15g}' if isinstance(value, float) else str(value)


class Group(NamedTuple):
  """Describes a part in brackets.

  Attributes:
    parts: what is written if no field in it is empty, apart from those in groups.
    otherwise: what is written else.
  """

  parts: 'Parts'
  otherwise: 'Parts' = ()

  def written(self, values: Mapping[str, Any]) -> str:
    """Returns the text of the group."""
    own = (part for part in self.parts if isinstance(part, Field))
    full = all(field.written(values) for field in own)
    return _join(self.parts if full else self.otherwise, values)


Parts = Sequence[str | Field | Group]


class TextTemplate:
  """Writes texts of rows.

  Attributes:
    source: the template as it was written.
    fields: names of its columns, in their order, each once.
    has_otherwise: whether it says something else where a column is empty.
  """

  def __init__(self, source: str):
    """Reads a template.

    Raises:
      ValueError: a sign is missing or stands where it means nothing.
    """
    self.source = source
    self._parts, end = _read(source, 0, '')
    assert end == len(source)
    named = (field.name for field in template_fields(self._parts))
    self.fields = tuple(dict.fromkeys(named))
    groups = (part for part in self._parts if isinstance(part, Group))
    self.has_otherwise = any(group.otherwise for group in groups)

  def write(self, values: Mapping[str, Any]) -> str:
    """Returns the text of a row.

    Args:
      values: value of each of `fields`: text, number, list of texts or None.

    Raises:
      ValueError: a format does not fit its value.
    """
    return _join(self._parts, values)


read_template = functools.cache(TextTemplate)


def template_fields(parts: Parts) -> Iterator[Field]:
  """Yields the fields of parts and of the groups among them."""
  for part in parts:
    if isinstance(part, Field):
      yield part
    elif isinstance(part, Group):
      yield from template_fields((*part.parts, *part.otherwise))


def _join(parts, values):
  return ''.join(
    part if isinstance(part, str) else part.written(values) for part in parts
  )


def _read(source: str, at: int, ends: str) -> tuple[list, int]:
  """Reads parts up to one of the signs in `ends`, or to the end of the source.

  Returns:
    (parts, position of the sign).
  """
  parts: list[Any] = []
  while sign := _SIGN.search(source, at):
    if sign.start() > at:
      parts.append(source[at : sign.start()])
    at = sign.end()
    if sign[0][0] in ends:  # within brackets ]] ends two of them
      return parts, sign.start()
    if len(sign[0]) == 2:
      parts.append(sign[0][0])
    elif sign[0] == '{':
      field = _FIELD.match(source, at)
      if not field or not field[1].strip():
        _refuse(source, sign.start(), 'expected a column and }, such as {title}')
      parts.append(Field(field[1].strip(), field[2] or ''))
      at = field.end()
    elif sign[0] == '[':
      group, at = _read_group(source, at, sign.start())
      parts.append(group)
    elif sign[0] == '|':  # outside of brackets it is a sign like any other
      parts.append('|')
    else:
      _refuse(source, sign.start(), f'{sign[0]} closes nothing; write {sign[0] * 2}')
  if ends:
    _refuse(source, len(source), 'a [ is not closed; expected ]')
  if at < len(source):
    parts.append(source[at:])
  return parts, len(source)


def _read_group(source, at, start):
  parts, at = _read(source, at, '|]')
  if not any(isinstance(part, Field) for part in parts):
    _refuse(source, start, 'a part in brackets needs a field; for a bracket write [[')
  otherwise: list = []
  if source[at] == '|':
    otherwise, at = _read(source, at + 1, ']')
  return Group(tuple(parts), tuple(otherwise)), at + 1


def _refuse(source, at, reason):
  raise ValueError(f'{source!r}, character {at + 1}: {reason}')
