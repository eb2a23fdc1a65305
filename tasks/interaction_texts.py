"""Writes interactions as texts, for a history encoder or a text prompt."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from tasks.text_templates import TextTemplate, read_template


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
OWN = 'texts'  # form of the templates of a dataset file, each encoded separately
VALUE = 'value'  # name of an interaction's value in a template


class OwnTexts(NamedTuple):
  """Holds the templates of a dataset file.

  Attributes:
    of_items: templates over the columns of items.
    of_values: templates over the value of an interaction.
  """

  of_items: Sequence[TextTemplate]
  of_values: Sequence[TextTemplate]

  @classmethod
  def of(cls, sources: Iterable[str]) -> 'OwnTexts':
    """Sorts the templates of a data set."""
    templates = [read_template(source) for source in sources]
    of_value = lambda template: VALUE in template.fields
    return cls(
      [template for template in templates if not of_value(template)],
      [template for template in templates if of_value(template)],
    )

  def item_texts(self, items: pa.Table) -> list[list[str]]:
    """Writes the texts of each template, for each item of a table."""
    rows = items['fields'].to_pylist() if self.of_items else []
    return [[template.write(row) for row in rows] for template in self.of_items]

  def value_texts(self, values: Iterable[float]) -> list[list[str]]:
    """Writes the texts of each template, for each value."""
    rows = [{VALUE: float(value)} for value in values]
    return [[template.write(row) for row in rows] for template in self.of_values]


Words = Nouns | OwnTexts


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
