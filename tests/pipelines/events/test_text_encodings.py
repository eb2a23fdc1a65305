"""Bytes to texts: the encodings of known formats, and those that a mapping names."""

import pytest

from pipelines.events import file_blocks, input_files
from pipelines.events.mapping import formats_of

MOVIES = '1::Amélie (2001)::Comedy\n2::Les Misérables (1995)::Drama|War\n'
U_ITEM = f'1|Amélie (2001)|01-Jan-2001||http://x|{"|".join("0" * 18)}|1\n'


def read(path, kind, data, mapping='', **options):
  """Writes a file and reads it as the job does; rows as dicts, and the bad ones."""
  path.write_bytes(data)
  files = input_files.find_files(str(path), formats_of(mapping)[kind], kind)
  rows, bad = [], []
  for piece in file_blocks.read_files(files, **options):
    columns = {name: each.to_pylist() for name, each in piece.rows.columns.items()}
    values = zip(*columns.values(), strict=True)
    rows += [dict(zip(columns, row, strict=True)) for row in values]
    bad += [(piece.first + line, reason) for line, reason in piece.rows.bad]
  return rows, bad


def latin1_lines(caplog):
  """The lines that the log names as Latin-1."""
  return [
    int(record.message.split('line ')[1].split()[0])
    for record in caplog.records
    if 'Latin-1' in record.message
  ]


FIRST, SECOND = MOVIES.encode().splitlines(keepends=True)


@pytest.mark.parametrize(
  ('data', 'lines'),
  [
    (MOVIES.encode(), []),  # 10M
    (MOVIES.encode('latin-1'), [1]),  # 1M
    (FIRST + SECOND.decode().encode('latin-1'), [2]),
  ],
)
def test_movies_of_movielens_in_either_encoding(tmp_path, caplog, data, lines):
  rows, bad = read(tmp_path / 'movies.dat', 'movies', data)
  assert [row['title'] for row in rows] == ['Amélie (2001)', 'Les Misérables (1995)']
  assert not bad
  assert latin1_lines(caplog) == lines


@pytest.mark.parametrize('encoding', ['utf-8', 'latin-1'])
def test_u_item_in_either_encoding(tmp_path, encoding):
  (row,), bad = read(tmp_path / 'u.item', 'movies', U_ITEM.encode(encoding))
  assert (row['title'], bad) == ('Amélie (2001)', [])


def test_a_named_encoding_counts(tmp_path):
  data = MOVIES.encode()
  rows, _ = read(tmp_path / 'movies.dat', 'movies', data, 'encoding=latin-1')
  assert rows[0]['title'] == 'AmÃ©lie (2001)'
  data = MOVIES.encode('latin-1')
  rows, bad = read(tmp_path / 'movies.dat', 'movies', data, 'encoding=UTF-8')
  assert (rows, bad) == ([], [(1, 'not_utf8'), (2, 'not_utf8')])


def test_tags_of_movielens_10m(tmp_path, caplog):
  """Each block decides by the line, so that no cut changes what is read."""
  lines = [f'{user}::{item}::café::1215184630\n' for user in '123' for item in '12']
  data = b''.join(
    line.encode('latin-1' if number % 2 else 'utf-8')
    for number, line in enumerate(lines)
  )
  options = {'block_bytes': 30}
  rows, bad = read(tmp_path / 'tags.dat', 'tags', data, **options)
  assert [(row['user'], row['item'], row['tag']) for row in rows] == [
    (user, item, 'café') for user in '123' for item in '12'
  ]
  assert not bad
  assert latin1_lines(caplog) == [2]  # once


# encoding, two bytes that are no text in it
UNDECODABLE = [
  ('utf-8', b'\xff\xfe'),
  ('UTF-8', b'\xff\xfe'),
  ('utf8', b'\xff\xfe'),
  ('utf-8-sig', b'\xff\xfe'),
  ('ascii', b'\xe9\xe8'),
  ('cp1252', b'\x81\x9d'),
  ('gbk', b'\x80\xff'),
]


@pytest.mark.parametrize('quote', ['', '"'])
@pytest.mark.parametrize(('encoding', 'both'), UNDECODABLE)
def test_users_whose_ids_are_no_text_do_not_merge(tmp_path, encoding, both, quote):
  lines = [b'user,item,rating,timestamp', f'{quote}ok{quote},1,4,100'.encode()]
  lines += [b'u%c,1,4,100' % byte for byte in both]
  data = b'\n'.join(lines)
  rows, bad = read(tmp_path / 'r.csv', 'ratings', data, f'encoding={encoding}')
  reason = 'not_utf8' if encoding.lower().startswith('utf') else 'not_in_encoding'
  assert [row['user'] for row in rows] == ['ok']
  assert bad == [(3, reason), (4, reason)]


def test_a_row_of_several_lines_that_is_no_text_is_one_bad_row(tmp_path):
  data = b'movieId,overview\n1,"a\n\xff"\n2,b\n'
  rows, bad = read(tmp_path / 'd.csv', 'descriptions', data, most_lines=1000)
  assert bad == [(2, 'not_utf8')]
  assert [row['item'] for row in rows] == ['2']


def test_an_encoding_with_bytes_of_ascii_in_its_characters(tmp_path):
  """The second byte of 珅 in GBK is a vertical bar."""
  assert b'|' in '珅'.encode('gbk')
  data = 'user|item|rating|timestamp\n珅|1|4|100\n"珅|"|1|4|100\n'.encode('gbk')
  rows, bad = read(
    tmp_path / 'r', 'ratings', data, 'user=user,delimiter=|,encoding=gbk'
  )
  assert ([row['user'] for row in rows], bad) == (['珅', '珅|'], [])
