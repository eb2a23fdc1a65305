"""Checks rows of ratings files: columns of good rows, a reason for every bad row."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.events import (
  column_values,
  event_texts,
  file_blocks,
  item_lines,
  shuffle,
  text_rows,
)
from pipelines.events.formats import REQUIRED, Layout
from pipelines.events.rating_scale import RatingScale, SeenRatings
from pipelines.events.text_encodings import expected_texts
from pipelines.events.text_ids import check_found

_MAX_TIME = 4_102_444_800  # the year 2100
_UNITS = {
  's': 'seconds',
  'ms': 'milliseconds',
  'us': 'microseconds',
  'ns': 'nanoseconds',
  column_values.ISO: 'dates',
}
_NOT_A_DATE = ('not_a_date', 'a date such as 2024-01-31 or 2024-01-31T12:00:00+01:00')
_RAW_CHARACTERS = 300
_FILE_BITS = 40  # of the number of a row in files without times: bytes of a file


# (reason, field, [n] bool which rows are bad, what a right value is)
Check = tuple[str, str, np.ndarray, str]


class BadRow(NamedTuple):
  """Describes a line that is not a valid rating.

  Attributes:
    line: number of the line in its piece of the block, from 0.
    reason: fixed name of the reason.
    field: name of the wrong column; '' if the whole line is wrong.
    value: text in this column.
    raw: text of the line, shortened; undecodable bytes appear as \\xNN.
    expected: what a valid line or value looks like.
  """

  line: int
  reason: str
  field: str
  value: str
  raw: str
  expected: str


class Ratings(NamedTuple):
  """Holds the good and the bad rows of a piece of a block.

  Attributes:
    batch: good rows, with the schema shuffle.RATINGS, or RATINGS_AND_TEXTS.
    num_lines: number of lines of the piece, good and bad rows and item lines.
    num_bad: number of lines that are not valid ratings.
    bad: lazy iterator over these lines.
    seen: ratings of the piece, good and outside the scale; None if it has none.
    item_lines: number of lines that name an item and are no rows.
  """

  batch: pa.RecordBatch
  num_lines: int
  num_bad: int
  bad: Iterator[BadRow]
  seen: SeenRatings | None = None
  item_lines: int = 0


class KnownTexts(NamedTuple):
  """Holds what is known of the texts that events have beside their items.

  Attributes:
    ids: ids of what events say, `text_ids.event_ids` of the table of event texts.
    items: columns of items that the texts name.
  """

  ids: pa.Array
  items: event_texts.ItemColumns


def read_ratings(
  block: file_blocks.FileBlock,
  item_ids: pa.Array,
  scale: RatingScale,
  texts: KnownTexts | None = None,
) -> Iterator[Ratings]:
  """Reads and checks a block, piece by piece.

  Args:
    block: block of a ratings file.
    item_ids: ids [I] of the item table, in its order.
    scale: scale of the valid ratings.
    texts: known texts; None where events have none, or texts stand for items.

  Raises:
    JobError: the file cannot be read to its end.
  """
  layout = block.layout
  dates = layout.format.time_unit == column_values.ISO
  # A line has a byte or more, so this is a number that no earlier row exceeds.
  first = (block.file << _FILE_BITS) + (block.number if layout.parquet else block.start)
  for rows in file_blocks.read_block(
    block, ('rating',) if dates else ('rating', 'timestamp')
  ):
    if layout.format.texts:
      rows = event_texts.add_texts(rows, layout.format, texts and texts.items)
    yield check_ratings(rows, layout, item_ids, scale, first, texts)
    first += rows.num_lines


def check_ratings(
  found: text_rows.ParsedRows,
  layout: Layout,
  item_ids: pa.Array,
  scale: RatingScale,
  first: int = 0,
  texts: KnownTexts | None = None,
) -> Ratings:
  """Checks rows; the first check that a row fails gives its reason.

  Args:
    found: the rows.
    layout: layout of their file.
    item_ids: ids [I] of the item table.
    scale: scale of the valid ratings.
    first: number of the first row; in files without times, rows have their number.
    texts: known texts, as in `read_ratings`.

  Raises:
    JobError: an event has a text that is not known.
  """
  rating, rating_ok = np.ones(len(found.lines)), np.ones(len(found.lines), bool)
  if 'rating' in found.columns:
    rating, rating_ok = column_values.numbers(found.columns['rating'])
  unit = layout.format.time_unit
  if 'timestamp' in layout.format.absent:
    time, time_ok = first + found.lines, None
  else:
    time, time_ok = column_values.seconds(found.columns['timestamp'], unit)
  index = _rows_of(found.columns['item'], item_ids)
  values = (rating, rating_ok), (time, time_ok), index
  checks = _checks(found.columns, *values, layout.format, scale)
  failed = np.full(len(rating), -1)
  for number, (_, _, wrong, _) in enumerate(checks):
    failed[wrong & (failed < 0)] = number
  keep = failed < 0
  good = pa.array(keep)
  columns = [
    _users(found.columns['user'].filter(good)),
    index.filter(good),
    rating[keep].astype(np.float32),
    time[keep].astype(np.int64),
  ]
  schema = shuffle.RATINGS
  if texts:
    columns.append(check_found(_rows_of(found.columns['text'].filter(good), texts.ids)))
    schema = shuffle.RATINGS_AND_TEXTS
  batch = pa.record_batch(columns, schema=schema)
  num_bad = found.num_lines - found.item_lines - batch.num_rows
  finite = rating if rating_ok.all() else rating[rating_ok]
  seen = SeenRatings.of(finite) if len(finite) else None
  bad = bad_rows(found, layout, checks, failed)
  return Ratings(batch, found.num_lines, num_bad, bad, seen, found.item_lines)


def _checks(columns, ratings, times, index, fmt, scale):
  """Returns the checks in order."""
  rating, is_number = ratings
  time, is_time = times
  scale_expected = f'from {scale}, the rating scale'
  empty = [
    ('empty_field', field, is_empty(columns[field]), 'a value')
    for field in REQUIRED['ratings']
    if field in columns and not (field == 'item' and fmt.texts_are_items)
  ]
  if fmt.texts_are_items:
    no_text = is_empty(columns['item'].cast(pa.string()))
    empty.append(('empty_text', 'item', no_text, 'a text in a column of the events'))
  return [
    *empty,
    ('not_a_number', 'rating', ~is_number, f'a number from {scale}'),
    ('rating_outside_scale', 'rating', ~scale.holds(rating), scale_expected),
    *([] if is_time is None else time_checks(time, is_time, fmt.time_unit)),
    ('unknown_item', 'item', _to_numpy(index.is_null()), 'an id of the items'),
  ]


def time_checks(time: np.ndarray, is_time: np.ndarray, unit: str) -> list[Check]:
  """Returns the checks of times.

  Args:
    time: [n] float64, seconds since 1970.
    is_time: [n] bool, whether each value is a time.
    unit: unit of the times in the file.
  """
  right = f'{_UNITS[unit]} since 1970'
  no_time = ('not_a_number', f'{right}; time_unit=iso reads dates')
  not_a_time, expected = _NOT_A_DATE if unit == column_values.ISO else no_time
  smaller = f'{right}; time_unit=ms reads milliseconds' if unit == 's' else right
  return [
    (not_a_time, 'timestamp', ~is_time, expected),
    ('negative_time', 'timestamp', time < 0, right),
    ('time_too_large', 'timestamp', time >= _MAX_TIME, smaller),
  ]


def _users(column):
  """Encodes user ids as a dictionary; faster where files are sorted by user."""
  runs = pc.run_end_encode(column)
  if len(runs.values) > len(column) // 4:
    return column.dictionary_encode()
  distinct = runs.values.dictionary_encode()
  lengths = np.diff(runs.run_ends.to_numpy(), prepend=0)
  codes = np.repeat(distinct.indices.to_numpy(), lengths)
  return pa.DictionaryArray.from_arrays(codes, distinct.dictionary)


def bad_rows(
  found: text_rows.ParsedRows,
  layout: Layout,
  checks: Sequence[Check],
  failed: np.ndarray,
) -> Iterator[BadRow]:
  """Yields a BadRow for every bad line, in no particular order.

  Args:
    found: the rows.
    layout: layout of their file.
    checks: checks of the rows.
    failed: [n] position of the first check that each row fails; -1 for good rows.
  """
  header, source = layout.header, found.source
  expected = f'{len(header)} values: {layout.format.delimiter.join(header)}'
  if item_lines.has_item_lines(layout.format):
    expected += f'; or {_ITEM_LINE}'
  known = _EXPECTED | expected_texts(layout.format.encoding)
  for line, reason in found.bad:
    text = source.raw(line)[:_RAW_CHARACTERS]
    if not text.strip():
      reason = 'blank_line'
    yield BadRow(line, reason, '', '', text, known.get(reason, expected))
  for row in np.flatnonzero(failed >= 0):
    line = int(found.lines[row])
    text = source.raw(line)[:_RAW_CHARACTERS]
    if not text.strip():
      yield BadRow(line, 'blank_line', '', '', text, expected)
      continue
    reason, field, _, right = checks[failed[row]]
    if field in layout.positions:
      position = layout.positions[field]
      name, value = header[position], source.value(line, position)
    else:  # the item of a line above
      name, value = field, found.columns[field][row].as_py()
    yield BadRow(line, reason, name, value[:_RAW_CHARACTERS], text, right)


_ITEM_LINE = 'a line such as 7: with the item of the rows below'
_EXPECTED = {
  'no_item_line': f'above the row {_ITEM_LINE}',
  'not_json': 'a JSON object',
  'bad_quotes': (
    'quotes that close on their line; quotes=none reads quotes as characters'
  ),
}


def is_empty(column: pa.Array) -> np.ndarray:
  """Returns [n] bool, whether each value is missing or an empty text."""
  if not pa.types.is_string(column.type):
    return _to_numpy(column.is_null())
  return _to_numpy(pc.equal(column, '').fill_null(True))


def _rows_of(column: pa.Array, ids: pa.Array) -> pa.Array:
  """Returns the places [n] int32 of the values of a column among ids, or null."""
  if not pa.types.is_dictionary(column.type):
    column = column.dictionary_encode()
  return pc.index_in(column.dictionary, value_set=ids).take(column.indices)


def _to_numpy(booleans):
  return booleans.to_numpy(zero_copy_only=False)
