"""A block of a ratings file to columns of good rows and a reason for every other."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.events import input_files, shuffle, text_rows
from pipelines.events.formats import REQUIRED, Layout
from pipelines.events.rating_scale import RatingScale

_MAX_TIME = 4_102_444_800  # the year 2100
_TIME_EXPECTED = 'seconds since 1970; --mapping=time_unit=ms reads milliseconds'
_NOT_A_TIME = (
  'not_a_number',
  'seconds since 1970; --mapping=time_unit=iso reads dates',
)
_NOT_A_DATE = ('not_a_date', 'a date such as 2024-01-31 or 2024-01-31T12:00:00+01:00')
_RAW_CHARACTERS = 300


class BadRow(NamedTuple):
  """A line that is no rating.

  Attributes:
    line: counted from 0 at the first line of the block.
    reason: a fixed name.
    field: the column, if it is about one.
    value: what it holds.
    raw: the line, shortened, undecodable bytes as \\xNN.
    expected: what would be right.
  """

  line: int
  reason: str
  field: str
  value: str
  raw: str
  expected: str


class Ratings(NamedTuple):
  """What a block holds.

  Attributes:
    batch: the good rows, of shuffle.RATINGS.
    num_lines: all lines of the block.
    num_bad: lines that are no rating.
    bad: these, made one by one as they are asked for.
  """

  batch: pa.RecordBatch
  num_lines: int
  num_bad: int
  bad: Iterator[BadRow]


def read_ratings(
  block: input_files.FileBlock, item_ids: pa.Array, scale: RatingScale
) -> Iterator[Ratings]:
  """Reads and checks a block, piece by piece.

  Args:
    block: which lines.
    item_ids: ids [I] of the item table, in its order.
    scale: the ratings there can be.

  Raises:
    JobError: the file cannot be read to its end.
  """
  dates = block.layout.format.time_unit == text_rows.ISO
  for found in input_files.read_block(
    block, ('rating',) if dates else ('rating', 'timestamp')
  ):
    yield check_ratings(found, block.layout, item_ids, scale)


def check_ratings(
  found: text_rows.ParsedRows, layout: Layout, item_ids: pa.Array, scale: RatingScale
) -> Ratings:
  """Checks rows; the first check that a row fails gives its reason."""
  user, item = found.columns['user'], found.columns['item']
  rating, rating_ok = text_rows.numbers(found.columns['rating'])
  unit = layout.format.time_unit
  time, time_ok = text_rows.seconds(found.columns['timestamp'], unit)
  reason, right = _NOT_A_DATE if unit == text_rows.ISO else _NOT_A_TIME
  distinct = item.dictionary_encode()
  index = pc.index_in(distinct.dictionary, value_set=item_ids).take(distinct.indices)
  checks = (
    *(
      ('empty_field', field, _is_empty(found.columns[field]), 'a value')
      for field in REQUIRED['ratings']
    ),
    ('not_a_number', 'rating', ~rating_ok, f'a number from {scale}'),
    (
      'rating_outside_scale',
      'rating',
      ~scale.holds(rating),
      f'from {scale}, by --rating_scale',
    ),
    (reason, 'timestamp', ~time_ok, right),
    ('negative_time', 'timestamp', time < 0, 'seconds since 1970'),
    ('time_too_large', 'timestamp', time >= _MAX_TIME, _TIME_EXPECTED),
    ('unknown_item', 'item', _to_numpy(index.is_null()), 'an id of the movies file'),
  )
  failed = np.full(len(rating), -1)
  for number, (_, _, wrong, _) in enumerate(checks):
    failed[wrong & (failed < 0)] = number
  keep = failed < 0
  good = pa.array(keep)
  batch = pa.record_batch(
    [
      _users(user.filter(good)),
      index.filter(good),
      rating[keep].astype(np.float32),
      time[keep].astype(np.int64),
    ],
    schema=shuffle.RATINGS,
  )
  num_bad = found.num_lines - batch.num_rows
  return Ratings(
    batch, found.num_lines, num_bad, _bad_rows(found, layout, checks, failed)
  )


def _users(column):
  """Dictionary-encodes; files are mostly in the order of users, which is quicker."""
  runs = pc.run_end_encode(column)
  if len(runs.values) > len(column) // 4:
    return column.dictionary_encode()
  distinct = runs.values.dictionary_encode()
  lengths = np.diff(runs.run_ends.to_numpy(), prepend=0)
  codes = np.repeat(distinct.indices.to_numpy(), lengths)
  return pa.DictionaryArray.from_arrays(codes, distinct.dictionary)


def _bad_rows(found, layout, checks, failed):
  """A BadRow for every line that is none of the good rows, in no special order."""
  header, source = layout.header, found.source
  expected = f'{len(header)} values: {layout.format.delimiter.join(header)}'
  for line, reason in found.bad:
    text = source.raw(line)[:_RAW_CHARACTERS]
    if not text.strip():
      reason = 'blank_line'
    yield BadRow(line, reason, '', '', text, _EXPECTED.get(reason, expected))
  for row in np.flatnonzero(failed >= 0):
    line = int(found.lines[row])
    text = source.raw(line)[:_RAW_CHARACTERS]
    if not text.strip():
      yield BadRow(line, 'blank_line', '', '', text, expected)
      continue
    reason, field, _, right = checks[failed[row]]
    position = layout.positions[field]
    value = source.value(line, position)[:_RAW_CHARACTERS]
    yield BadRow(line, reason, header[position], value, text, right)


_EXPECTED = {'not_utf8': 'UTF-8 text', 'bad_quotes': 'quotes that close on their line'}


def _is_empty(column):
  if not pa.types.is_string(column.type):
    return _to_numpy(column.is_null())
  return _to_numpy(pc.equal(column, '').fill_null(True))


def _to_numpy(booleans):
  return booleans.to_numpy(zero_copy_only=False)
