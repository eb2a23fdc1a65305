"""Tags and descriptions against pandas and Python's csv."""

import csv

import numpy as np
import pandas as pd
import pytest

from pipelines.events import input_files
from pipelines.events.known_formats import KNOWN
from pipelines.items import catalogue, item_texts
from tasks import schema

MOVIES = 'movieId,title,genres\n1,A,War\n2,B,War\n10,C,War\n11,D,War\n'


def find(path, kind):
  return input_files.find_files(str(path), KNOWN[kind], kind)


@pytest.fixture
def movies(tmp_path):
  (tmp_path / 'movies.csv').write_text(MOVIES)
  return catalogue.read_items(find(tmp_path / 'movies.csv', 'movies'))


def rejects(made):
  return [
    (row['stage'], row['record']['line'], row['reason'], row['record']['field'])
    for row in made.rejects
  ]


def test_tags(tmp_path, movies):
  (tmp_path / 'tags.csv').write_text(
    'userId,movieId,tag,timestamp\n'
    '1,10,Funny,1\n'
    '2,10, funny ,1\n'
    '2,10,FUNNY,2\n'  # again
    '3,10,dark,1\n'
    '3,10,"a ""cult"" film",1\n'
    '1,1,sad,1\n'
    '1,99,sad,1\n'
    '1,1,,1\n'
    ',1,sad,1\n'
    '1,,sad,1\n'
    '1,1\n'
    '1,1,"sad,1\n'
  )
  made = item_texts.add_tags(movies, find(tmp_path / 'tags.csv', 'tags'))
  assert made.table.schema.equals(schema.ITEMS)
  expected = [['sad'], [], ['funny', 'a "cult" film', 'dark'], []]
  assert made.table['tags'].to_pylist() == expected
  assert made.table.drop_columns('tags').equals(movies.table.drop_columns('tags'))
  assert made.texts['tags'] == {
    'rows_in': 12,
    'rows_kept': 5,
    'rows_rejected': 5,
    'rows_dropped': {'unknown_item': 1, 'duplicate': 1},
  }
  assert rejects(made) == [
    ('read_tags', 9, 'empty_field', 'tag'),
    ('read_tags', 10, 'empty_field', 'userId'),
    ('read_tags', 11, 'empty_field', 'movieId'),
    ('read_tags', 12, 'wrong_column_count', ''),
    ('read_tags', 13, 'bad_quotes', ''),
  ]


@pytest.mark.parametrize('block_bytes', [200, 1 << 23])
def test_tags_equal_pandas(tmp_path, movies, monkeypatch, block_bytes):
  monkeypatch.setattr(item_texts, '_BLOCK_BYTES', block_bytes)
  rng = np.random.default_rng(0)
  table = pd.DataFrame(
    {
      'userId': rng.integers(0, 9, 600),
      'movieId': rng.choice([1, 2, 10, 99], 600),
      'tag': rng.choice(list('abcdefghijklmnopqrstuvwxyzABCDE'), 600),
    }
  )
  table.to_csv(tmp_path / 'tags.csv', index=False)
  made = item_texts.add_tags(movies, find(tmp_path / 'tags.csv', 'tags'))
  distinct = table.assign(tag=table.tag.str.lower()).drop_duplicates()
  counts = distinct.groupby(['movieId', 'tag']).size().rename('n').reset_index()
  counts = counts.sort_values(['n', 'tag'], ascending=[False, True])
  lists = counts.groupby('movieId').tag.apply(lambda tags: list(tags[:10]))
  for row in made.table.to_pylist():
    assert row['tags'] == lists.get(int(row['item_id']), [])
  assert made.texts['tags']['rows_kept'] == (distinct.movieId != 99).sum()
  assert (
    made.texts['tags']['rows_dropped']['unknown_item'] == (table.movieId == 99).sum()
  )


def test_descriptions(tmp_path, movies):
  (tmp_path / 'x.csv').write_text(
    'movieId,title,overview\n'
    '10,C,"Of two\nlines, and ""quotes"" "\n'
    '2,B,\n'
    '99,Z,text\n'
    '1,A, first \n'
    '1,A,"sec\nond"\n'
    ',A,text\n'
    '11,D,"open\n'
  )
  before = movies._replace(
    table=movies.table.set_column(
      movies.table.schema.get_field_index('description'),
      schema.ITEMS.field('description'),
      [['own 1', 'own 2', 'own 10', 'own 11']],
    )
  )
  files = find(tmp_path / 'x.csv', 'descriptions')
  made = item_texts.add_descriptions(before, files)
  assert made.table.schema.equals(schema.ITEMS)
  assert made.table['description'].to_pylist() == [
    'first',
    'own 2',
    'Of two\nlines, and "quotes"',
    'own 11',
  ]
  assert made.texts == {
    'descriptions': {
      'rows_in': 7,
      'rows_kept': 2,
      'rows_rejected': 3,
      'rows_dropped': {'unknown_item': 1, 'empty_text': 1},
    }
  }
  assert rejects(made) == [
    ('read_descriptions', 7, 'duplicate_item', 'movieId'),
    ('read_descriptions', 9, 'empty_field', 'movieId'),
    ('read_descriptions', 10, 'bad_quotes', ''),
  ]


def test_parquet(tmp_path, movies):
  tags = {'user': [1, 2, None], 'item': ['1', '1', '1'], 'tag': ['x', 'y', 'z']}
  pd.DataFrame(tags).astype({'user': 'Int64'}).to_parquet(tmp_path / 'tags')
  texts = {'item': [2, 1], 'description': ['two', None]}
  pd.DataFrame(texts).to_parquet(tmp_path / 'texts')
  made = item_texts.add_tags(movies, find(tmp_path / 'tags', 'tags'))
  made = item_texts.add_descriptions(made, find(tmp_path / 'texts', 'descriptions'))
  assert made.table['tags'].to_pylist() == [['x', 'y'], [], [], []]
  assert made.table['description'].to_pylist() == ['', 'two', '', '']
  assert rejects(made) == [('read_tags', 3, 'empty_field', 'user')]
  assert made.texts.keys() == {'tags', 'descriptions'}


def test_without_files_nothing_changes(movies):
  assert item_texts.add_descriptions(item_texts.add_tags(movies, ()), ()) is movies


def test_real_tags_and_descriptions(ml_latest_small, descriptions):
  made = catalogue.read_items(find(ml_latest_small / 'movies.csv', 'movies'))
  made = item_texts.add_tags(made, find(ml_latest_small / 'tags.csv', 'tags'))
  made = item_texts.add_descriptions(made, find(descriptions / '*.csv', 'descriptions'))
  assert not made.rejects
  assert made.texts['tags']['rows_in'] == len(pd.read_csv(ml_latest_small / 'tags.csv'))
  (path,) = descriptions.glob('*.csv')
  with open(path, newline='') as file:
    expected = {row['movieId']: row['overview'] for row in csv.DictReader(file)}
  rows = made.table.to_pylist()
  assert sum(bool(row['description']) for row in rows) > 7000
  for row in rows:
    text = expected.get(row['item_id'], '').strip()
    assert row['description'].split() == text.split()
  assert made.texts['descriptions']['rows_in'] == len(expected)
