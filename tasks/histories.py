"""Reads stored histories, the genres of their items and the label rule; draws parts.

The folders with the data are gin parameters: `data_folders.histories_dir`,
`.embeddings_dir`.
"""

import functools
import json
import logging
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import gin
import numpy as np
import pyarrow.parquet as pq
import seqio
import tensorflow as tf

from persoma_tf import recipes
from persoma_tf.setting_types import Amount, Count, Positive
from tasks import finished, schema, shard_files
from tasks.history_columns import FEATURES
from tasks.labels import LabelRule
from tasks.numbered_records import NumberedRecords, state_of

logger = logging.getLogger(__name__)
_READ = ('user_id', *FEATURES, 'liked', 'disliked')
_READ_AT_ONCE = 32
_TYPES = {'bytes': tf.string, 'int64': tf.int64, 'float': tf.float32}


def _feature(name: str):
  """Returns the TensorFlow feature of a field; where it is absent, it gives nothing."""
  kind = _TYPES[{**schema.HISTORY, **schema.HISTORY_TEXTS}[name]]
  if name in schema.SCALARS:
    return tf.io.FixedLenFeature([], kind)
  return tf.io.RaggedFeature(kind)


class Folders(NamedTuple):
  """Names the folders that the tasks read.

  Attributes:
    histories_dir: finished folder of `pipelines.build_histories`.
    embeddings_dir: finished folder of `pipelines.embed_items`.
  """

  histories_dir: str
  embeddings_dir: str


@gin.configurable
def data_folders(
  histories_dir: str = gin.REQUIRED, embeddings_dir: str = gin.REQUIRED
) -> Folders:
  """Returns the folders that the tasks read.

  Args:
    histories_dir: finished folder of `pipelines.build_histories`.
    embeddings_dir: finished folder of `pipelines.embed_items`.
  """
  return Folders(histories_dir, embeddings_dir)


class Genres(NamedTuple):
  """Holds the genre names and the genres of every item.

  Attributes:
    names: names of the G genres, sorted.
    of_items: [I, G] bool, True where an item has a genre.
  """

  names: tuple[str, ...]
  of_items: np.ndarray


@functools.cache
def load_genres(histories_dir: str) -> Genres:
  """Reads the genres from a histories folder.

  Raises:
    FileNotFoundError: the folder is not finished, or another job made it.
  """
  folder = finished.check_finished(histories_dir, 'pipelines.build_histories')
  names = json.loads((folder / 'dataset_info.json').read_text())['genres']
  listed = pq.read_table(folder / 'items.parquet', columns=['genres'])['genres']
  of_items = np.zeros((len(listed), len(names)), bool)
  for row, genres in enumerate(listed.to_pylist()):
    of_items[row, [names.index(name) for name in genres]] = True
  return Genres(tuple(names), of_items)


@functools.cache
def load_rule(histories_dir: str) -> LabelRule:
  """Reads the rule that made the labels of a histories folder.

  Raises:
    ValueError: these histories have no labels.
  """
  info = json.loads((pathlib.Path(histories_dir) / 'dataset_info.json').read_text())
  finished.check_labels(histories_dir, info)
  return LabelRule(**info['label_rule'])


@gin.configurable
def stored_length(most: Positive = 100, length: Count = 0) -> int:
  """Returns the length of the longest history that can be stored, for recipes.

  Args:
    most: largest length to return.
    length: the length, which the first call keeps, so that a model reads as much of
      other histories as of those that it was trained on; 0 for the folder's.
  """
  if not length:
    folder = pathlib.Path(data_folders().histories_dir)
    info = json.loads((folder / 'dataset_info.json').read_text())
    length = min(most, info.get('max_history', most))
    recipes.bind_parameter('stored_length.length', length)
  return length


