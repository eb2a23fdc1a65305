"""Reads JSON lines: one object a line, with the columns as its keys."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.common.job import JobError
from pipelines.events.formats import Layout
from pipelines.events.text_rows import ParsedRows

_FIRST = 100  # lines whose keys are the columns


def json_columns(path: str, head: bytes) -> list[str] | None:
  """Returns the keys of the first objects of a file; None if it is no JSON lines.

  Args:
    path: path of the file, for messages.
    head: first lines of the file; the last of them may be cut.

  Raises:
    JobError: it begins like JSON, but no line is an object.
  """
  if head.lstrip()[:1] not in (b'{', b'['):
    return None
  keys: dict[str, None] = {}
  for line in itertools.islice(head.splitlines(), _FIRST):
    found = _read(line)
    if found is not None:
      keys |= dict.fromkeys(found)
  if not keys:
    raise JobError(
      f'{path} begins like JSON, but has no object in a line; expected one JSON object '
      'a line, in UTF-8'
    )
  return list(keys)


def split_json(data: bytes, layout: Layout) -> ParsedRows:
  """Splits JSON lines into columns.

  Args:
    data: bytes of whole lines.
    layout: layout of the columns; a key that an object lacks is an empty value.

  Returns:
    Columns of texts. Numbers are texts as they are written; lists are JSON, as
    `item_values` reads the genres of an item.
  """
  lines = data.splitlines()
  found = [_read(line) for line in lines]
  good = [number for number, row in enumerate(found) if row is not None]
  columns = {
    field: pa.array(
      [_text(found[number].get(layout.header[position])) for number in good],
      pa.string(),
    )
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
    return _text(found.get(self._header[position])) or ''


def _read(line: bytes) -> dict[str, Any] | None:
  """Returns the object of a line, with numbers as texts; None if it is none."""
  try:
    found = json.loads(line.decode(), parse_int=str, parse_float=str)
    if b'\\u' in line:  # half of a pair, which is no text
      json.dumps(found, ensure_ascii=False).encode()
  except (ValueError, RecursionError):  # also of bytes that are no UTF-8
    return None
  return found if isinstance(found, dict) else None


def _text(value) -> str | None:
  """Returns a text as it is, None for null, and all else as JSON."""
  if value is None or isinstance(value, str):
    return value
  return json.dumps(value, ensure_ascii=False)
