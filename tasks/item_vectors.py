"""The vectors of interactions: rows of the embeddings folder, gathered by row number.

A history holds row numbers and ratings, not vectors; this is where they become
`[n, H]`. Two templates, told apart by the columns of `embeddings.parquet`:
`fields` has item columns and a separate small table by rating, all concatenated;
`joined` has one row a distinct (item, rating).
"""

import functools
import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks import finished
from tasks.interaction_texts import Nouns


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
  """A fixed-size-list column as [rows, width] float32."""
  flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
  return flat.reshape(len(column), -1).astype(np.float32, copy=False)


class ItemVectors:
  """Interaction vectors of one embeddings folder.

  Attributes:
    tables: float32 [rows, width], side by side they make an interaction's vector.
    width: H, the length of an interaction's vector.
    info: `encoder_info.json`.
  """

  def __init__(self, embeddings_dir: str):
    """Loads the tables.

    Args:
      embeddings_dir: a finished folder of `pipelines.embed_items`.

    Raises:
      FileNotFoundError: the folder is not finished, or of another job.
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
      self.tables = (items, _matrix(by_rating['rating_text']))
    self.width = sum(x.shape[1] for x in self.tables)

  def rows(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """Where interactions stand in `tables`.

    Args:
      items: [n] int64 row numbers of the item table.
      ratings: [n] float32 stars.

    Returns:
      [n, number of tables] int32.

    Raises:
      KeyError: an item or rating that the embeddings folder does not hold.
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
    return np.stack([items, rows], axis=1).astype(np.int32)

  def gather(self, items: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """The vectors [n, H] float32 of interactions; arguments as for `rows`."""
    rows = self.rows(items, ratings)
    return np.concatenate([x[i] for x, i in zip(self.tables, rows.T, strict=True)], 1)


def load_nouns(embeddings_dir: str) -> Nouns:
  """The words that the texts of an embeddings folder were made with."""
  info = json.loads((pathlib.Path(embeddings_dir) / 'encoder_info.json').read_text())
  return Nouns(**info.get('nouns', {}))


@functools.cache
def load_item_vectors(embeddings_dir: str) -> ItemVectors:
  """One `ItemVectors` a folder and process."""
  return ItemVectors(embeddings_dir)
