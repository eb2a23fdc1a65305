"""Years and genres as people write them, in CSV and in Parquet."""

import csv
import datetime
import decimal
import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.events import input_files
from pipelines.events.mapping import formats_of
from pipelines.items import catalogue
from tests.histories import build

YEARS = {
  '1995': 1995,
  ' 1999 ': 1999,
  '2008.0': 2008,
  '2008.00': 2008,
  '2008.': 2008,
  '1995-10-30': 1995,
  '1995-10': 1995,
  '1995/10/30': 1995,
  '1995.10.30': 1995,
  '1995-10-30T12:00:00Z': 1995,
  '1995-10-30 12:00:00.000': 1995,
  '30.10.1995': 1995,
  '10/30/1995': 1995,
  '01-Jan-1995': 1995,
  '30 October 1995': 1995,
  'October 30, 1995': 1995,
}
NO_YEARS = ['2008.5', '0000', '0', '95', '19951', 'soon', '1995-1997', '1995, 96', '-1']
MISSING = ['', ' ', 'nan', 'NaN', 'None', 'null', r'\N', 'N/A', '<NA>']

GENRES = [
  ('Drama|War', ['Drama', 'War']),
  ('["Drama", "War"]', ['Drama', 'War']),
  ("['Drama', 'War']", ['Drama', 'War']),
  ("('Drama', 'War')", ['Drama', 'War']),
  ("['Drama' 'War']", ['Drama', 'War']),  # as numpy writes it
  ("['Drama'\n 'War']", ['Drama', 'War']),
  ("{'Drama', 'War'}", ['Drama', 'War']),
  ('["Drama|War"]', ['Drama|War']),
  ("[\"Children's\", 'War']", ["Children's", 'War']),
  ("[{'id': 18, 'name': 'Drama'}, {'id': 2, 'name': 'War'}]", ['Drama', 'War']),
  ('["Drama", null, "nan", NaN, "Drama"]', ['Drama']),
  ("['Drama', None]", ['Drama']),
  ('[]', []),
  ("['']", []),
  ('(no genres listed)', []),
  (' (No Genres Listed) ', []),
  ('unknown', []),
  ('Drama|nan', ['Drama']),
  ('n/a', []),
  ('["R&B", "Rock \'n\' \'Roll\'"]', ['R&B', "Rock 'n' 'Roll'"]),
  ("['R&B' \"Rock 'n' 'Roll'\"]", ['R&B', "Rock 'n' 'Roll'"]),
  ('[nan]', []),
  ('["Drama", nan]', ['Drama']),
  ("['Drama' nan 'War' None 'Banana nan']", ['Drama', 'War', 'Banana nan']),
  ('{Drama,War}', ['Drama', 'War']),  # as PostgreSQL writes it
  ('{"Sci-Fi",War}', ['Sci-Fi', 'War']),
  ('{"Drama","War"}', ['Drama', 'War']),
  (
    r"""{"A \"B\" {C}, \\",Film Noir, NULL,Children's}""",
    ['A "B" {C}, \\', 'Film Noir', "Children's"],
  ),
  ('[Drama, War]', ['[Drama, War]']),  # these are warned of
  ('{Drama|War}', ['{Drama', 'War}']),
  ('{"id": 18, "name": "War"}', ['{"id": 18, "name": "War"}']),
]


def read(path, mapping='', **flags):
  known = formats_of(mapping)['movies']
  return catalogue.read_items(
    input_files.find_files(str(path), known, 'movies'), **flags
  )


def write_csv(path, column, values):
  with open(path, 'w', newline='') as file:
    rows = csv.writer(file)
    rows.writerow(['item', 'title', *dict.fromkeys(['genres', column])])
    for at, value in enumerate(values):
      rows.writerow([at, f'T{at}', *(['War'] if column != 'genres' else []), value])
  return path


def test_years(tmp_path):
  texts = [*YEARS, *NO_YEARS, *MISSING]
  made = read(write_csv(tmp_path / 'm.csv', 'year', texts))
  expected = [*YEARS.values(), *[None] * len(NO_YEARS + MISSING)]
  assert made.table['year'].to_pylist() == expected
  assert made.values['years_unreadable'] == len(NO_YEARS)
  assert made.values['years_unreadable_examples'].keys() <= set(NO_YEARS)
  assert not made.rejects


def test_a_date_and_the_title_agree(tmp_path):
  path = tmp_path / 'm.csv'
  path.write_text(
    'item,title,genres,year\n1,Heat (1995),War,1995-10-30\n2,Heat (1995),War,x\n'
    '3,Heat (1995),War,2001.0\n'
  )
  rows = read(path).table.to_pylist()
  assert [(row['title'], row['year']) for row in rows] == [
    ('Heat', 1995),
    ('Heat', 1995),
    ('Heat (1995)', 2001),
  ]


