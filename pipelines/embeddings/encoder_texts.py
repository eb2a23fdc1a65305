"""Makes the texts of interactions that the history encoder reads.

The template `fields` has the strings of UEM (arXiv 2401.04858), each encoded on its
own: title with genres, description, rating. The template `joined` has one sentence per
interaction.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from pipelines.common import storage
from tasks import schema
from tasks.interaction_texts import (
  MOVIELENS,
  Nouns,
  OwnTexts,
  Words,
  event_columns,
  interaction_sentence,
  rating_texts,
  title_genres,
)

TextBatch = tuple[int, list[str]]  # place of the first text among all, and the texts


def joined_texts(
  items: pa.Table, pairs: np.ndarray, words: Nouns = MOVIELENS
) -> list[str]:
  """Returns a sentence for each interaction, followed by the item's description if any.

  Args:
    items: the item table.
    pairs: [n] of `rated_pairs.PAIRS`.
    words: nouns for items, genres and ratings.
  """
  names, descriptions = title_genres(items, words), items['description'].to_pylist()
  texts = []
  for item, rating in pairs.tolist():
    text = interaction_sentence(names[item], rating, words)
    texts.append(f'{text}. {descriptions[item]}' if descriptions[item] else text)
  return texts


def template_texts(
  pairs: np.ndarray | None,
  template: str,
  items: pa.Table,
  ratings: Iterable[float],
  words: Words = MOVIELENS,
  only_ratings: bool = False,
  of_events: Sequence[Sequence[str]] = (),
) -> list[str]:
  """Returns the distinct texts of a template.

  Args:
    pairs: [n] of `rated_pairs.PAIRS`, for `joined`.
    template: 'fields' or 'joined'.
    items: the item table.
    ratings: distinct ratings of the histories.
    words: nouns for items, genres and ratings, or the templates of a dataset file.
    only_ratings: whether the items have vectors already.
    of_events: texts of each template of events, as `read_event_texts` returns them.
  """
  if isinstance(words, OwnTexts):
    columns = [] if only_ratings else words.item_texts(items)
    columns += [*words.value_texts(ratings), *of_events]
    return distinct_texts(itertools.chain(*columns))
  if template == 'joined':
    return distinct_texts(joined_texts(items, pairs, words))
  if only_ratings:
    return distinct_texts(rating_texts(ratings, words))
  described = items['description'].to_pylist()
  fields = [*title_genres(items, words), *described, *rating_texts(ratings, words)]
  return distinct_texts(fields)


class StoredTexts(NamedTuple):
  """Knows where the texts come from; Beam would pickle the tables themselves.

  Attributes:
    histories_dir: finished folder of histories.
    template: 'fields' or 'joined'.
    ratings: distinct ratings of the histories.
    words: nouns for items, genres and ratings, or the templates of a dataset file.
    only_ratings: whether the items have vectors already.
    has_event_texts: whether the folder has a table of event texts.
  """

  histories_dir: str
  template: str
  ratings: Sequence[float]
  words: Words = MOVIELENS
  only_ratings: bool = False
  has_event_texts: bool = False

  def read_items(self) -> pa.Table:
    """Reads the item table."""
    return self._read('items.parquet')

  def read_event_texts(self) -> list[list[str]]:
    """Reads the texts of each template of events."""
    texts = schema.EVENT_TEXTS
    return event_columns(self._read(texts)) if self.has_event_texts else []

  def read_texts(self, pairs: np.ndarray | None) -> list[str]:
    """Returns `template_texts`."""
    return template_texts(
      pairs,
      self.template,
      self.read_items(),
      self.ratings,
      self.words,
      self.only_ratings,
      self.read_event_texts(),
    )

  def _read(self, name):
    return storage.read_parquet(FileSystems.join(self.histories_dir, name))


def distinct_texts(texts: Iterable[str]) -> list[str]:
  """Returns the distinct texts, shortest first: a batch has texts of similar length."""
  return sorted(set(texts) - {''}, key=lambda text: (len(text), text))


def text_batches(texts: Sequence[str], size: int) -> list[TextBatch]:
  """Divides texts into batches of at most `size`."""
  return [(at, list(texts[at : at + size])) for at in range(0, len(texts), size)]
