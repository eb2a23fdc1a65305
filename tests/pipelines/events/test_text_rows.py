"""Lines to columns, against Python's csv and pandas."""

import csv
import io
import random

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.events import column_values, formats, text_rows
from pipelines.events.known_formats import KNOWN

MOVIELENS = formats.detect('r', b'userId,movieId,rating,timestamp', KNOWN['ratings'])
RECBOLE = formats.detect(
  'r',
  b'user_id:token\titem_id:token\trating:float\ttimestamp:float',
  KNOWN['ratings'],
)
LINES = [
  b'1,2,3.5,100',
  b'',
  b'1,2,3.5',
  b'1,2,3.5,100,5',
  b'u 1,\xc3\xbc,x,y',
  b',,,',
  b'   ',
  b'1,2,,7',
]
DIRT = [b'1,"2",3.5,100', b'1,\xff,3.5,100', b'1,"2,3.5,100', b'1,"2""x",3.5,"1,0"']


def test_clean_lines_equal_pandas():
  text = b''.join(
    b'%d,%d,%d.5,%d\n' % (row, row * 7, row % 5, row) for row in range(99)
  )
  names = ['user', 'item', 'rating', 'timestamp']
  expected = pd.read_csv(io.BytesIO(text), names=names, dtype=str)
  made = text_rows.split_lines(text, MOVIELENS)
  for name in names:
    assert made.columns[name].to_pylist() == expected[name].tolist()
  assert made.num_lines == 99
  assert not made.bad


@pytest.mark.parametrize('end', [b'\n', b'\r\n'])
@pytest.mark.parametrize('dirt', DIRT)
def test_a_line_reads_the_same_beside_any_other(end, dirt):
  """Quotes and bytes that are no text lead to a slower way, with equal results."""
  clean = text_rows.split_lines(end.join(LINES) + end, MOVIELENS)
  mixed = text_rows.split_lines(end.join([*LINES, dirt]) + end, MOVIELENS)
  assert clean.num_lines == len(LINES)
  assert mixed.num_lines == len(LINES) + 1
  count = len(clean.lines)
  for name, column in clean.columns.items():
    assert mixed.columns[name][:count].to_pylist() == column.to_pylist()
  assert mixed.lines[:count].tolist() == clean.lines.tolist()
  assert mixed.bad[: len(clean.bad)] == clean.bad


def test_reasons():
  made = text_rows.split_lines(b'\n'.join(LINES + DIRT), MOVIELENS)
  reasons = dict(made.bad)
  assert reasons == {
    2: 'wrong_column_count',
    3: 'wrong_column_count',
    6: 'wrong_column_count',
    9: 'not_utf8',
    10: 'bad_quotes',
  }
  assert sorted([*reasons, *made.lines.tolist()]) == list(range(made.num_lines))


def test_quotes_equal_python_csv():
  lines = [b'1,"2",3.5,100', b'"a,b",2,3,4', b'"a""b",2,3,4', b'"",2,3,4']
  made = text_rows.split_lines(b'\n'.join(lines), MOVIELENS)
  expected = list(csv.reader(line.decode() for line in lines))
  assert list(zip(*(c.to_pylist() for c in made.columns.values()), strict=True)) == [
    tuple(values) for values in expected
  ]


VALUES = ['1', '31', '2.5', '', 'a b', ' 7', 'ü', '1e3', '-4', 'x' * 40]
QUOTED = ['1', '', '2.5', 'a,b', ' ', 'ü', ',,']
BROKEN = ['"', '"1"x', 'a"b', '"a', '""""', '"a""b"', ' "1"', '"1" ']


def by_csv(lines):
  """(rows, their lines, bad lines) of Python's csv, a line at a time."""
  made, numbers, bad = [], [], []
  for number, line in enumerate(lines):
    try:
      values = next(csv.reader([line], strict=True), []) or [''] * 4
    except csv.Error:
      bad.append((number, 'bad_quotes'))
      continue
    if len(values) == 4:
      made.append(tuple(values))
      numbers.append(number)
    else:
      bad.append((number, 'wrong_column_count'))
  return made, numbers, bad


