"""Movies files to the item table."""

import numpy as np
import pytest

from pipelines.common.job import JobError
from pipelines.events import input_files
from pipelines.events.known_formats import KNOWN
from pipelines.items import catalogue, item_table
from tasks import schema


def read(folder, text, name='movies.csv'):
  path = folder / name
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return catalogue.read_items(
    input_files.find_files(str(path), KNOWN['movies'], 'movies')
  )


def test_movielens(tmp_path):
  text = (
    'movieId,title,genres\r\n'
    '10,"American President, The (1995)",Comedy|Drama\r\n'
    '2,Jumanji (1995),Children|Adventure|Children\r\n'
    '3,"Say ""Hi"" (2001)",(no genres listed)\r\n'
    '4,Untitled,War\r\n'
  )
  made = read(tmp_path, text)
  rows = made.table.to_pylist()
  assert made.table.schema.equals(schema.ITEMS)
  assert [row['item_id'] for row in rows] == ['2', '3', '4', '10']  # as numbers
  assert [row['title'] for row in rows] == [
    'Jumanji',
    'Say "Hi"',
    'Untitled',
    'American President, The',
  ]
  assert [row['year'] for row in rows] == [1995, 2001, None, 1995]
  assert rows[1]['genres'] == []
  assert rows[0]['genres'] == ['Children', 'Adventure']
  item_table.write_items(str(tmp_path / 'items.parquet'), made.table)
  ids, facts = item_table.load_items(str(tmp_path / 'items.parquet'))
  assert ids.to_pylist() == ['2', '3', '4', '10']
  names = facts.genre_names
  assert names[0] == 'Adventure'
  of_first = np.flatnonzero(facts.genres.toarray()[0])
  assert [names[column] for column in of_first] == ['Adventure', 'Children']


def test_recbole(tmp_path):
  text = (
    'item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n'
    '1\tToy Story\t1995\tAnimation Comedy\n'
    '2\t"Quoted"\tunknown\t\n'
  )
  rows = read(tmp_path, text, 'ml.item').table.to_pylist()
  assert rows[0] == {
    'item_index': 0,
    'item_id': '1',
    'title': 'Toy Story',
    'year': 1995,
    'genres': ['Animation', 'Comedy'],
    'description': '',
    'tags': [],
    'num_ratings': 0,
  }
  assert (rows[1]['title'], rows[1]['year'], rows[1]['genres']) == (
    '"Quoted"',
    None,
    [],
  )


def test_movielens_1m(tmp_path):
  text = "1::Toy Story (1995)::Animation|Children's\n2::Caf\xe9: a::b (2000)::Drama\n"
  made = read(tmp_path, text.encode('latin-1') + b'3::L\xe9on (1994)::Drama\n')
  assert [row['title'] for row in made.table.to_pylist()] == ['Toy Story', 'Léon']
  (bad,) = made.rejects
  assert (bad['record']['line'], bad['reason']) == (2, 'wrong_column_count')


def test_movielens_100k(tmp_path):
  flags = '|'.join(str(int(n in (3, 18))) for n in range(19))
  text = f'1|L\xe9on (1994)|01-Jan-1994||http://x|{flags}\n'
  (row,) = read(tmp_path, text.encode('latin-1'), 'u.item').table.to_pylist()
  assert (row['title'], row['year']) == ('Léon', 1994)
  assert row['genres'] == ['Animation', 'Western']


def test_ids_that_are_no_numbers_are_ordered_as_text(tmp_path):
  made = read(tmp_path, 'movieId,title,genres\nb,B,War\n10,T,War\n9,N,War\n')
  assert made.table['item_id'].to_pylist() == ['10', '9', 'b']


def test_bad_rows(tmp_path):
  text = (
    b'movieId,title,genres\n1,A,War\n1,B,War\n,C,War\n2,D\n\n3,\xff,War\n4,"E,War\n'
  )
  made = read(tmp_path, text)
  assert made.table['item_id'].to_pylist() == ['1']
  assert [(row['record']['line'], row['reason']) for row in made.rejects] == [
    (3, 'duplicate_item'),
    (4, 'empty_field'),
    (5, 'wrong_column_count'),
    (6, 'blank_line'),
    (7, 'not_utf8'),
    (8, 'bad_quotes'),
  ]
  assert made.num_lines == made.table.num_rows + len(made.rejects)


def test_values_of_several_lines(tmp_path):
  text = (
    'item,title,genres,year,description\n'
    '1,A,War,1999,"one\n\ntwo, ""so"""\r\n'
    '2,"B,War,2000,never closed\n'
    '3,C,War,2001,x\n'
    '4,"D\nE",Drama,2002,"y"\n'
    '5,F,War\n'
  )
  made = read(tmp_path, text)
  rows = made.table.to_pylist()
  assert [(row['item_id'], row['title'], row['description']) for row in rows] == [
    ('1', 'A', 'one\n\ntwo, "so"'),
    ('3', 'C', 'x'),
    ('4', 'D\nE', 'y'),
  ]
  found = [(row['record']['line'], row['reason']) for row in made.rejects]
  assert found == [(5, 'bad_quotes'), (9, 'wrong_column_count')]
  assert made.num_lines == 5


def test_an_item_has_a_title(tmp_path):
  (bad,) = read(tmp_path, 'movieId,title,genres\n1,A,War\n2, ,War\n').rejects
  assert (bad['reason'], bad['record']['field']) == ('empty_field', 'title')


def test_num_ratings(tmp_path):
  made = read(tmp_path, 'movieId,title,genres\n1,A,War\n2,B,War\n')
  table = item_table.with_num_ratings(made.table, np.array([5, 0]))
  assert table['num_ratings'].to_pylist() == [5, 0]
  assert table.schema.equals(schema.ITEMS)


def test_a_header_that_is_no_text(tmp_path):
  with pytest.raises(JobError, match='line 1 is not UTF-8'):
    read(tmp_path, b'movie\xffId\n1')
