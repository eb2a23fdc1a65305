"""Looks up the vectors of interactions in the tables of an embeddings folder.

A stored history has row numbers and ratings; this module turns them into vectors
[n, H]. There are two templates, recognized by the columns of `embeddings.parquet`.
`fields` has one row of vectors per item, and a second, small table with one row per
rating; an interaction's vector is the concatenation of all of them. `joined` has one
row per distinct (item, rating).
"""

import functools
import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks import finished
from tasks.interaction_texts import Nouns, OwnTexts, Words


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
  """Returns a column of fixed-size lists as [rows, width] float32."""
  flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
  return flat.reshape(len(column), -1).astype(np.float32, copy=False)


class ItemVectors:
  """Holds the interaction vectors of one embeddings folder.

  Attributes:
    tables: tables of vectors, each [rows, width] float32; an interaction's vector is
      one row of each table, concatenated.
    width: H, the length of an interaction's vector.
    info: content of `encoder_info.json`.
  """

  def __init__(self, embeddings_dir: str):
    """Loads the tables.

    Args:
      embeddings_dir: finished folder of `pipelines.embed_items`.

    Raises:
      FileNotFoundError: the folder is not finished, or another job made it.
      ValueError: the rows of the item vectors are not in the order of the items.
    """
    folder = finished.check_finished(embeddings_dir, 'pipelines.embed_items')
    self.info = json.loads((folder / 'encoder_info.json').read_text())
    table = pq.read_table(folder / 'embeddings.parquet')
    self._joined = 'rating' in table.column_names
    keys = ('item_index', 'rating')
    fields = [name for name in table.column_names if name not in keys]
    items = np.concatenate([_matrix(table[name]) for name in fields], axis=1)
    index = table['item_index'].to_numpy()
    if self._joined:
      self._of_rows = index, table['rating'].to_numpy().astype(np.float32)
      keys = zip(index.tolist(), table['rating'].to_pylist(), strict=True)
      self._row = {key: row for row, key in enumerate(keys)}
      self.tables = (items,)
    else:
      if not np.array_equal(index, np.arange(len(index))):
        raise ValueError(
          f'{folder}: embeddings.parquet must hold items 0, 1, 2, … in order'
        )
      by_rating = pq.read_table(folder / 'ratings.parquet')
      self._ratings = by_rating['rating'].to_numpy()
      texts = [name for name in by_rating.column_names if name != 'rating']
      of_ratings = [_matrix(by_rating[name]) for name in texts]
      # Events without values have no text of them.
      values = (np.concatenate(of_ratings, axis=1),) if of_ratings else ()
      self.tables = (items, *values)
    self.width = sum(table.shape[1] for table in self.tables)

  def by_item(self, num_items: int) -> np.ndarray:
    """Returns one vector of every item, without its rating.

    Args:
      num_items: I, number of items of the item table.

    Returns:
      [I, width of `tables[0]`] float32. With the template `joined`, an item's vector is
      the mean of those of its ratings; it is nan if no history has the item.
    """
    if not self._joined:
      return self.tables[0]
    vectors = self.tables[0]
    items = np.array([item for item, _ in self._row], np.int64)
    count = np.bincount(items, minlength=num_items)
    total = np.zeros((num_items, vectors.shape[1]))
    np.add.at(total, items, vectors)
    total[count == 0] = np.nan
    return (total / np.maximum(count, 1)[:, None]).astype(np.float32)

  def require_items(self) -> None:
    """Checks that items have vectors of their own, without a value.

    Raises:
      ValueError: the template is `joined`.
    """
    if self._joined:
      raise ValueError(
        'a question about items needs vectors of items, but with --template=joined '
        'embeddings have vectors of items with their ratings only: expected fields'
      )

  def rows(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """Returns the rows of interactions in `tables`.

    Args:
      items: [n] int64 row numbers of the item table.
      ratings: [n] float32 stars.

    Returns:
      [n, number of tables] int32 row numbers.

    Raises:
      KeyError: the embeddings folder has no vector for an item or a rating.
    """
    if self._joined:
      keys = zip(items.tolist(), ratings.tolist(), strict=True)
      return np.array([[self._row[key]] for key in keys], np.int32).reshape(-1, 1)
    rows = np.searchsorted(self._ratings, ratings).clip(max=len(self._ratings) - 1)
    missing = self._ratings[rows] != ratings
    if missing.any():
      raise KeyError(
        f'rating {ratings[missing][0]} has no vector; the embeddings folder holds '
        f'{self._ratings.tolist()}: was it made from these histories?'
      )
    return self._of_tables(items, rows)

  def _of_tables(self, items, rows):
    """Returns rows [n, number of tables] int32 of items and of values."""
    columns = (items, rows)[: len(self.tables)]
    return np.stack(columns, axis=1).astype(np.int32)

  def draw(
    self, size: int, rng: np.random.Generator
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws interactions that have vectors, of all users or of none.

    Args:
      size: E, number of interactions.
      rng: random generator.

    Returns:
      (rows [E, number of tables] int32 in `tables`, row numbers [E] of the item table,
      ratings [E] float32 stars).
    """
    if self._joined:
      drawn = rng.integers(len(self.tables[0]), size=size)
      items, ratings = (column[drawn] for column in self._of_rows)
      return drawn[:, None].astype(np.int32), items, ratings
    items, ratings = (
      rng.integers(len(table), size=size) for table in (self.tables[0], self._ratings)
    )
    values = self._ratings[ratings].astype(np.float32)
    return self._of_tables(items, ratings), items, values

  def gather(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """Returns the vectors [n, H] float32 of interactions.

    Args:
      items: [n] int64 row numbers of the item table.
      ratings: [n] float32 stars.

    Raises:
      KeyError: the embeddings folder has no vector for an item or a rating.
    """
    columns = zip(self.tables, self.rows(items, ratings).T, strict=True)
    return np.concatenate([table[rows] for table, rows in columns], axis=1)


def load_words(embeddings_dir: str) -> Words:
  """Reads the words that the texts of an embeddings folder were made with."""
  info = json.loads((pathlib.Path(embeddings_dir) / 'encoder_info.json').read_text())
  if texts := info.get('text_templates'):  # of a dataset file
    return OwnTexts.of(texts)
  return Nouns(**info.get('nouns', {}))


@functools.cache
def load_item_vectors(embeddings_dir: str) -> ItemVectors:
  """Loads the vectors of a folder once per process."""
  return ItemVectors(embeddings_dir)
