"""Reads the records of TFRecord files in any order, each by its number."""

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_HEAD, _FRAME = 12, 16  # bytes of a record's frame: before its content, and in all


class NumberedRecords:
  """Finds each record of some TFRecord files.

  Only the places of the records are kept in memory, 24 bytes for each. Compressed files
  cannot be entered, so their records are kept themselves.
  """

  def __init__(self, files: Sequence[str]):
    """Reads all files once, which also checks their checksums.

    Args:
      files: paths; the files are all compressed, with names that end in .gz, or none.

    Raises:
      ValueError: a file is damaged.
    """
    compression = 'GZIP' if files[0].endswith('.gz') else ''
    read = lambda path: tf.data.TFRecordDataset(path, compression)
    self._files, self._kept = files, None
    try:
      if compression:
        self._kept = list(read(list(files)).as_numpy_iterator())
        count = len(self._kept)
      else:
        self._places = _places(files, read)
        count = len(self._places)
    except tf.errors.DataLossError as error:
      raise ValueError(f'{_damaged(files, read)}: {error.message}') from error
    self._count = count

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

  @functools.lru_cache(maxsize=4)  # noqa: B019  as long-lived as the process
  def _order(self, seed, epoch):
    return np.random.default_rng([seed, epoch]).permutation(len(self))

  def _read(self, number):
    if self._kept is not None:
      return self._kept[number]
    file, start, size = self._places[number].tolist()
    with open(self._files[file], 'rb') as opened:
      opened.seek(start)
      return opened.read(size)


def _places(files, read):
  """Returns [records, 3] int64: number of the file, first byte, size."""
  of_file = lambda number, path: read(path).map(
    lambda x: (number, tf.strings.length(x))
  )
  pairs = tf.data.Dataset.from_tensor_slices(list(files)).enumerate()
  batches = pairs.flat_map(of_file).batch(10_000).as_numpy_iterator()
  columns = [np.stack([number, size], axis=1) for number, size in batches]
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
