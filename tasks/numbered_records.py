"""Reads the records of TFRecord files in any order, each by its number."""

import functools
import itertools
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

_HEAD, _FRAME = 12, 16  # bytes of a record's frame: before its content, and in all


class NumberedRecords:
  """Finds each record of some TFRecord files.

  Only the places of the records are kept in memory, 24 bytes for each. Compressed files
  cannot be entered, so their records are kept themselves.

  Attributes:
    left_out: number of records that `keep` left out.
  """

  def __init__(
    self,
    files: Sequence[str],
    states: Sequence[tuple[int, int]],
    keep: Callable[[tf.Tensor], tf.Tensor] | None = None,
  ):
    """Reads all files once, which also checks their checksums.

    Args:
      files: paths; the files are all compressed, with names that end in .gz, or none.
      states: `state_of` each file; records are read only while it stays the same.
      keep: function from the contents of records [n] string to [n] bool, False for
        those that are left out; None to keep all.

    Raises:
      ValueError: a file is damaged.
    """
    compression = 'GZIP' if files[0].endswith('.gz') else ''
    read = lambda path: tf.data.TFRecordDataset(path, compression)
    self._files, self._states, self._kept = files, states, None
    self.left_out = 0
    try:
      if compression:
        self._kept = list(read(list(files)).as_numpy_iterator())
        count = len(self._kept)
      else:
        self._places = _places(files, read)
        count = len(self._places)
      if keep:
        count = self._leave_out(read(list(files)), keep)
    except tf.errors.DataLossError as error:
      raise ValueError(f'{_damaged(files, read)}: {error.message}') from error
    self._count = count

  def _leave_out(self, records, keep):
    """Forgets the places of records that are not kept; returns how many are left."""
    parts = records.batch(1_000).map(keep).as_numpy_iterator()
    kept = np.concatenate([np.zeros(0, bool), *parts])
    self.left_out = int((~kept).sum())
    if self._kept is not None:
      self._kept = list(itertools.compress(self._kept, kept))
    else:
      self._places = self._places[kept]
    return int(kept.sum())

  def __len__(self) -> int:
    """Returns the number of records."""
    return self._count

  def drawn(self, positions: np.ndarray, seed: int) -> np.ndarray:
    """Reads records by their positions in an endless sequence.

    Every epoch of the sequence has each record once. Its order follows from the seed
    and the epoch alone, so the sequence can be entered at any position.

    Args:
      positions: [n] int64, from 0.
      seed: seed of the order.

    Returns:
      [n] contents of the records, as bytes.
    """
    epochs, places = np.divmod(positions, len(self))
    pairs = zip(epochs.tolist(), places.tolist(), strict=True)
    numbers = [self._order(seed, epoch)[place] for epoch, place in pairs]
    return np.array([self._read(number) for number in numbers], object)

  @functools.lru_cache(maxsize=32)  # noqa: B019  as long-lived as the process
  def _order(self, seed, epoch):
    return np.random.default_rng([seed, epoch]).permutation(len(self))

  def _read(self, number):
    if self._kept is not None:
      return self._kept[number]
    file, start, size = self._places[number].tolist()
    with open(self._files[file], 'rb') as opened:
      if state_of(os.fstat(opened.fileno())) != self._states[file]:
        raise ValueError(
          f'{self._files[file]} has changed since the training began: start the '
          'training again'
        )
      opened.seek(start)
      return opened.read(size)


def state_of(facts: os.stat_result) -> tuple[int, int]:
  """Returns what changes when a file is written: its size and the time of change."""
  return facts.st_size, facts.st_mtime_ns


def _places(files, read):
  """Returns [records, 3] int64: number of the file, first byte, size."""

  def of_file(number, path):
    sizes = read(path).batch(1_000).map(tf.strings.length)
    return sizes.map(lambda x: tf.stack([tf.fill(tf.shape(x), number), x], axis=1))

  numbers = tf.data.Dataset.range(len(files), output_type=tf.int32)
  pairs = tf.data.Dataset.zip(numbers, tf.data.Dataset.from_tensor_slices(list(files)))
  columns = list(pairs.flat_map(of_file).as_numpy_iterator())
  file, size = np.concatenate([np.zeros((0, 2), np.int64), *columns]).T
  end = np.cumsum(size + _FRAME)
  first = np.searchsorted(file, np.arange(len(files)))  # first record of each file
  before = np.concatenate([[0], end])[first]
  return np.stack([file, end - size - _FRAME + _HEAD - before[file], size], axis=1)


def _damaged(files, read):
  """Returns the first file that cannot be read to its end."""
  for path in files:
    try:
      for _ in read(path):
        pass
    except tf.errors.DataLossError:
      return path
  return files[0]
