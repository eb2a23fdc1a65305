"""Reads and writes the item table, and derives facts about the items from it."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from pipelines.common import storage
from pipelines.events.check import KnownTexts
from pipelines.events.event_texts import ItemColumns
from pipelines.events.text_ids import event_ids
from pipelines.events.user_texts import UserTexts
from tasks import schema


class ItemFacts(NamedTuple):
  """Holds the facts about the I items; the last three may be None.

  Attributes:
    genre_names: names of the G genres, sorted.
    genres: [I, G] sparse, 1 where an item has a genre.
    counts: number of interactions per item in the histories of training users, [I]
      int64.
    vectors: embeddings of the items' texts, [I, H] float32 of length 1, or 0 where an
      item has no text.
    relevance: BM25 score of each item's text for the query, [I] float64.
  """

  genre_names: tuple[str, ...]
  genres: sparse.csr_array
  counts: np.ndarray | None = None
  vectors: np.ndarray | None = None
  relevance: np.ndarray | None = None


class ItemLookup(NamedTuple):
  """Holds the ids and genres of the items, to read and label ratings.

  Attributes:
    ids: ids of the items, [I] strings.
    facts: facts about the items, only genres.
  """

  ids: pa.Array
  facts: ItemFacts


def with_num_ratings(table: pa.Table, num_ratings: np.ndarray) -> pa.Table:
  """Returns the item table with the number of kept ratings per item, [I]."""
  position = table.schema.get_field_index('num_ratings')
  field = schema.ITEMS.field('num_ratings')
  return table.set_column(position, field, pa.array(num_ratings, field.type))


def write_items(path: str, table: pa.Table) -> None:
  """Writes an item table with the schema schema.ITEMS."""
  storage.write_parquet(path, table.schema, [table])


def load_items(path: str) -> ItemLookup:
  """Reads the ids and genres of a stored item table.

  Workers read the file themselves, so that the table is not pickled.
  """
  return lookup(storage.read_parquet(path))


def lookup(table: pa.Table) -> ItemLookup:
  """Returns the ids and genres of an item table."""
  lists = table['genres'].combine_chunks()
  values = lists.flatten()
  names = values.unique().sort()
  columns = pc.index_in(values, value_set=names).to_numpy()
  splits = np.concatenate([[0], np.cumsum(lists.value_lengths().to_numpy())])
  genres = sparse.csr_array(
    (np.ones(len(columns)), columns, splits), (table.num_rows, len(names))
  )
  facts = ItemFacts(tuple(names.to_pylist()), genres)
  return ItemLookup(table['item_id'].combine_chunks(), facts)


@dataclasses.dataclass(frozen=True)
class LoadItemIds:
  """Reads the item ids [I] of a stored item table, in the worker that calls it."""

  path: str

  def __call__(self) -> pa.Array:
    return load_items(self.path).ids


@dataclasses.dataclass(frozen=True)
class LoadEventTexts:
  """Reads the texts that events have beside their items, in the worker that calls it.

  Attributes:
    path: path of the table of event texts; '' where there is none.
    items_path: path of the item table.
    columns: columns of items that the texts name.
  """

  path: str
  items_path: str
  columns: tuple[str, ...]

  def __call__(self) -> KnownTexts | None:
    if not self.path:
      return None
    read = storage.read_parquet
    return lookup_texts(read(self.items_path), read(self.path), self.columns)


@dataclasses.dataclass(frozen=True)
class LoadUserTexts:
  """Reads the ids of texts that name columns of users, in the worker that calls it.

  Attributes:
    path: path of the table of event texts.
    names: columns of users that the texts name; none where they name none.
  """

  path: str
  names: tuple[str, ...]

  def __call__(self) -> UserTexts | None:
    if not self.names:
      return None
    table = storage.read_parquet(self.path)
    return UserTexts(self.names, table[schema.TEXT_ID].combine_chunks())


def lookup_texts(
  items: pa.Table, texts: pa.Table | None, names: Sequence[str]
) -> KnownTexts | None:
  """Returns what must be known to read the texts of events; None without texts.

  Args:
    items: the item table.
    texts: the table of event texts.
    names: columns of items that the texts name.
  """
  if texts is None:
    return None
  ids = event_ids(texts[schema.TEXT_ID].combine_chunks())
  return KnownTexts(ids, item_columns(items, names))


def item_columns(items: pa.Table, names: Sequence[str]) -> ItemColumns:
  """Returns columns of an item table that templates name."""
  fields = items['fields'].combine_chunks()
  columns = {name: fields.field(name) for name in names}
  return ItemColumns(items['item_id'].combine_chunks(), columns)


def search_texts(items: pa.Table) -> list[str]:
  """Joins title, genres, tags and description of each item, for search by words."""
  return [
    ' '.join([row['title'], *row['genres'], *row['tags'], row['description']])
    for row in items.select(['title', 'genres', 'tags', 'description']).to_pylist()
  ]
