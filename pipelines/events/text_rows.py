"""Splits lines into columns, vectorized; only broken data is split line by line."""

import contextlib
import csv
import dataclasses
import functools
import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from pipelines.events.formats import Layout
from pipelines.events.text_encodings import UTF8_OR_LATIN1, decode, to_utf8

csv.field_size_limit(1 << 30)  # as long as a line may be; Arrow has no limit
_UNIT_SEPARATOR = b'\x1f'
_UNDECODED = re.compile('[\ud800-\udfff]')  # bytes that are no text, by surrogateescape


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
    latin1: first line that is Latin-1 in a file of UTF-8 or Latin-1; None if there is
      none.
    long: first line of each row of several lines.
    item_lines: number of lines that name the item of the rows below and are no rows.
  """

  columns: dict[str, pa.Array]
  lines: np.ndarray
  bad: list[tuple[int, str]]
  num_lines: int
  source: RowSource
  latin1: int | None = None
  long: Sequence[int] = ()
  item_lines: int = 0


class TextSource:
  """Gives the raw lines and values of rows of text, as a `RowSource`."""

  def __init__(self, data: bytes, layout: Layout, most_lines: int):
    self._data, self._layout, self._most_lines = data, layout, most_lines

  @functools.cached_property
  def _lines(self):
    return self._data.splitlines()

  def raw(self, line: int) -> str:
    """Returns a line as it is; undecodable bytes appear as \\xNN."""
    encoding = self._layout.format.encoding
    return decode(self._lines[line], encoding, 'backslashreplace')

  def value(self, line: int, position: int) -> str:
    """Returns the value of a well-formed line in a column."""
    return read_record(self._lines, line, self._layout, self._most_lines)[0][position]


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
  if not data:
    empty = {field: pa.array([], pa.string()) for field in layout.positions}
    return ParsedRows(empty, np.zeros(0, np.int64), [], 0, source)
  text = to_utf8(data, layout.format.encoding)
  latin1 = _first_latin1(data, layout.format.encoding) if text is not data else None
  if text is None or _needs_csv(text, layout.format):
    *rows, long = _split_by_line(data, layout, most_lines)
    return ParsedRows(*rows, source, latin1, long)
  text, layout = _one_character_delimiter(text, layout)
  quotes = layout.format.quoted and b'"' in text
  # Arrow strips blanks around numbers only where it converts to numbers.
  if numeric and not (b' ' in text or b'\t' in text):
    with contextlib.suppress(pa.ArrowInvalid):
      types = dict.fromkeys(numeric, pa.float64())
      return ParsedRows(*_split_clean(text, layout, types, quotes), source, latin1)
  return ParsedRows(*_split_clean(text, layout, {}, quotes), source, latin1)


def read_record(
  lines: Sequence[bytes], start: int, layout: Layout, most_lines: int
) -> tuple[list[str], str, int]:
  """Reads the row that begins at a line.

  Returns:
    (values, reason why it is bad or '', number of its lines).
  """
  fmt, width, texts = layout.format, len(layout.header), []

  def decoded():
    for number in range(start, min(start + most_lines, len(lines))):
      texts.append(decode(lines[number], fmt.encoding, 'surrogateescape'))
      yield f'{texts[-1]}\n'

  values, count, reason = [], 1, ''
  if not fmt.quoted:
    text = next(decoded())[:-1]
    values = text.split(fmt.delimiter) if text else []
  else:
    reader = csv.reader(decoded(), delimiter=fmt.delimiter, strict=True)
    try:
      values = next(reader)
      count = reader.line_num
    except csv.Error:
      reason = 'bad_quotes'
  # As in `_split_clean`, an empty line is a row of empty values.
  values = values or [''] * width
  if not reason and len(values) != width:
    # A quote that was never closed: the lines after it are rows of their own.
    reason = 'bad_quotes' if count > 1 else 'wrong_column_count'
    count = 1
  if any(map(_UNDECODED.search, texts[:count])):
    reason = 'not_utf8' if fmt.encoding == 'utf-8' else 'not_in_encoding'
  return values, reason, count


def _first_latin1(data, encoding):
  if encoding != UTF8_OR_LATIN1:
    return None
  lines = enumerate(data.splitlines())
  return next(
    (number for number, line in lines if to_utf8(line, 'utf-8') is None), None
  )


def _needs_csv(text, fmt):
  """Tells whether Arrow would read lines of UTF-8 otherwise than Python's csv."""
  replaced = len(fmt.delimiter.encode()) > 1
  if replaced and _UNIT_SEPARATOR in text:
    return True
  quotes = fmt.quoted and b'"' in text
  return quotes and (replaced or not _around_values(text, fmt.delimiter))


def _around_values(data, delimiter):
  """Tells whether quotes are only around whole values of one line, never inside.

  Then Arrow and csv read the same values; with an unpaired quote they differ.
  """
  text = np.frombuffer(data, np.uint8)
  quotes = np.flatnonzero(text == ord('"'))
  if len(quotes) % 2:
    return False
  first, last = quotes[::2], quotes[1::2]
  edge = np.zeros(256, bool)
  edge[[ord(delimiter), ord('\n'), ord('\r')]] = True
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
  """Replaces a longer delimiter by the unit separator, which the text does not contain.

  Arrow and csv read only delimiters of one character.
  """
  delimiter = layout.format.delimiter
  if len(delimiter.encode()) == 1:
    return data, layout
  kind = dataclasses.replace(layout.format, delimiter='\x1f')
  data = data.replace(delimiter.encode(), _UNIT_SEPARATOR)
  return data, layout._replace(format=kind)


def _split_by_line(data, layout, most_lines):
  raw, number = data.splitlines(), 0
  rows, lines, bad, long = [], [], [], []
  while number < len(raw):
    values, reason, count = read_record(raw, number, layout, most_lines)
    if count > 1:
      long.append(number)
    if reason:
      bad.append((number, reason))
    else:
      rows.append(values)
      lines.append(number)
    number += count
  columns = {
    field: pa.array([values[position] for values in rows], pa.string())
    for field, position in layout.positions.items()
  }
  return columns, np.array(lines, np.int64), bad, len(rows) + len(bad), long
