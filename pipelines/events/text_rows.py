"""Splits lines into columns, vectorized; only broken data is split line by line."""

import contextlib
import csv
import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from pipelines.events.formats import Layout


class RowSource(Protocol):
  """Gives the raw lines and values of rows, for rejects."""

  def raw(self, line: int) -> str:
    """Returns a line as it is; undecodable bytes appear as \\xNN."""

  def value(self, line: int, position: int) -> str:
    """Returns the value of a well-formed line in a column."""


class ParsedRows(NamedTuple):
  """Holds the lines that have as many values as the header.

  Attributes:
    columns: field name -> array [n]: string, float64 or list<string>.
    lines: line number of each row, [n] int64, from 0.
    bad: (line, reason) of every other line.
    num_lines: number of lines, good and bad; a row of several lines counts as one.
    source: source of the raw lines and values.
  """

  columns: dict[str, pa.Array]
  lines: np.ndarray
  bad: list[tuple[int, str]]
  num_lines: int
  source: RowSource


class TextSource:
  """Gives the raw lines and values of rows of text, as a `RowSource`."""

  def __init__(self, data: bytes, layout: Layout, most_lines: int):
    self._data, self._layout, self._most_lines = data, layout, most_lines

  @functools.cached_property
  def _lines(self):
    return self._data.splitlines()

  def raw(self, line: int) -> str:
    """Returns a line as it is; undecodable bytes appear as \\xNN."""
    return self._lines[line].decode(self._layout.format.encoding, 'backslashreplace')

  def value(self, line: int, position: int) -> str:
    """Returns the value of a well-formed line in a column."""
    end = _record_end(self._lines, line, self._most_lines)
    text = b'\n'.join(self._lines[line:end])
    text = text.decode(self._layout.format.encoding, 'replace')
    data, layout = _one_character_delimiter(text.encode(), self._layout)
    return [*_values(data.decode(), layout), *[''] * len(layout.header)][position]


def split_lines(
  data: bytes, layout: Layout, numeric: Sequence[str] = (), most_lines: int = 1
) -> ParsedRows:
  """Splits lines into columns.

  Args:
    data: bytes of whole lines.
    layout: layout of the columns.
    numeric: fields that become float64 [n] if all their values are numbers.
    most_lines: maximum number of lines in a row. With 1, a quoted value cannot contain
      a line end, so that an open quote spoils only one line.
  """
  source = TextSource(data, layout, most_lines)
  if layout.format.encoding != 'utf-8':
    data = data.decode(layout.format.encoding, 'replace').encode()
  if not data:
    empty = {field: pa.array([], pa.string()) for field in layout.positions}
    return ParsedRows(empty, np.zeros(0, np.int64), [], 0, source)
  data, layout = _one_character_delimiter(data, layout)
  quotes = layout.format.quoted and b'"' in data
  if not _is_utf8(data) or (quotes and not _around_values(data, layout)):
    return ParsedRows(*_split_by_line(data, layout, most_lines), source)
  # Arrow strips blanks around numbers only where it converts to numbers.
  if numeric and not (b' ' in data or b'\t' in data):
    with contextlib.suppress(pa.ArrowInvalid):
      types = dict.fromkeys(numeric, pa.float64())
      return ParsedRows(*_split_clean(data, layout, types, quotes), source)
  return ParsedRows(*_split_clean(data, layout, {}, quotes), source)


def _around_values(data, layout):
  """Tells whether quotes are only around whole values of one line, never inside.

  Then Arrow and csv read the same values; with an unpaired quote they differ.
  """
  text = np.frombuffer(data, np.uint8)
  quotes = np.flatnonzero(text == ord('"'))
  if len(quotes) % 2:
    return False
  first, last = quotes[::2], quotes[1::2]
  edge = np.zeros(256, bool)
  edge[[ord(layout.format.delimiter), ord('\n'), ord('\r')]] = True
  begins = (first == 0) | edge[text[first - 1]]
  ends = (last == len(text) - 1) | edge[text[np.minimum(last + 1, len(text) - 1)]]
  if not (begins & ends).all():
    return False
  lines = np.flatnonzero((text == ord('\n')) | (text == ord('\r')))
  return np.array_equal(np.searchsorted(lines, first), np.searchsorted(lines, last))


