"""The item table as it is stored, and what is known of the items when it is read."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from pipelines.common import storage
from tasks import schema


class ItemFacts(NamedTuple):
  """What is known of the I items; the last three only where a sampler needs them.

  Attributes:
    genre_names: the G genre names, sorted.
    genres: [I, G] sparse, 1 where an item has a genre.
    counts: [I] int64, interactions in the histories of training users.
    vectors: [I, H] float32 of length 1, or 0 where an item has no text.
    relevance: [I] float64, BM25 of the item's text against the query.
  """

  genre_names: tuple[str, ...]
  genres: sparse.csr_array
  counts: np.ndarray | None = None
  vectors: np.ndarray | None = None
  relevance: np.ndarray | None = None


class ItemLookup(NamedTuple):
  """What the ratings are read and labelled with.

  Attributes:
    ids: [I] strings.
    facts: their genres.
  """

  ids: pa.Array
  facts: ItemFacts


def with_num_ratings(table: pa.Table, num_ratings: np.ndarray) -> pa.Table:
  """The item table as it is written, with the number of kept ratings of each: [I]."""
  position = table.schema.get_field_index('num_ratings')
  field = schema.ITEMS.field('num_ratings')
  return table.set_column(position, field, pa.array(num_ratings, field.type))


def write_items(path: str, table: pa.Table) -> None:
  """Writes an item table of schema.ITEMS."""
  storage.write_parquet(path, table)


def load_items(path: str) -> ItemLookup:
  """Reads the ids and facts of a stored table; workers read it instead of a pickle."""
  table = storage.read_parquet(path)
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
  """Reads the item ids [I] of a stored table when it is called, in a worker."""

  path: str

  def __call__(self) -> pa.Array:
    return load_items(self.path).ids


def search_texts(items: pa.Table) -> list[str]:
  """All that is known of each item of the table, for search by words."""
  return [
    ' '.join([row['title'], *row['genres'], *row['tags'], row['description']])
    for row in items.select(['title', 'genres', 'tags', 'description']).to_pylist()
  ]
