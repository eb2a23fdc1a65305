"""Lines to columns, vectorized: only what is wrong is looked at line by line."""

import contextlib
import csv
import dataclasses
import datetime
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from pipelines.events.formats import Layout

TIME_UNITS = {'s': 1, 'ms': 1_000, 'us': 1_000_000, 'ns': 1_000_000_000}
ISO = 'iso'  # the time unit of texts as 2024-01-31 or 2024-01-31T12:00:00+01:00
_PLAIN_NUMBER = r'^-?[0-9]{1,15}(\.[0-9]{1,15})?$'


class RowSource(Protocol):
  """Where rows come from; for what rejects show."""

  def raw(self, line: int) -> str:
    """A line as it stands; undecodable bytes as \\xNN."""

  def value(self, line: int, position: int) -> str:
    """What a well-formed line holds in a column."""


class ParsedRows(NamedTuple):
  """Lines that have as many values as the header.

  Attributes:
    columns: field name -> array [n]: string, float64 or list<string>.
    lines: [n] int64, the line of each row, counted from 0.
    bad: (line, reason) of every other line.
    num_lines: all lines; a row of several counts as one.
    source: the lines themselves.
  """

  columns: dict[str, pa.Array]
  lines: np.ndarray
  bad: list[tuple[int, str]]
  num_lines: int
  source: RowSource


class TextSource:
  """The `Source` of rows of text."""

  def __init__(self, data: bytes, layout: Layout, most_lines: int):
    self._data, self._layout, self._most_lines = data, layout, most_lines

  @functools.cached_property
  def _lines(self):
    return self._data.splitlines()

  def raw(self, line: int) -> str:
    """A line as it stands; undecodable bytes as \\xNN."""
    return self._lines[line].decode(self._layout.format.encoding, 'backslashreplace')

  def value(self, line: int, position: int) -> str:
    """What a well-formed line holds in a column."""
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
    data: whole lines.
    layout: the columns of the file.
    numeric: fields that become float64 [n] if all their values are numbers.
    most_lines: that a row may have. With 1 no quoted value goes on over a line end, so
      that an open quote spoils one line only.
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
  # Arrow strips blanks around numbers only where it makes numbers.
  if numeric and not (b' ' in data or b'\t' in data):
    with contextlib.suppress(pa.ArrowInvalid):
      types = dict.fromkeys(numeric, pa.float64())
      return ParsedRows(*_split_clean(data, layout, types, quotes), source)
  return ParsedRows(*_split_clean(data, layout, {}, quotes), source)


def numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
  """The values of a column of texts or numbers.

  Returns:
    values [n] float64 and [n] bool whether the text is a finite number.
  """
  try:
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values, np.isfinite(values)
  except pa.ArrowInvalid:
    pass
  column = column.fill_null('')
  plain = pc.match_substring_regex(column, _PLAIN_NUMBER).to_numpy(zero_copy_only=False)
  values = np.full(len(column), np.nan)
  values[plain] = column.filter(pa.array(plain)).cast(pa.float64()).to_numpy()
  others = column.filter(pa.array(~plain)).dictionary_encode()
  parsed = [_number(text) for text in others.dictionary]
  values[~plain] = np.array(parsed)[others.indices.to_numpy()]
  return values, np.isfinite(values)


def seconds(column: pa.Array, unit: str) -> tuple[np.ndarray, np.ndarray]:
  """The times of a column of texts or numbers, whole seconds since 1970.

  Args:
    column: [n].
    unit: of `TIME_UNITS`, or `ISO`: then a time without a zone is in UTC.

  Returns:
    values [n] float64 and [n] bool whether the text is a time.
  """
  if unit != ISO:
    values, good = numbers(column)
    return np.floor(values / TIME_UNITS[unit]), good
  distinct = column.cast(pa.string()).fill_null('').dictionary_encode()
  parsed = np.array([_iso_seconds(text.as_py()) for text in distinct.dictionary])
  values = parsed[distinct.indices.to_numpy()] if len(column) else np.zeros(0)
  return values, np.isfinite(values)


def iso_seconds(text: str) -> float:
  """Seconds since 1970 of an ISO 8601 text, in UTC where it names no zone.

  Raises:
    ValueError: it is none.
  """
  time = datetime.datetime.fromisoformat(text)
  return time.replace(tzinfo=time.tzinfo or datetime.UTC).timestamp()


def _iso_seconds(text):
  try:
    return math.floor(iso_seconds(text.strip()))
  except ValueError:
    return np.nan


def _around_values(data, layout):
  """Whether all quotes stand around whole values of one line, and none within.

  Then Arrow and csv read the same, as they do not where a quote is open or alone.
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

  # Each field by position: the names in a header may repeat.
  names = [str(position) for position in range(len(layout.header))]
  wanted = {
    names[position]: types.get(field, pa.string())
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
    field: table[name].combine_chunks()
    for field, name in zip(layout.positions, wanted, strict=True)
  }
  num_lines = table.num_rows + len(invalid)
  lines = np.delete(np.arange(num_lines), invalid)
  bad = [(line, 'wrong_column_count') for line in invalid]
  return columns, lines, bad, num_lines


def _one_character_delimiter(data, layout):
  """Arrow and csv know no longer ones; a unit separator stands in no text."""
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
  """One past the line on which the quotes of a row are even: all are closed."""
  quotes, limit = 0, min(start + most_lines, len(lines))
  for number in range(start, limit):
    quotes += lines[number].count(b'"')
    if not quotes % 2:
      return number + 1
  return start + 1


def _record(lines, layout):
  """(values, '') of a row, or ([], reason)."""
  width = len(layout.header)
  try:
    # The fast way sees an empty line as a row of empty values.
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


def _number(text):
  """As Arrow reads it, so that a text means the same beside good and bad ones."""
  try:
    return pa.array([text.as_py()]).cast(pa.float64())[0].as_py()
  except pa.ArrowInvalid:
    return np.nan