def _split_clean(data, layout, types, quotes):
  invalid = []

  def skip(row):
    invalid.append(row.number - 1)
    return 'skip'

  # Columns are named by position, because names in a header may repeat.
  names = [str(position) for position in range(len(layout.header))]
  # One column may hold two fields; it stays text if one of them needs the text.
  texts = {place for field, place in layout.positions.items() if field not in types}
  wanted = {
    names[position]: pa.string() if position in texts else types[field]
    for field, position in layout.positions.items()
  }
  table = pa_csv.read_csv(
    pa.BufferReader(data),
    pa_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
    pa_csv.ParseOptions(
      delimiter=layout.format.delimiter,
      quote_char='"' if quotes else False,
      ignore_empty_lines=False,
      invalid_row_handler=skip,
    ),
    pa_csv.ConvertOptions(
      include_columns=list(wanted), column_types=wanted, null_values=[]
    ),
  )
  columns = {
    field: table[names[position]].combine_chunks()
    for field, position in layout.positions.items()
  }
  num_lines = table.num_rows + len(invalid)
  lines = np.delete(np.arange(num_lines), invalid)
  bad = [(line, 'wrong_column_count') for line in invalid]
  return columns, lines, bad, num_lines


def _one_character_delimiter(data, layout):
  """Replaces a longer delimiter by the unit separator, which no text contains.

  Arrow and csv read only delimiters of one character.
  """
  delimiter = layout.format.delimiter
  if len(delimiter.encode()) == 1:
    return data, layout
  kind = dataclasses.replace(layout.format, delimiter='\x1f')
  return data.replace(delimiter.encode(), b'\x1f'), layout._replace(format=kind)


def _split_by_line(data, layout, most_lines):
  raw, number = data.splitlines(), 0
  rows, lines, bad = [], [], []
  while number < len(raw):
    end = _record_end(raw, number, most_lines if layout.format.quoted else 1)
    values, reason = _record(raw[number:end], layout)
    if reason and end > number + 1:
      # The quote was never closed: the lines after it are rows of their own.
      values, reason, end = [], 'bad_quotes', number + 1
    if reason:
      bad.append((number, reason))
    else:
      rows.append(values)
      lines.append(number)
    number = end
  columns = {
    field: pa.array([values[position] for values in rows], pa.string())
    for field, position in layout.positions.items()
  }
  return columns, np.array(lines, np.int64), bad, len(rows) + len(bad)


def _record_end(lines, start, most_lines):
  """Returns the number of the line after the line that closes all quotes of a row."""
  quotes, limit = 0, min(start + most_lines, len(lines))
  for number in range(start, limit):
    quotes += lines[number].count(b'"')
    if not quotes % 2:
      return number + 1
  return start + 1


def _record(lines, layout):
  """Returns (values, '') of a row, or ([], reason)."""
  width = len(layout.header)
  try:
    # As in `_split_clean`, an empty line is a row of empty values.
    values = _values(b'\n'.join(lines).decode(), layout) or [''] * width
  except UnicodeDecodeError:
    return [], 'not_utf8'
  except csv.Error:
    return [], 'bad_quotes'
  return (values, '') if len(values) == width else ([], 'wrong_column_count')


def _values(text, layout):
  if not layout.format.quoted:
    return text.split(layout.format.delimiter) if text else []
  return next(csv.reader([text], delimiter=layout.format.delimiter, strict=True), [])


def _is_utf8(data):
  try:
    return data.isascii() or data.decode() is not None
  except UnicodeDecodeError:
    return False
