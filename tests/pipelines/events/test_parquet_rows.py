"""Parquet files, against the values that pyarrow wrote and against the same CSV."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from pipelines.common.job import JobError
from pipelines.events import (
  check,
  file_blocks,
  formats,
  input_files,
  parquet_rows,
  rating_scale,
)
from pipelines.events.known_formats import KNOWN
from pipelines.events.mapping import formats_of
from pipelines.items import catalogue

ITEM_IDS = pa.array(['10', '20', '30'])
USERS = [2**63 - 1, 1, 2]
STARS = [4.5, 0.5, 5.0]
TIMES = [1_000_000_000, 0, 1_262_304_000]


def find(path, kind='ratings'):
  return input_files.find_files(str(path), KNOWN[kind], kind)


def write(folder, **columns):
  """Three good rows, with other columns where given; returns the path."""
  good = {'user': USERS, 'item': [30, 10, 20], 'rating': STARS, 'timestamp': TIMES}
  path = folder / 'ratings.parquet'
  pq.write_table(pa.table({**good, **columns}), path)
  return path


def ratings(path, block_bytes=1 << 20):
  """All read batches as one table, and all bad rows."""
  scale, batches, bad, first = rating_scale.RatingScale(), [], [], 1
  for block in file_blocks.cut_blocks(find(path), block_bytes):
    for made in check.read_ratings(block, ITEM_IDS, scale):
      batches.append(made.batch)
      bad += [(first + row.line, *row[1:]) for row in sorted(made.bad)]
      first += made.num_lines
  table = pa.Table.from_batches(batches)
  assert table.num_rows + len(bad) == first - 1
  return table, bad


def utc(unit, tz=None):
  return pa.array(
    [datetime.datetime.fromtimestamp(t, datetime.UTC) for t in TIMES]
  ).cast(pa.timestamp(unit, tz))


@pytest.mark.parametrize(
  'columns',
  [
    {},
    {'user': pa.array(USERS, pa.uint64()), 'item': pa.array([30, 10, 20], pa.int8())},
    {'user': pa.array(map(str, USERS)), 'item': pa.array(['30', '10', '20'])},
    {'user': pa.array(map(str, USERS), pa.large_string())},
    {'user': pa.array(map(str, USERS), pa.string_view())},
    {'item': pa.array(['30', '10', '20']).dictionary_encode()},
    {'item': pa.array([30, 10, 20]).dictionary_encode()},
    {'item': pa.array([b'30', b'10', b'20'])},
    {'rating': pa.array(STARS, pa.float32())},
    {'rating': pa.array([decimal.Decimal(str(x)) for x in STARS])},
    {'rating': pa.array(map(str, STARS))},
    {'rating': pa.array(STARS, pa.float16())},
    {'timestamp': pa.array(TIMES, pa.float64())},
    {'timestamp': pa.array(TIMES, pa.int32())},
    {'timestamp': pa.array(map(str, TIMES))},
    {'timestamp': utc('s')},
    {'timestamp': utc('ms', 'UTC')},
    {'timestamp': utc('us', 'America/New_York')},
    {'timestamp': utc('ns')},
    {'extra': pa.array([{'a': 1}, None, {'a': 2}])},
  ],
)
def test_every_type_gives_the_same_rows(tmp_path, columns):
  table, bad = ratings(write(tmp_path, **columns))
  assert not bad
  assert table['user'].to_pylist() == list(map(str, USERS))
  assert table['item'].to_pylist() == [2, 0, 1]
  assert table['rating'].to_pylist() == STARS
  assert table['timestamp'].to_pylist() == TIMES


def test_a_time_has_its_own_unit_and_fractions_are_cut(tmp_path):
  (known,) = KNOWN['ratings'][-1:]
  in_ms = parquet_rows.dataclasses.replace(known, time_unit='ms')
  when = pa.array([999, 1_999, 86_400_000], pa.int64())
  for column, expected in (
    (when.cast(pa.timestamp('ms')), [0, 1, 86_400]),
    (when, [0, 1, 86_400]),
    (pa.array([0, 1, 2], pa.date32()), [0, 86_400, 172_800]),
    (pa.array([0, 86_400_000, 0], pa.date64()), [0, 86_400, 0]),
  ):
    path = write(tmp_path, timestamp=column)
    (block,) = file_blocks.cut_blocks(
      input_files.find_files(str(path), [in_ms], 'ratings'), 1 << 20
    )
    (made,) = check.read_ratings(block, ITEM_IDS, rating_scale.RatingScale())
    assert made.batch['timestamp'].to_pylist() == expected


@pytest.mark.parametrize(
  ('columns', 'message'),
  [
    (
      {'user': pa.array([1.0, 2.0, 3.0])},
      'user is of type double; expected integers or',
    ),
    (
      {'item': pa.array([True, False, True])},
      'item is of type bool; expected integers',
    ),
    ({'rating': pa.array([None, None, None])}, 'rating is of type null; expected int'),
    ({'timestamp': pa.array([datetime.time(1)] * 3)}, r'timestamp is of type time64'),
    ({'rating': pa.array([[1.0], [2.0], [3.0]])}, r'rating is of type list<.*double>'),
  ],
)
def test_a_type_that_cannot_be_read(tmp_path, columns, message):
  path = write(tmp_path, **columns)
  with pytest.raises(JobError, match=message) as raised:
    find(path)
  assert str(path) in str(raised.value)


def test_bad_rows(tmp_path):
  path = write(
    tmp_path,
    user=pa.array(['a', None, b'\xff', 'd', 'e', 'f', ''], pa.binary()),
    item=pa.array([10, 10, 10, None, 11, 10, 10]),
    rating=pa.array([4.0, 4.0, 4.0, 4.0, 4.0, np.nan, 4.0]),
    timestamp=pa.array([None, 1, 1, 1, 1, 1, 1], pa.timestamp('us')),
  )
  table, bad = ratings(path)
  assert table.num_rows == 0
  assert [row[:4] for row in bad] == [
    (1, 'empty_field', 'timestamp', 'null'),
    (2, 'empty_field', 'user', 'null'),
    (3, 'not_utf8', '', ''),
    (4, 'empty_field', 'item', 'null'),
    (5, 'unknown_item', 'item', '11'),
    (6, 'not_a_number', 'rating', 'nan'),
    (7, 'empty_field', 'user', ''),
  ]
  assert bad[0][4] == 'user=a, item=10, rating=4.0, timestamp=null'
  assert (
    bad[2][4] == r'user=\xff, item=10, rating=4.0, timestamp=1970-01-01 00:00:00.000001'
  )


@pytest.mark.parametrize('block_bytes', [1, 3000, 1 << 30])
def test_row_groups_are_blocks(tmp_path, block_bytes, monkeypatch):
  monkeypatch.setattr(parquet_rows, '_BATCH_ROWS', 30)
  rows, path = 1000, tmp_path / 'r.parquet'
  columns = {
    'user': np.arange(rows),
    'item': np.where(np.arange(rows) % 7, 10, 99),
    'rating': np.full(rows, 4.0),
    'timestamp': np.arange(rows),
  }
  pq.write_table(pa.table(columns), path, row_group_size=100)
  blocks = file_blocks.cut_blocks(find(path), block_bytes)
  if block_bytes == 1:
    assert [(block.start, block.end) for block in blocks] == [
      (group, group + 1) for group in range(10)
    ]
  assert len({block.number for block in blocks}) == len(blocks)
  table, bad = ratings(path, block_bytes)
  kept = np.flatnonzero(np.arange(rows) % 7)
  assert table['timestamp'].to_pylist() == kept.tolist()
  assert [row[0] for row in bad] == [row + 1 for row in range(0, rows, 7)]


def test_missing_and_repeated_columns(tmp_path):
  path = tmp_path / 'x.parquet'
  pq.write_table(pa.table({'userId': [1], 'movieId': [1], 'timestamp': [1]}), path)
  with pytest.raises(JobError, match='lacks the column rating of MovieLens; found'):
    find(path)
  names = ['user', 'item', 'rating', 'timestamp', 'rating']
  pq.write_table(pa.table([pa.array([1])] * 5, names), path)
  with pytest.raises(JobError, match='names the column rating twice'):
    find(path)


def test_one_column_for_two_fields(tmp_path):
  path = tmp_path / 'x.parquet'
  pq.write_table(pa.table({'who': [7], 'game': [10], 'stars': [4.0]}), path)
  known = formats_of('user=who,item=game,rating=stars,timestamp=stars,title=game')
  files = input_files.find_files(str(path), known['ratings'], 'ratings')
  (block,) = file_blocks.cut_blocks(files, 1 << 20)
  (made,) = check.read_ratings(block, ITEM_IDS, rating_scale.RatingScale())
  assert made.batch.to_pylist() == [
    {'user': '7', 'item': 0, 'rating': 4.0, 'timestamp': 4}
  ]
  pq.write_table(pa.table({'game': [10], 'genres': ['War']}), path)
  movies = input_files.find_files(str(path), known['movies'], 'movies')
  (row,) = catalogue.read_items(movies).table.to_pylist()
  assert (row['item_id'], row['title'], row['genres']) == ('10', '10', ['War'])


@pytest.mark.parametrize(
  'spoil', [lambda x: x[:-10], lambda x: x[:4], lambda x: x[:40]]
)
def test_a_file_that_was_cut(tmp_path, spoil):
  path = write(tmp_path)
  path.write_bytes(spoil(path.read_bytes()))
  with pytest.raises(JobError, match='cannot be read as Parquet'):
    find(path)


def test_a_page_that_was_changed(tmp_path):
  path = write(tmp_path)
  data = bytearray(path.read_bytes())
  data[4:60] = bytes(56)
  path.write_bytes(data)
  with pytest.raises(JobError, match='cannot be read as Parquet'):
    ratings(path)


def test_no_rows(tmp_path):
  path = tmp_path / 'x.parquet'
  names = {name: pa.array([], pa.int64()) for name in formats.REQUIRED['ratings']}
  pq.write_table(pa.table(names), path)
  with pytest.raises(JobError, match='no rows'):
    find(path)


@pytest.mark.parametrize('lists', [pa.list_, pa.large_list])
@pytest.mark.parametrize('years', [pa.int16(), pa.float64(), pa.string()])
def test_movies_equal_those_of_csv(tmp_path, lists, years):
  text = (
    'item,title,genres,year,description\n'
    '3,"A, B",War|Drama,1999,"two\nlines"\n'
    '1,Cafe (1980),,,\n'
    '2,C,War,2001,x\n'
  )
  (tmp_path / 'movies.csv').write_text(text)
  from_csv = catalogue.read_items(find(tmp_path / 'movies.csv', 'movies'))
  table = pa.table(
    {
      'item': pa.array([3, 1, 2], pa.int32()),
      'title': pa.array(['A, B', 'Cafe (1980)', 'C']).dictionary_encode(),
      'genres': pa.array([['War', ' Drama', None], [], ['War']], lists(pa.string())),
      'year': pa.array([1999, None, 2001], pa.int16()).cast(years),
      'description': ['two\nlines', None, 'x'],
    }
  )
  pq.write_table(table, tmp_path / 'movies.parquet')
  made = catalogue.read_items(find(tmp_path / 'movies.parquet', 'movies'))
  assert made.table.equals(from_csv.table)
  assert made.table['year'].to_pylist() == [1980, 2001, 1999]
  assert not made.rejects


def test_bad_movies(tmp_path):
  table = pa.table(
    {
      'movieId': [1, None, 1, 2, 3],
      'title': ['A', 'B', 'C', None, 'E'],
      'genres': pa.array([['War'], [], [], [], [b'\xff']], pa.list_(pa.binary())),
    }
  )
  pq.write_table(table, tmp_path / 'movies.parquet')
  made = catalogue.read_items(find(tmp_path / 'movies.parquet', 'movies'))
  assert made.table['item_id'].to_pylist() == ['1']
  assert [
    (row['record']['line'], row['reason'], row['record']['field'])
    for row in made.rejects
  ] == [
    (2, 'empty_field', 'movieId'),
    (3, 'duplicate_item', 'movieId'),
    (4, 'empty_field', 'title'),
    (5, 'not_utf8', ''),
  ]
  assert made.num_lines == 5
  assert made.rejects[-1]['record']['raw'] == r'movieId=3, title=E, genres=[\xff]'
