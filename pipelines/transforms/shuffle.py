"""Ratings on their way through the shuffle: a few large elements of packed columns.

One element holds the rows of one block for one shard, as a compressed Arrow stream.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from pipelines import schema
from pipelines.transforms.split import Split


def partition(batch: pa.RecordBatch, split: Split) -> Iterator[tuple[int, bytes]]:
  """Divides rows by the shard of their user.

  Args:
    batch: schema.RATINGS, [n] rows.
    split: how users are divided.

  Yields:
    (position in split.shard_names, packed rows) for every shard that has any.
  """
  if not batch.num_rows:
    return
  users = batch['user']
  shard = split.assign(users.dictionary)[users.indices.to_numpy()]
  # Shards are few: in one byte or two the stable sort is a radix sort, in O(n).
  small = shard.astype(np.min_scalar_type(len(split.shard_names())))
  order = np.argsort(small, kind='stable')
  names, starts = np.unique(shard[order], return_index=True)
  for name, rows in zip(names, np.split(order, starts[1:]), strict=True):
    yield int(name), pack(batch.take(pa.array(rows)))


def pack(batch: pa.RecordBatch) -> bytes:
  """Rows of schema.RATINGS as bytes, with only the users they have."""
  users = batch['user'].dictionary_decode().dictionary_encode()
  columns = [users, *batch.columns[1:]]
  sink = pa.BufferOutputStream()
  options = pa.ipc.IpcWriteOptions(compression='lz4')
  with pa.ipc.new_stream(sink, schema.RATINGS, options=options) as stream:
    stream.write_batch(pa.record_batch(columns, schema=schema.RATINGS))
  return sink.getvalue().to_pybytes()


def unpack(elements: Iterable[bytes]) -> pa.Table:
  """The rows of all elements, one chunk a column and one dictionary of users."""
  batches = [batch for data in elements if data for batch in pa.ipc.open_stream(data)]
  table = pa.Table.from_batches(batches, schema.RATINGS)
  return table.unify_dictionaries().combine_chunks()