@gin.configurable
def shortest_part() -> int:
  """Returns the length of the shortest part of a history to train on, for recipes.

  It is a fifth of the longest history, as 20 items of 100.
  """
  return max(1, stored_length() // 5)


@functools.cache
def load_scale(histories_dir: str) -> tuple[float, float]:
  """Reads the lowest and the highest rating of the scale of a histories folder."""
  info = json.loads((pathlib.Path(histories_dir) / 'dataset_info.json').read_text())
  low, high, *_ = map(float, info.get('rating_scale', '0.5:5').split(':'))
  return low, high


def _history_files(split: str) -> list[str]:
  """Lists the files of a split; raises as `read_histories` does."""
  folder = pathlib.Path(data_folders().histories_dir)
  names = [path.name for path in folder.glob('*')]
  names = shard_files.shard_files(names, [split], shard_files.HISTORY_ENDINGS)
  files = [str(folder / name) for name in names]
  if not files:
    raise FileNotFoundError(f'{folder}: no {split}-*.tfrecord in it')
  users = json.loads((folder / 'dataset_info.json').read_text())['counts']['users']
  if split == 'validation' and not users[split]:
    logger.warning('%s has no users for validation: there is none', folder)
  else:
    finished.check_users(str(folder), split, users)
  return files


def _parse(record: tf.Tensor) -> dict[str, tf.Tensor]:
  return tf.io.parse_single_example(record, {name: _feature(name) for name in _READ})


def read_histories(split: str, shuffle_files: bool, seed: int | None = None):
  """Reads the histories of a split as dense tensors, as a source of SeqIO.

  Args:
    split: name of the split, one of `schema.SPLITS`.
    shuffle_files: whether to shuffle the files and the records in them.
    seed: seed of the shuffling.

  Raises:
    FileNotFoundError: the folder has no files of this split.
    ValueError: the split has no users, and is not for validation.
  """
  files = _history_files(split)
  return open_records(files, shuffle_files, seed).map(_parse)


def open_records(
  files: list[str], shuffle: bool = False, seed: int | None = None
) -> tf.data.Dataset:
  """Opens the serialized records of files, all of which are compressed, or none.

  Args:
    files: paths of the files.
    shuffle: whether to shuffle the files and the records in them.
    seed: seed of the shuffling.
  """
  if shuffle:
    files = np.random.default_rng(seed).permutation(files).tolist()
  compression = 'GZIP' if files[0].endswith('.gz') else ''
  records = tf.data.TFRecordDataset(files, compression)
  # Here, since records are small and examples with vectors large.
  return records.shuffle(10_000, seed=seed) if shuffle else records


_records_of = functools.cache(NumberedRecords)  # once, until a file changes


def load_records(
  files: tuple[str, ...], keep: Callable[[tf.Tensor], tf.Tensor] | None = None
) -> NumberedRecords:
  """Loads the records of files, once until a file changes.

  Args:
    files: paths of the files.
    keep: see `NumberedRecords`.

  Raises:
    ValueError: a file is damaged.
  """
  return _records_of(files, tuple(state_of(os.stat(path)) for path in files), keep)


class HistorySource(seqio.FunctionDataSource):
  """Gives SeqIO the histories; the trainer enters them by index."""

  def __init__(self, read: Callable = read_histories):
    """Makes the source of all splits; `read` is a function like `read_histories`."""
    super().__init__(read, splits=schema.SPLITS)

  def records(self, split: str) -> NumberedRecords:
    """Returns the records of a split; raises as `from_index` does."""
    return load_records(tuple(_history_files(split)))

  def parse(self, record: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses a record."""
    return _parse(record)

  def from_index(
    self, split: str, seed: int, start: int | tf.Tensor
  ) -> tf.data.Dataset:
    """Reads histories in an endless sequence with every user once in each epoch.

    Args:
      split: name of the split, one of `schema.SPLITS`.
      seed: seed of the order, from 0.
      start: number of histories of the sequence to leave out.

    Returns:
      Histories like those of `read_histories`. Each has a field `seed` [2] int32 for
      its own random choices, which differ from epoch to epoch.

    Raises:
      FileNotFoundError: the folder has no files of this split.
      ValueError: a file is damaged, or the split has no users and is not for
        validation.
    """
    with tf.init_scope():  # outside of the graph that the trainer may be building
      files = self.records(split)
    draw = lambda at: tf.numpy_function(files.drawn, [at, seed], tf.string)
    # A call into Python costs more than reading a few records.
    stop = tf.int64.max if len(files) else start  # without users there is no sequence
    places = tf.data.Dataset.range(start, stop).batch(_READ_AT_ONCE)
    records = places.map(lambda at: tf.ensure_shape(draw(at), [None])).unbatch()
    numbers = tf.data.Dataset.range((seed << 32) + start, tf.int64.max)
    return tf.data.Dataset.zip(records, numbers).map(
      lambda record, number: self.parse(record) | {'seed': tf.bitcast(number, tf.int32)}
    )


@gin.configurable('sub_history')
def history_parts(
  min_items: Positive = 20, window_share: Amount = 0.5
) -> Callable[[int, int, np.random.Generator], np.ndarray]:
  """Returns `sub_history` with the recipe's settings, which gin is asked for once.

  Args:
    min_items: see `sub_history`.
    window_share: see `sub_history`.
  """
  return functools.partial(sub_history, min_items=min_items, window_share=window_share)


def sub_history(
  length: int,
  limit: int,
  rng: np.random.Generator,
  min_items: int = 20,
  window_share: float = 0.5,
) -> np.ndarray:
  """Draws a part of a history.

  Args:
    length: n, number of items in the history.
    limit: N, maximum number of items that the model sees.
    rng: random generator.
    min_items: minimum number of items in a part; a shorter history is its only part.
    window_share: share of draws that are a window of consecutive items, as from the
      recency sampler; all other draws are random items.

  Returns:
    [m] int64 positions in ascending order, so the newest item stays first; m is drawn
    log-uniformly from min_items to min(n, N).
  """
  longest = min(length, limit)
  low = np.log(min(min_items, longest))
  size = int(np.exp(rng.uniform(low, np.log(longest + 1))))
  if rng.random() < window_share:
    return np.arange(size) + rng.integers(length - size + 1)
  return np.sort(rng.choice(length, size, replace=False))
