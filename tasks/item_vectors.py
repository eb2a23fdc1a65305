"""Looks up the vectors of interactions in the tables of an embeddings folder.

A stored history has row numbers and ratings; this module turns them into vectors
[n, H]. There are two templates, recognized by the columns of `embeddings.parquet`.
`fields` has one row of vectors per item, and a second, small table with one row per
rating; where events have texts of their own, a third one has a row per distinct text.
An interaction's vector is the concatenation of all of them. `joined` has one row per
distinct (item, rating).

Behind the items of `fields` there may be a table with statistics of the items, which
depend on who is told of them. So what is of an item alone comes first.
"""

import copy
import functools
import json
import pathlib
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks import finished, schema
from tasks.history_columns import HistoryColumns
from tasks.interaction_texts import Nouns, OwnTexts, Words

_KEYS = ('item_index', 'rating', 'text_index')  # columns that are no vectors


def _matrices(table: pa.Table) -> np.ndarray:
  """Returns the columns of vectors of a table side by side, [rows, width] float32."""
  names = [name for name in table.column_names if name not in _KEYS]
  return np.concatenate([_matrix(table[name]) for name in names], axis=1)


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
  """Returns a column of fixed-size lists as [rows, width] float32."""
  flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
  return flat.reshape(len(column), -1).astype(np.float32, copy=False)


class ItemVectors:
  """Holds the interaction vectors of one embeddings folder.

  Attributes:
    tables: tables of vectors, each [rows, width] float32; an interaction's vector is
      one row of each table, concatenated.
    num_of_item: number of `tables` of an item alone, which come first.
    num_statistics: number of statistics that the vector of an item ends with.
    num_factors: number of factors behind these.
    has_values: whether the values of interactions have vectors of their own.
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
    self.num_of_item, self._fold_of = 1, lambda user: 0
    self.num_statistics, self.num_factors = 0, 0
    items, self.has_values, self._num_texts = _matrices(table), False, 0
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
      self.tables = (items,)
      # Events without values have no text of them.
      self.has_values = len(by_rating.column_names) > 1
      if self.has_values:
        self.tables += (_matrices(by_rating),)
      if (folder / schema.EVENT_TEXTS).exists():
        self.tables += (_matrices(pq.read_table(folder / schema.EVENT_TEXTS)),)
        self._num_texts = len(self.tables[-1])
    self.width = sum(table.shape[1] for table in self.tables)

  def with_statistics(
    self,
    statistics: np.ndarray,
    fold_of: Callable[[bytes], int],
    num_factors: int = 0,
  ) -> 'ItemVectors':
    """Returns the same vectors with statistics behind those of the items.

    Their unit is the spread of the vectors' components: a model brings all components
    of an interaction to one scale.

    Args:
      statistics: [F, I, S] float32, of each item as each fold of users is told.
      fold_of: function from the id of a user to the fold, from 0.
      num_factors: how many of the last statistics are factors.
    """
    made, (items, *rest) = copy.copy(self), self.tables
    size = statistics.shape[-1]
    made.num_of_item, made._fold_of = 2, fold_of
    made.num_statistics, made.num_factors = size - num_factors, num_factors
    made.width = self.width + size
    flat = statistics.reshape(-1, size) * items.std(axis=0).mean()
    made.tables = (items, flat, *rest)
    return made

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

  def rows(self, history: HistoryColumns, user: bytes = b'') -> np.ndarray:
    """Returns the rows of n interactions in `tables`.

    Args:
      history: the interactions.
      user: id of the user who is told of the items.

    Returns:
      [n, number of tables] int32 row numbers.

    Raises:
      KeyError: the embeddings folder has no vector for an item, a rating or a text.
    """
    items, ratings, texts = history
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
    known = (texts >= 0) & (texts < self._num_texts)
    if not known.all() or (self._num_texts and len(texts) != len(items)):
      wrong = texts[~known][:1].tolist() or f'{len(texts)} for {len(items)} items'
      raise KeyError(
        f'history_texts: {wrong}; the embeddings folder holds {self._num_texts} texts '
        'of events: was it made from these histories?'
      )
    return self._of_tables(items, rows, texts, user)

  def item_rows(self, items: np.ndarray, user: bytes = b'') -> np.ndarray:
    """Returns the rows [n, num_of_item] int32 of items without values, as `rows`."""
    told = items + self._fold_of(user) * len(self.tables[0])
    return np.stack((items, told)[: self.num_of_item], axis=1).astype(np.int32)

  def _of_tables(self, items, values, texts, user=b''):
    """Returns rows [n, number of tables] int32 of items, of values and of texts."""
    columns = *[values] * self.has_values, *[texts] * bool(self._num_texts)
    rows = np.column_stack((self.item_rows(items, user), *columns))
    return rows.astype(np.int32)

  def draw(
    self, size: int, rng: np.random.Generator
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws interactions that have vectors, of all users or of none.

    Item, rating and text of an interaction are drawn on their own: what the text says
    has nothing to do with them, as it need not in a history.

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
    texts = rng.integers(self._num_texts, size=size) if self._num_texts else None
    return self._of_tables(items, ratings, texts), items, values

  def gather(self, history: HistoryColumns, user: bytes = b'') -> np.ndarray:
    """Returns the vectors [n, H] float32 of interactions; see `rows`."""
    return self._at(self.rows(history, user))

  def gather_items(self, items: np.ndarray, user: bytes = b'') -> np.ndarray:
    """Returns the vectors [n, H'] float32 of items without values; see `rows`."""
    return self._at(self.item_rows(items, user))

  def _at(self, rows):
    """Returns the vectors of rows, which may lack those of the last tables."""
    columns = zip(self.tables, rows.T, strict=False)
    return np.concatenate([table[column] for table, column in columns], axis=1)


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
