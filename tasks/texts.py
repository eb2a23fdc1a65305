"""Interactions as texts: what a history encoder or a text prompt reads."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa


def title_genres(items: pa.Table) -> list[str]:
  """'The movie X (1999) is listed with genres A, B' of each item of the table."""
  return [
    f'The movie {title(row)} is listed with {_genres(row)}'
    for row in items.select(['title', 'year', 'genres']).to_pylist()
  ]


def ratings(values: Iterable[float]) -> list[str]:
  """'The movie is rated with 4.5 stars' of each rating."""
  return [f'The movie is rated with {value:.1f} stars' for value in values]


def sentence(title_genres: str, rating: float) -> str:
  """An interaction in one sentence."""
  return f'{title_genres}, rated {rating:.1f} stars'


def title(row: Mapping[str, Any]) -> str:
  """'Heat (1995)' of a row of the item table."""
  return f'{row["title"]} ({row["year"]})' if row['year'] else row['title']


def _genres(row):
  return f'genres {", ".join(row["genres"])}' if row['genres'] else 'no genres'
