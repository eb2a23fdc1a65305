"""Reads Parquet files into the same columns as lines of text.

The number of a row in its file, from 1, replaces the line number. A column of Arrow
timestamps has its own unit; plain numbers have the time unit of the format.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.common.job import JobError
from pipelines.events.formats import Format, Layout, detect_columns
from pipelines.events.text_rows import ParsedRows

MAGIC = b'PAR1'
_BATCH_ROWS = 1 << 18
_IS = {
  'integers': pa.types.is_integer,
  'numbers': lambda kind: pa.types.is_floating(kind) or pa.types.is_decimal(kind),
  'strings': lambda kind: any(
    test(kind)
    for test in (
      pa.types.is_string,
      pa.types.is_large_string,
      pa.types.is_string_view,
      pa.types.is_binary,
      pa.types.is_large_binary,
    )
  ),
  'booleans': pa.types.is_boolean,
  'timestamps': lambda kind: pa.types.is_timestamp(kind) or pa.types.is_date(kind),
  'lists of strings': lambda kind: (
    (pa.types.is_list(kind) or pa.types.is_large_list(kind))
    and _IS['strings'](_plain(kind.value_type))
  ),
}
# field -> types that its column may have. Ids may not be floats: 1.0 is not the id '1',
# and large floats are rounded.
_ALLOWED = {
  'user': ('integers', 'strings'),
  'item': ('integers', 'strings'),
  'rating': ('integers', 'numbers', 'strings'),
  'timestamp': ('integers', 'numbers', 'strings', 'timestamps'),
  'genres': ('strings', 'lists of strings'),
  'title': ('integers', 'strings'),
  'year': ('integers', 'numbers', 'strings', 'timestamps'),
}
_OTHERS = ('integers', 'numbers', 'strings', 'booleans')  # for templates and answers
_NUMERIC = ('rating', 'timestamp')


class RowGroup(NamedTuple):
  """Describes a row group: number of rows, and their bytes before compression."""

  rows: int
  size: int


def inspect_parquet(
  path: str, file: Any, known: Sequence[Format]
) -> tuple[Layout, list[RowGroup]]:
  """Reads the columns and the row groups of a file.

  Args:
    path: path of the file, for messages.
    file: open file, seekable.
    known: formats that the file may have.

  Raises:
    JobError: the file is damaged, or a column is missing or has the wrong type.
  """
  found = _open(path, file)
  names, metadata = found.schema_arrow.names, found.metadata
  layout = detect_columns(path, names, known)._replace(parquet=True)
  for field, position in layout.positions.items():
    kind = _plain(found.schema_arrow.field(position).type)
    usual = _OTHERS if field in layout.format.required else ('strings',)
    usual += ('lists of strings',) if field in layout.format.lists else ()
    allowed = _ALLOWED.get(field, usual)
    if not any(_IS[name](kind) for name in allowed):
      raise JobError(
        f'{path}: the column {names[position]} is of type {kind}; '
        f'expected {" or ".join(allowed)}'
      )
    if field == 'timestamp' and _IS['timestamps'](kind):
      own = dataclasses.replace(layout.format, time_unit='s')
      layout = layout._replace(format=own)
  groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
  return layout, [RowGroup(group.num_rows, group.total_byte_size) for group in groups]


def read_row_groups(
  path: str, file: Any, layout: Layout, groups: Sequence[int]
) -> Iterator[ParsedRows]:
  """Yields the rows of some row groups, in batches.

  Raises:
    JobError: the file is damaged.
  """
  # One column may hold two fields.
  places = dict.fromkeys(layout.positions.values())
  names = [layout.header[position] for position in places]
  found = _open(path, file)
  try:
    for batch in found.iter_batches(_BATCH_ROWS, groups, names, use_threads=False):
      yield _rows(batch, layout)
  except (pa.ArrowException, OSError) as error:
    raise _damaged(path, error) from None


class _Batch:
  """Gives the raw values of Parquet rows, as a `text_rows.RowSource`."""

  def __init__(self, batch, layout):
    self._batch, self._header = batch, layout.header

  def raw(self, line: int) -> str:
    """Returns a row as text: name=value, ..."""
    columns = zip(self._batch.schema.names, self._batch.columns, strict=True)
    return ', '.join(f'{name}={_shown(column[line])}' for name, column in columns)

  def value(self, line: int, position: int) -> str:
    """Returns the value of a row in a column, as text."""
    return _shown(self._batch[self._header[position]][line])


def _rows(batch, layout):
  columns, valid = {}, np.ones(batch.num_rows, bool)
  for field, position in layout.positions.items():
    column, readable = _convert(field, batch[layout.header[position]])
    columns[field] = column
    valid &= readable
  bad = [(line, 'not_utf8') for line in np.flatnonzero(~valid).tolist()]
  if bad:
    keep = pa.array(valid)
    columns = {field: column.filter(keep) for field, column in columns.items()}
  source = _Batch(batch, layout)
  return ParsedRows(columns, np.flatnonzero(valid), bad, batch.num_rows, source)


def _convert(field, column):
  """Converts a column to the type of its field.

  Returns:
    (string, float64 or list<string> [n], [n] bool whether the texts are UTF-8).
  """
  if pa.types.is_dictionary(column.type):
    column = column.dictionary_decode()
  if _IS['strings'](column.type):
    return _decode(column, pa.binary(), pa.string())
  if _IS['lists of strings'](column.type):
    return _decode(column, pa.list_(pa.binary()), pa.list_(pa.string()))
  if _IS['timestamps'](column.type):
    column = pc.year(column) if field == 'year' else _seconds(column)
  elif field == 'year' and _IS['numbers'](column.type):
    column = column.cast(pa.float64())  # a decimal as text would be 1995.00
  kind = pa.float64() if field in _NUMERIC else pa.string()
  return column.cast(kind, safe=False), np.ones(len(column), bool)


def _decode(column, stored, wanted):
  """Decodes texts and checks them; Arrow trusts a file that declares UTF-8."""
  column = column.cast(stored)
  try:
    return column.cast(wanted), np.ones(len(column), bool)
  except pa.ArrowInvalid:
    valid = np.array(
      [_casts(column.take(pa.array([row])), wanted) for row in range(len(column))]
    )
  known = pc.if_else(pa.array(valid), column, pa.scalar(None, stored))
  return known.cast(wanted), valid


def _casts(column, wanted):
  try:
    return column.cast(wanted) is not None
  except pa.ArrowInvalid:
    return False


def _seconds(column):
  """Converts timestamps or dates to whole seconds since 1970, UTC."""
  if pa.types.is_date(column.type):
    column = column.cast(pa.timestamp('ms'))
  utc = column.cast(pa.timestamp(column.type.unit))
  return pc.floor_temporal(utc, unit='second').cast(pa.timestamp('s')).cast(pa.int64())


def _shown(scalar):
  """Returns a value as text; undecodable bytes appear as \\xNN."""
  if not scalar.is_valid:
    return 'null'
  if _IS['strings'](scalar.type):
    return scalar.cast(pa.binary()).as_py().decode(errors='backslashreplace')
  if _IS['lists of strings'](scalar.type):
    return f'[{", ".join(map(_shown, scalar.values))}]'
  return str(scalar)


def _plain(kind):
  return kind.value_type if pa.types.is_dictionary(kind) else kind


def _open(path, file):
  try:
    return pq.ParquetFile(file)
  except (pa.ArrowException, OSError) as error:
    raise _damaged(path, error) from None


def _damaged(path, error):
  reason = str(error).split('\n')[0].rstrip('.')
  return JobError(f'{path} cannot be read as Parquet ({reason}); write it again')