@pytest.mark.parametrize(
  'years',
  [
    pa.array([decimal.Decimal('1995.00'), None]),
    pa.array([1995.0, float('nan')]),
    pa.array([1995.0, None], pa.float16()),
    pa.array([1995.0, None], pa.float32()),
    pa.array([datetime.date(1995, 12, 31), None]),
    pa.array([datetime.datetime(1995, 12, 31, 23), None]),
    pa.array([datetime.datetime(1995, 12, 31, 23), None], pa.timestamp('ns', 'UTC')),
    pa.array(['1995-12-31', None]),
    pa.array(['1995.0', None]).dictionary_encode(),
  ],
)
def test_years_of_parquet(tmp_path, years):
  columns = {'item': [1, 2], 'title': ['A', 'B'], 'genres': ['War', ''], 'year': years}
  pq.write_table(pa.table(columns), tmp_path / 'm.parquet')
  made = read(tmp_path / 'm.parquet')
  assert made.table['year'].to_pylist() == [1995, None]
  assert made.values['years_unreadable'] == 0


@pytest.mark.parametrize('kind', ['csv', 'parquet'])
def test_genres(tmp_path, kind):
  cells, expected = zip(*GENRES, strict=True)
  path = tmp_path / f'm.{kind}'
  if kind == 'csv':
    write_csv(path, 'genres', cells)
  else:
    number = range(len(cells))
    titles = [f'T{at}' for at in number]
    columns = {'item': number, 'title': titles, 'genres': cells}
    pq.write_table(pa.table(columns), path)
  made = read(path)
  assert made.table['genres'].to_pylist() == list(expected)
  odd = ['[Drama, War]', '{Drama', 'War}', '{"id": 18, "name": "War"}']
  assert made.values['odd_genres_examples'] == dict.fromkeys(odd, 1)
  markers = ['(no genres listed)', '(No Genres Listed)', 'unknown', 'n/a', '[]']
  counted = made.values['no_genre_markers']
  assert sum(counted.values()) >= len(markers)


def test_lists_of_parquet_have_markers(tmp_path):
  columns = {'item': [1, 2], 'title': ['A', 'B'], 'genres': [['War', 'nan', None], []]}
  pq.write_table(pa.table(columns), tmp_path / 'm.parquet')
  assert read(tmp_path / 'm.parquet').table['genres'].to_pylist() == [['War'], []]


def test_descriptions_have_markers(tmp_path):
  made = read(write_csv(tmp_path / 'm.csv', 'description', ['nan', r'\N', 'A nan.']))
  assert made.table['description'].to_pylist() == ['', '', 'A nan.']


def test_own_markers_and_odd_names(tmp_path, caplog):
  cells = ['Sonstiges|War', 'tba', '(none given)', "'War'", 'War]', 'Rock (live)']
  path = write_csv(tmp_path / 'm.csv', 'genres', cells)
  with caplog.at_level(logging.INFO):
    made = read(path, no_genre=['sonstiges', 'TBA'])
  assert made.table['genres'].to_pylist() == [
    ['War'],
    [],
    ['(none given)'],
    ["'War'"],
    ['War]'],
    ['Rock (live)'],
  ]
  odd = {'(none given)': 1, "'War'": 1, 'War]': 1}
  assert made.values['odd_genres_examples'] == odd
  assert made.values['no_genre_markers'] == {'Sonstiges': 1, 'tba': 1}
  assert "no genre, by a marker: 'Sonstiges' (1), 'tba' (1)" in caplog.text
  assert '3 genres look like a part of a list' in caplog.text


def test_nobody_likes_a_marker(tmp_path, caplog):
  """A user's six best items have no genre; the job says what it left out."""
  cells = ['(no genres listed)'] * 3 + [r'\N'] * 3 + ['War', '[""War""]', "['War']"]
  lines = [f'{at},T{at},"{cell}",{1990 + at}.0\n' for at, cell in enumerate(cells)]
  lines += ['9,T9,(blank),soon\n', '10,T10,TBA,1999\n']
  (tmp_path / 'movies.csv').write_text('item,title,genres,year\n' + ''.join(lines))
  lines = [f'u,{at},{5 if at < 6 else 4},{at}\n' for at in range(9)]
  (tmp_path / 'ratings.csv').write_text('user,item,rating,timestamp\n' + ''.join(lines))
  info = build(tmp_path, tmp_path / 'h', '--no_genre=tba|(blank)')
  assert info['genres'] == ['War']
  assert {name: n for name, n in info['statistics']['users_who_like'].items() if n} == {
    'War': 1
  }
  assert info['item_values'] == {
    'years_unreadable': 1,
    'years_unreadable_examples': {'soon': 1},
    'no_genre_markers': {
      '(no genres listed)': 3,
      '\\N': 3,
      '(blank)': 1,
      'TBA': 1,
    },
    'odd_genres': 0,
    'odd_genres_examples': {},
  }
  empty = [split for split, n in info['counts']['users'].items() if not n]
  assert len(empty) == 2
  for split in empty:
    assert f'no users in the split {split}, which has a share of' in caplog.text
