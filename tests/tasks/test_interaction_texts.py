"""Interactions of other things than movies."""

import pyarrow as pa

from tasks import interaction_texts

BOOKS = interaction_texts.Nouns('book', 'subjects', 'points')


def test_nouns():
  rows = [
    {'title': 'Emma', 'year': 1815, 'genres': ['Romance', 'Society']},
    {'title': 'Nil', 'year': None, 'genres': []},
  ]
  emma, nil = interaction_texts.title_genres(pa.Table.from_pylist(rows), BOOKS)
  assert emma == 'The book Emma (1815) is listed with subjects Romance, Society'
  assert nil == 'The book Nil is listed with no subjects'
  assert interaction_texts.rating_texts([7], BOOKS) == [
    'The book is rated with 7.0 points'
  ]
  assert (
    interaction_texts.interaction_sentence(nil, 7, BOOKS) == f'{nil}, rated 7.0 points'
  )