@pytest.mark.parametrize('seed', range(40))
@pytest.mark.parametrize('broken', [False, True])
def test_quoted_values_are_read_fast_or_slowly_as_csv_does(seed, broken, monkeypatch):
  rng = random.Random(seed)
  pool = [*VALUES, *(f'"{value}"' for value in QUOTED)]
  lines = [
    ','.join(rng.choices(pool, k=rng.choice([4] * 9 + [3, 5])))
    for _ in range(rng.randrange(1, 60))
  ]
  if broken:
    lines.append(','.join(['1', rng.choice(BROKEN), '4', '5']))
    rng.shuffle(lines)
  else:
    monkeypatch.setattr(text_rows, '_split_by_line', None)  # must not be needed
  lines = ['', *lines] if seed % 2 else lines
  end = rng.choice(['\n', '\r\n'])
  text = end.join(lines) + rng.choice(['', end])
  numeric = rng.choice([(), ('rating', 'timestamp')])
  made = text_rows.split_lines(text.encode(), MOVIELENS, numeric)
  expected, numbers, bad = by_csv(lines)
  columns = [made.columns[name] for name in ('user', 'item', 'rating', 'timestamp')]
  if columns[2].type == pa.string():
    found = [column.to_pylist() for column in columns]
    assert list(zip(*found, strict=True)) == expected
  assert made.lines.tolist() == numbers
  assert sorted(made.bad) == bad
  assert made.num_lines == len(lines)


def test_quoted_numbers_are_numbers():
  data = b'"1","31","2.5","1260759144"\n"1","32",3,5\r\n'
  made = text_rows.split_lines(data, MOVIELENS, ('rating', 'timestamp'))
  assert made.columns['user'].to_pylist() == ['1', '1']
  assert made.columns['rating'].equals(pa.array([2.5, 3]))
  assert made.columns['timestamp'].equals(pa.array([1260759144.0, 5]))


@pytest.mark.parametrize('dirt', [b'', b'9\t\xff\t1\t1\n'])
def test_quotes_of_tab_separated_files_are_characters(dirt):
  made = text_rows.split_lines(b'"1\t2"\t3\t4\n1\t2\t3\t4\n' + dirt, RECBOLE)
  assert made.columns['user'].to_pylist() == ['"1', '1']
  assert made.columns['item'].to_pylist() == ['2"', '2']


@pytest.mark.parametrize('data', [b'', b'\n', b'\n\n', b'x', b'x\n\n'])
def test_hardly_anything(data):
  made = text_rows.split_lines(data, MOVIELENS)
  assert made.num_lines == len(data.splitlines())
  assert len(made.lines) + len(made.bad) == made.num_lines


def test_only_bad_lines():
  made = text_rows.split_lines(b'1,2\n3\n', MOVIELENS)
  assert made.num_lines == 2
  assert [line for line, _ in made.bad] == [0, 1]
  assert made.columns['user'].to_pylist() == []


def test_numbers():
  texts = ['1', '-2.5', '1e3', '.5', '5.', '0012', '', 'x', '1,5', 'nan', 'inf', '--1']
  right = [1, -2.5, 1000, 0.5, 5, 12]
  values, good = column_values.numbers(pa.array(texts))
  assert good.tolist() == [True] * len(right) + [False] * (len(texts) - len(right))
  np.testing.assert_array_equal(values[good], right)
  alone = [column_values.numbers(pa.array([text])) for text in texts]
  assert [bool(ok[0]) for _, ok in alone] == good.tolist()
  np.testing.assert_array_equal([value[0] for value, ok in alone if ok[0]], right)


def test_columns_by_name_in_any_order():
  header = b'timestamp,extra,rating,movieId,userId\n'
  layout = formats.detect('r', header, KNOWN['ratings'])
  made = text_rows.split_lines(b'100,x,4.0,7,1\n', layout)
  values = {name: column.to_pylist() for name, column in made.columns.items()}
  assert values == {
    'user': ['1'],
    'item': ['7'],
    'rating': ['4.0'],
    'timestamp': ['100'],
  }
