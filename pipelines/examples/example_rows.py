"""Packs rows of examples for the shuffle, as compressed Arrow batches."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipelines.events.shuffle import Shards

# Columns of examples in a pipeline: `item` is a row number of the item table, `time`
# clean.EVER for a question about the whole history, `answer` a position in the options;
# item and answer are -1 where there is none. `id` may be '', `split` is a position in
# schema.SPLITS, or -1.
COLUMNS = {
  'user': pa.string(),
  'item': pa.int32(),
  'time': pa.int64(),
  'answer': pa.int32(),
  'id': pa.string(),
  'split': pa.int8(),
}
_ZSTD = pa.ipc.IpcWriteOptions(compression=pa.Codec('zstd', 1))


def rows_schema(own: Iterable[str]) -> pa.Schema:
  """Returns the schema of rows with some columns of their own, which are texts."""
  return pa.schema([*(COLUMNS | dict.fromkeys(own, pa.string())).items()])


def partition_examples(
  batch: pa.RecordBatch, split: Shards
) -> Iterator[tuple[int, bytes]]:
  """Divides rows by the shard of their user.

  Args:
    batch: [n] rows of `rows_schema`.
    split: division of users into shards.

  Yields:
    (position in split.shard_names(), packed rows) for every shard that has rows.
  """
  if not batch.num_rows:
    return
  users = batch['user'].dictionary_encode()
  shard = split.assign(users.dictionary)[users.indices.to_numpy()]
  order = np.argsort(shard, kind='stable')
  names, starts = np.unique(shard[order], return_index=True)
  for name, rows in zip(names, np.split(order, starts[1:]), strict=True):
    yield int(name), pack_examples(batch.take(pa.array(rows)))


def pack_examples(batch: pa.RecordBatch) -> bytes:
  """Packs rows of `rows_schema` as bytes."""
  sink = pa.BufferOutputStream()
  with pa.ipc.new_stream(sink, batch.schema, options=_ZSTD) as stream:
    stream.write_batch(batch)
  return sink.getvalue().to_pybytes()


def unpack_examples(elements: Sequence[bytes], own: Iterable[str]) -> pa.Table:
  """Unpacks rows, one chunk per column, in an order that their contents alone decide.

  Args:
    elements: packed rows of `rows_schema`.
    own: names of their own columns.
  """
  of = rows_schema(own)
  table = pa.Table.from_batches(
    [batch for data in elements for batch in pa.ipc.open_stream(data)], of
  ).combine_chunks()
  first = ('user', 'time', 'item')
  others = (name for name in of.names if name not in first)
  return table.sort_by([(name, 'ascending') for name in (*first, *others)])
