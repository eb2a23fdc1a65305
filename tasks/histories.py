"""What the tasks read: stored histories, parts of them, and the genres of their items.

Where the data lies is set by gin: `data_folders.histories_dir`, `.embeddings_dir`.
"""

import functools
import json
import pathlib
from typing import NamedTuple

import gin
import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf

from tasks import finished, schema
from tasks.labels import LabelRule

_READ = ('user_id', 'history_items', 'history_ratings', 'liked', 'disliked')
_TYPES = {'bytes': tf.string, 'int64': tf.int64, 'float': tf.float32}


def _feature(name: str):
  """Returns TensorFlow's parser of a field of `schema.HISTORY`."""
  kind = _TYPES[schema.HISTORY[name]]
  if name in schema.SCALARS:
    return tf.io.FixedLenFeature([], kind)
  return tf.io.RaggedFeature(kind)


class Folders(NamedTuple):
  """Finished folders of `build_histories` and `embed_items`."""

  histories_dir: str
  embeddings_dir: str


@gin.configurable
def data_folders(
  histories_dir: str = gin.REQUIRED, embeddings_dir: str = gin.REQUIRED
) -> Folders:
  """Where the tasks read."""
  return Folders(histories_dir, embeddings_dir)


class Genres(NamedTuple):
  """Genre names and the genres of every item.

  Attributes:
    names: the G names, sorted.
    of_items: [I, G] bool.
  """

  names: tuple[str, ...]
  of_items: np.ndarray


@functools.cache
def load_genres(histories_dir: str) -> Genres:
  """Reads the item table of a histories folder.

  Raises:
    FileNotFoundError: the folder is not finished, or of another job.
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
  """The rule that the labels of a histories folder were made by."""
  info = json.loads((pathlib.Path(histories_dir) / 'dataset_info.json').read_text())
  return LabelRule(**info['label_rule'])


def read_histories(split: str, shuffle_files: bool, seed: int | None = None):
  """SeqIO source: the histories of a split as dense tensors.

  With `shuffle_files` the users come in an order given by `seed`.
  """
  folder = pathlib.Path(data_folders().histories_dir)
  files = sorted(str(path) for path in folder.glob(f'{split}-*.tfrecord*'))
  if not files:
    raise FileNotFoundError(f'{folder}: no {split}-*.tfrecord in it')
  if shuffle_files:
    files = np.random.default_rng(seed).permutation(files).tolist()
  compression = 'GZIP' if files[0].endswith('.gz') else ''
  records = tf.data.TFRecordDataset(files, compression)
  if shuffle_files:  # as records, which are small; examples with vectors are not
    records = records.shuffle(10_000, seed=seed)
  features = {name: _feature(name) for name in _READ}
  return records.map(lambda x: tf.io.parse_single_example(x, features))


@gin.configurable
def sub_history(
  length: int,
  limit: int,
  rng: np.random.Generator,
  min_items: int = 20,
  window_share: float = 0.5,
) -> np.ndarray:
  """Draws a part of a history.

  Args:
    length: n, items in the history.
    limit: N, items that the model sees at most.
    rng: random generator.
    min_items: the least number of items, where there are so many.
    window_share: share of draws that are a window of consecutive items, as the
      recency sampler gives; the others are random items.

  Returns:
    [m] int64 positions, ascending, so that newest stay first; m is drawn
    log-uniformly from min_items to min(n, N).
  """
  most = min(length, limit)
  low = np.log(min(min_items, most))
  size = int(np.exp(rng.uniform(low, np.log(most + 1))))
  if rng.random() < window_share:
    return np.arange(size) + rng.integers(length - size + 1)
  return np.sort(rng.choice(length, size, replace=False))
