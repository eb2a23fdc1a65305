"""Reads JSON lines: one object a line, with the columns as its keys."""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.events.formats import Layout
from pipelines.events.text_rows import ParsedRows

_FIRST = 100  # lines whose keys are the columns


def json_columns(head: bytes) -> list[str] | None:
  """Returns the keys of the first objects of a file; None if it is no JSON lines.

  Args:
    head: first lines of the file; the last of them may be cut.
  """
  if not head.lstrip().startswith(b'{'):
    return None
  keys: dict[str, None] = {}
  for line in itertools.islice(head.splitlines(), _FIRST):
    found = _read(line)
    if found is not None:
      keys |= dict.fromkeys(found)
  return list(keys) or None


def split_json(data: bytes, layout: Layout) -> ParsedRows:
  """Splits JSON lines into columns.

  Args:
    data: bytes of whole lines.
    layout: layout of the columns; a key that an object lacks is an empty value.

  Returns:
    Columns of texts, and of lists of texts where a value is a list. Numbers are texts
    as they are written.
  """
  lines = data.splitlines()
  found = [_read(line) for line in lines]
  good = [number for number, row in enumerate(found) if row is not None]
  columns = {
    field: _column([found[number].get(layout.header[position]) for number in good])
    for field, position in layout.positions.items()
  }
  bad = [(number, 'not_json') for number, row in enumerate(found) if row is None]
  source = _Lines(lines, layout.header)
  return ParsedRows(columns, np.array(good, np.int64), bad, len(lines), source)


class _Lines:
  """Gives the raw values of rows, as a `text_rows.RowSource`."""

  def __init__(self, lines: Sequence[bytes], header: Sequence[str]):
    self._lines, self._header = lines, header

  def raw(self, line: int) -> str:
    """Returns a line as it is; undecodable bytes appear as \\xNN."""
    return self._lines[line].decode(errors='backslashreplace')

  def value(self, line: int, position: int) -> str:
    """Returns the value of a row in a column, as text."""
    found = _read(self._lines[line]) or {}
    value = _text(found.get(self._header[position]))
    return '' if value is None else str(value)


def _read(line: bytes) -> dict[str, Any] | None:
  """Returns the object of a line, with numbers as texts; None if it is none."""
  try:
    found = json.loads(line, parse_int=str, parse_float=str)
  except ValueError:  # also of bytes that are no UTF-8
    return None
  return found if isinstance(found, dict) else None


def _column(values: list) -> pa.Array:
  texts = [_text(value) for value in values]
  if not any(isinstance(text, list) for text in texts):
    return pa.array(texts, pa.string())
  lists = (text if isinstance(text, list) else _listed(text) for text in texts)
  return pa.array(lists, pa.list_(pa.string()))


def _text(value) -> str | list[str | None] | None:
  """Returns a text, a list of texts, or None for null."""
  if value is None or isinstance(value, str):
    return value
  if isinstance(value, list):
    return list(_texts(value))
  return json.dumps(value, ensure_ascii=False)


def _texts(values: list) -> Iterator[str | None]:
  for value in values:
    found = _text(value)
    yield json.dumps(found, ensure_ascii=False) if isinstance(found, list) else found


def _listed(text):
  return [] if text is None else [text]
