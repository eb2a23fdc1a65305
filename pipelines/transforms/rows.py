"""Lines to columns, vectorized: only what is wrong is looked at line by line."""

import contextlib
import csv
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from pipelines.transforms.formats import Layout

_PLAIN_NUMBER = r'^-?[0-9]{1,15}(\.[0-9]{1,15})?$'


class Rows(NamedTuple):
  """Lines that have as many values as the header.

  Attributes:
    columns: field name -> string or float64 array [n].
    lines: [n] int64, the line of each row, counted from 0.
    bad: (line, reason) of every other line.
    num_lines: all lines.
  """

  columns: dict[str, pa.Array]
  lines: np.ndarray
  bad: list[tuple[int, str]]
  num_lines: int


def split(data: bytes, layout: Layout, numeric: Sequence[str] = ()) -> Rows:
  """Splits lines into columns.

  A value never goes on over a line end, so that an open quote spoils one line only.

  Args:
    data: whole lines.
    layout: the columns of the file.
    numeric: fields that become float64 [n] if all their values are numbers.
  """
  if layout.format.encoding != 'utf-8':
    data = data.decode(layout.format.encoding, 'replace').encode()
  if not data:
    empty = {field: pa.array([], pa.string()) for field in layout.positions}
    return Rows(empty, np.zeros(0, np.int64), [], 0)
  if _is_utf8(data) and not (layout.format.quoted and b'"' in data):
    data, layout = _one_character_delimiter(data, layout)
    # Arrow strips blanks around numbers only where it makes numbers.
    if numeric and not (b' ' in data or b'\t' in data):
      with contextlib.suppress(pa.ArrowInvalid):
        return _split_clean(data, layout, dict.fromkeys(numeric, pa.float64()))
    return _split_clean(data, layout, {})
  return _split_by_line(data, layout)


def numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
  """The values of a column of texts or numbers.

  Returns:
    values [n] float64 and [n] bool whether the text is a finite number.
  """
  try:
    values = column.cast(pa.float64()).to_numpy()
    return values, np.isfinite(values)
  except pa.ArrowInvalid:
    pass
  plain = pc.match_substring_regex(column, _PLAIN_NUMBER).to_numpy(zero_copy_only=False)
  values = np.full(len(column), np.nan)
  values[plain] = column.filter(pa.array(plain)).cast(pa.float64()).to_numpy()
  others = column.filter(pa.array(~plain)).dictionary_encode()
  parsed = [_number(text) for text in others.dictionary]
  values[~plain] = np.array(parsed)[others.indices.to_numpy()]
  return values, np.isfinite(values)


def value(line: bytes, position: int, layout: Layout) -> str:
  """What a well-formed line holds in a column."""
  data = line.decode(layout.format.encoding).encode()
  data, layout = _one_character_delimiter(data, layout)
  return [*_values(data.decode(), layout), *[''] * len(layout.header)][position]


def _split_clean(data, layout, types):
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
      quote_char=False,
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
  return Rows(columns, lines, bad, num_lines)


def _one_character_delimiter(data, layout):
  """Arrow and csv know no longer ones; a unit separator stands in no text."""
  delimiter = layout.format.delimiter
  if len(delimiter) == 1:
    return data, layout
  kind = dataclasses.replace(layout.format, delimiter='\x1f')
  return data.replace(delimiter.encode(), b'\x1f'), layout._replace(format=kind)


def _split_by_line(data, layout):
  width, raw = len(layout.header), data.splitlines()
  rows, lines, bad = [], [], []
  for number, line in enumerate(raw):
    try:
      values = _values(line.decode(), layout)
    except UnicodeDecodeError:
      bad.append((number, 'not_utf8'))
    except csv.Error:
      bad.append((number, 'bad_quotes'))
    else:
      # The fast way sees an empty line as a row of empty values.
      values = values or [''] * width
      if len(values) == width:
        rows.append(values)
        lines.append(number)
      else:
        bad.append((number, 'wrong_column_count'))
  columns = {
    field: pa.array([values[position] for values in rows], pa.string())
    for field, position in layout.positions.items()
  }
  return Rows(columns, np.array(lines, np.int64), bad, len(raw))


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
