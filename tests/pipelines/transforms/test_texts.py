"""Interactions as texts."""

import numpy as np
import pyarrow as pa

from pipelines import schema
from pipelines.transforms import texts

ITEMS = pa.Table.from_pylist(
  [
    {
      'item_index': index,
      'item_id': str(index),
      'title': title,
      'year': year,
      'genres': genres,
      'description': description,
      'tags': [],
      'num_ratings': 1,
    }
    for index, (title, year, genres, description) in enumerate(
      [('Heat', 1995, ['Action', 'Crime'], 'Cop and thief.'), ('Nil', None, [], '')]
    )
  ],
  schema=schema.ITEMS,
)


def test_fields():
  assert texts.title_genres(ITEMS) == [
    'The movie Heat (1995) is listed with genres Action, Crime',
    'The movie Nil is listed with no genres',
  ]
  assert texts.ratings([0.5, 4]) == [
    'The movie is rated with 0.5 stars',
    'The movie is rated with 4.0 stars',
  ]


def test_joined():
  pairs = np.array([(0, 4.5), (1, 1.0)], [('item', np.int64), ('rating', np.float32)])
  assert texts.joined(ITEMS, pairs) == [
    'The movie Heat (1995) is listed with genres Action, Crime, rated 4.5 stars. '
    'Cop and thief.',
    'The movie Nil is listed with no genres, rated 1.0 stars',
  ]


def test_distinct_and_batches():
  assert texts.distinct(['bb', 'a', '', 'bb', 'c']) == ['a', 'c', 'bb']
  assert texts.batches(['a', 'b', 'c'], 2) == [['a', 'b'], ['c']]
  assert texts.batches([], 2) == []
