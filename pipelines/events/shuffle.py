"""Packs ratings for the shuffle: a few large elements of packed columns.

An element holds the rows of one block for one shard. It is compressed, because engines
copy elements many times during a shuffle.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

# Schema of ratings in a pipeline; `item` is a row number of the item table.
RATINGS = pa.schema(
  [
    pa.field('user', pa.dictionary(pa.int32(), pa.string()), nullable=False),
    pa.field('item', pa.int32(), nullable=False),
    pa.field('rating', pa.float32(), nullable=False),
    pa.field('timestamp', pa.int64(), nullable=False),
  ]
)
# The same where events have texts; `text` is a row number of the event texts.
RATINGS_AND_TEXTS = RATINGS.append(pa.field('text', pa.int32(), nullable=False))
_DTYPES = {  # users are codes of the dictionary
  'user': np.int32,
  'item': np.int32,
  'rating': np.float32,
  'timestamp': np.int64,
  'text': np.int32,
}
_ZSTD = pa.ipc.IpcWriteOptions(compression=pa.Codec('zstd', 1))


class Shards(Protocol):
  """Divides users into shards, as `pipelines.histories.split.Split` does."""

  def shard_names(self) -> Sequence[str]:
    """Returns the names of all shards."""

  def assign(self, user_ids: pa.Array) -> np.ndarray:
    """Returns the shard of each user [n], as positions in `shard_names`."""


def partition(batch: pa.RecordBatch, split: Shards) -> Iterator[tuple[int, bytes]]:
  """Divides rows by the shard of their user.

  Args:
    batch: [n] rows with the schema RATINGS or RATINGS_AND_TEXTS.
    split: division of users into shards.

  Yields:
    (position in split.shard_names(), packed rows) for every shard that has rows.
  """
  if not batch.num_rows:
    return
  users = batch['user']
  shard = split.assign(users.dictionary)[users.indices.to_numpy()]
  # Shard numbers fit in one or two bytes: then the stable sort is a radix sort, O(n).
  small = shard.astype(np.min_scalar_type(len(split.shard_names())))
  order = np.argsort(small, kind='stable')
  names, starts = np.unique(shard[order], return_index=True)
  for name, rows in zip(names, np.split(order, starts[1:]), strict=True):
    yield int(name), pack(batch.take(pa.array(rows)))


def pack(batch: pa.RecordBatch) -> bytes:
  """Packs rows of a block as bytes, with the ids of their own users only."""
  user = batch['user']
  codes = user.indices.to_numpy()
  present = np.zeros(len(user.dictionary), bool)
  present[codes] = True
  names = user.dictionary.filter(pa.array(present))
  columns = [(np.cumsum(present, dtype=np.int32) - 1)[codes], *batch.columns[1:]]
  planes = [pa.array([_planes(np.asarray(x))], pa.binary()) for x in columns]
  names = pa.ListArray.from_arrays([0, len(names)], names)
  packed = pa.record_batch([names, *planes], ['names', *batch.schema.names])
  sink = pa.BufferOutputStream()
  with pa.ipc.new_stream(sink, packed.schema, options=_ZSTD) as stream:
    stream.write_batch(packed)
  return sink.getvalue().to_pybytes()


def unpack(elements: Iterable[bytes]) -> pa.Table:
  """Unpacks all elements: one chunk per column, and one dictionary of users."""
  batches, schema = [], RATINGS
  for data in elements:
    (packed,) = pa.ipc.open_stream(data)
    schema = RATINGS_AND_TEXTS if 'text' in packed.schema.names else RATINGS
    user, *others = (
      _column(packed[name][0].as_buffer(), _DTYPES[name]) for name in schema.names
    )
    users = pa.DictionaryArray.from_arrays(user, packed['names'].flatten())
    batches.append(pa.record_batch([users, *others], schema=schema))
  table = pa.Table.from_batches(batches, schema)
  return table.unify_dictionaries().combine_chunks()


def _planes(column: np.ndarray) -> bytes:
  """Returns the first bytes of all numbers, then the second bytes, and so on.

  High bytes are similar to each other, and compress well side by side.
  """
  return column.view(np.uint8).reshape(len(column), -1).T.tobytes()


def _column(planes: pa.Buffer, dtype: type) -> np.ndarray:
  """Reverses `_planes`."""
  width = np.dtype(dtype).itemsize
  rows = np.frombuffer(planes, np.uint8).reshape(width, -1).T
  return np.ascontiguousarray(rows).reshape(-1).view(dtype)
