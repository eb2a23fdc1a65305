"""Interactions as texts."""

import numpy as np
import pyarrow as pa

from pipelines.embeddings import encoder_texts
from tasks import interaction_texts, schema

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
  assert interaction_texts.title_genres(ITEMS) == [
    'The movie Heat (1995) is listed with genres Action, Crime',
    'The movie Nil is listed with no genres',
  ]
  assert interaction_texts.rating_texts([0.5, 4]) == [
    'The movie is rated with 0.5 stars',
    'The movie is rated with 4.0 stars',
  ]


def test_joined():
  pairs = np.array([(0, 4.5), (1, 1.0)], [('item', np.int64), ('rating', np.float32)])
  assert encoder_texts.joined_texts(ITEMS, pairs) == [
    'The movie Heat (1995) is listed with genres Action, Crime, rated 4.5 stars. '
    'Cop and thief.',
    'The movie Nil is listed with no genres, rated 1.0 stars',
  ]


def test_distinct_and_batches():
  assert encoder_texts.distinct_texts(['bb', 'a', '', 'bb', 'c']) == ['a', 'c', 'bb']
  assert encoder_texts.text_batches(['a', 'b', 'c'], 2) == [
    (0, ['a', 'b']),
    (2, ['c']),
  ]
  assert encoder_texts.text_batches([], 2) == []
