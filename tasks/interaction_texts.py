"""Interactions as texts: what a history encoder or a text prompt reads."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa


class Nouns(NamedTuple):
  """What items, their genres and the unit of ratings are called."""

  item: str = 'movie'
  genres: str = 'genres'
  rating: str = 'stars'


MOVIELENS = Nouns()
# Forms of the texts that a history encoder reads of an interaction: a text for each
# field, each encoded on its own, or one sentence.
TEMPLATES = ('fields', 'joined')


def title_genres(items: pa.Table, nouns: Nouns = MOVIELENS) -> list[str]:
  """'The movie X (1999) is listed with genres A, B' of each item of the table."""
  return [
    f'The {nouns.item} {title_with_year(row)} is listed with {_genres(row, nouns)}'
    for row in items.select(['title', 'year', 'genres']).to_pylist()
  ]


def rating_texts(values: Iterable[float], nouns: Nouns = MOVIELENS) -> list[str]:
  """'The movie is rated with 4.5 stars' of each rating."""
  rated = f'The {nouns.item} is rated with'
  return [f'{rated} {value:.1f} {nouns.rating}' for value in values]


def interaction_sentence(
  title_genres: str, rating: float, nouns: Nouns = MOVIELENS
) -> str:
  """An interaction in one sentence."""
  return f'{title_genres}, rated {rating:.1f} {nouns.rating}'


def title_with_year(row: Mapping[str, Any]) -> str:
  """'Heat (1995)' of a row of the item table."""
  return f'{row["title"]} ({row["year"]})' if row['year'] else row['title']


def _genres(row, nouns):
  some = row['genres']
  return f'{nouns.genres} {", ".join(some)}' if some else f'no {nouns.genres}'
