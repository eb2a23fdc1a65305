"""Writes interactions as texts, for a history encoder or a text prompt."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tasks import schema
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

  of_items: tuple[TextTemplate, ...]
  of_values: tuple[TextTemplate, ...]

  @classmethod
  def of(cls, sources: Iterable[str]) -> 'OwnTexts':
    """Sorts the templates of a data set."""
    templates = [read_template(source) for source in sources]
    of_value = lambda template: VALUE in template.fields
    return cls(
      tuple(template for template in templates if not of_value(template)),
      tuple(filter(of_value, templates)),
    )

  def item_texts(self, items: pa.Table) -> list[list[str]]:
    """Writes the texts of each template, for each item of a table."""
    rows = items['fields'].to_pylist() if self.of_items else []
    return [[template.write(row) for row in rows] for template in self.of_items]

  def value_texts(self, values: Iterable[float]) -> list[list[str]]:
    """Writes the texts of each template, for each value."""
    # 3.3 of a value that is stored in 4 bytes, not 3.29999995.
    rows = [{VALUE: float(str(np.float32(value)))} for value in values]
    return [[template.write(row) for row in rows] for template in self.of_values]


Words = Nouns | OwnTexts


def item_names(items: pa.Table, words: Words = MOVIELENS) -> list[str]:
  """Writes what a sentence about an interaction says of each item of a table."""
  if isinstance(words, OwnTexts):
    return [_sentences(texts) for texts in zip(*words.item_texts(items), strict=True)]
  return title_genres(items, words)


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


def event_columns(texts: pa.Table) -> list[list[str]]:
  """Returns the texts of each template in a table of event texts."""
  names = (name for name in texts.column_names if name != schema.TEXT_ID)
  return [texts[name].to_pylist() for name in names]


def event_sentences(texts: pa.Table) -> list[str]:
  """Writes what a sentence about an interaction says of each row of event texts."""
  return [_sentences(row) for row in zip(*event_columns(texts), strict=True)]


def interaction_sentence(
  name: str, rating: float, words: Words = MOVIELENS, said: str = ''
) -> str:
  """Writes an interaction as one sentence; with templates, a sentence for each.

  Args:
    name: text of the item, as `item_names` returns it.
    rating: rating in the data set's unit.
    words: nouns or templates of the data set.
    said: text of the event, as `event_sentences` returns it; '' for none.
  """
  if isinstance(words, OwnTexts):
    of_value = (texts[0] for texts in words.value_texts([rating]))
    return _sentences([name, *of_value, said])
  return f'{name}, rated {rating:.1f} {words.rating}'


def _sentences(texts: Iterable[str]) -> str:
  """Joins texts, each with a full stop behind it but the last."""
  return '. '.join(text.removesuffix('.') for text in texts if text)


def title_with_year(row: Mapping[str, Any]) -> str:
  """Writes title and year of a row of the item table, such as 'Heat (1995)'."""
  return f'{row["title"]} ({row["year"]})' if row['year'] else row['title']


def _genres(row, nouns):
  names = row['genres']
  return f'{nouns.genres} {", ".join(names)}' if names else f'no {nouns.genres}'
