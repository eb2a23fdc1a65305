"""Writes interactions as texts, for a history encoder or a text prompt."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa


class Nouns(NamedTuple):
  """Holds the nouns that the texts use.

  Attributes:
    item: noun for an item.
    genres: plural noun for the genres of an item.
    rating: plural noun for the unit of ratings.
  """

  item: str = 'movie'
  genres: str = 'genres'
  rating: str = 'stars'


MOVIELENS = Nouns()
# Forms of the texts of an interaction for a history encoder: one text for each field,
# each encoded separately, or one sentence.
TEMPLATES = ('fields', 'joined')


def title_genres(items: pa.Table, nouns: Nouns = MOVIELENS) -> list[str]:
  """Writes 'The movie X (1999) is listed with genres A, B' for each item of a table."""
  return [
    f'The {nouns.item} {title_with_year(row)} is listed with {_genres(row, nouns)}'
    for row in items.select(['title', 'year', 'genres']).to_pylist()
  ]


def rating_texts(values: Iterable[float], nouns: Nouns = MOVIELENS) -> list[str]:
  """Writes 'The movie is rated with 4.5 stars' for each rating."""
  rated = f'The {nouns.item} is rated with'
  return [f'{rated} {value:.1f} {nouns.rating}' for value in values]


def interaction_sentence(
  title_genres: str, rating: float, nouns: Nouns = MOVIELENS
) -> str:
  """Writes an interaction as one sentence.

  Args:
    title_genres: text of the item, as `title_genres` returns it.
    rating: rating in the data set's unit.
    nouns: nouns of the data set.
  """
  return f'{title_genres}, rated {rating:.1f} {nouns.rating}'


def title_with_year(row: Mapping[str, Any]) -> str:
  """Writes title and year of a row of the item table, such as 'Heat (1995)'."""
  return f'{row["title"]} ({row["year"]})' if row['year'] else row['title']


def _genres(row, nouns):
  names = row['genres']
  return f'{nouns.genres} {", ".join(names)}' if names else f'no {nouns.genres}'
