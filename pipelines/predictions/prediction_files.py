"""Writes and reads the files of the prediction table, which BigQuery can load."""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.common import storage
from tasks import schema, shard_files
from tasks.finished import COMPLETED

TABLE = 'predictions'  # begins the names of its files
PredictionRows = Sequence[Mapping[str, Any]]


def shard_name(kind: str, number: int, total: int) -> str:
  """Returns the file name of a shard of the table; `kind` is a name in FORMATS."""
  return f'{TABLE}-{number:05}-of-{total:05}.{FORMATS[kind][0]}'


def folders_of_questions(folder: str) -> dict[str, str]:
  """Returns the folder of each question's table.

  Args:
    folder: finished folder of predictions, or one with a finished folder of each
      question.

  Returns:
    Name of the question -> its folder; '' -> `folder` if it is not divided.
  """
  ends = [name.rpartition('/') for name in storage.names_in(folder)]
  found = {place for place, _, name in ends if name == COMPLETED}
  if '' in found or not found:
    return {'': folder}
  return {name: f'{folder.rstrip("/")}/{name}' for name in sorted(found)}


def to_bytes(
  rows: PredictionRows, kind: str, columns: schema.Columns = schema.PREDICTIONS
) -> bytes:
  """Returns the contents of a file.

  Args:
    rows: rows with a value for every column.
    kind: a name in FORMATS.
    columns: columns of the table.
  """
  return FORMATS[kind][1](rows, columns)


def _parquet(
  rows: PredictionRows, columns: schema.Columns = schema.PREDICTIONS
) -> bytes:
  arrow = schema.predictions_arrow(columns)
  table = pa.Table.from_pylist(list(rows), schema=arrow)
  return storage.to_parquet(table)


def _json(rows: PredictionRows, columns: schema.Columns = schema.PREDICTIONS) -> bytes:
  lines = []
  for row in rows:
    ordered = {column.name: row[column.name] for column in columns}
    ordered['predicted_at'] = row['predicted_at'].isoformat()
    lines.append(json.dumps(ordered, ensure_ascii=False) + '\n')
  return ''.join(lines).encode()


_AVRO_TYPES = {
  'STRING': 'string',
  'FLOAT64': 'double',
  'BOOL': 'boolean',
  'INT64': 'long',
  'TIMESTAMP': {'type': 'long', 'logicalType': 'timestamp-micros'},
}


def avro_schema(columns: schema.Columns = schema.PREDICTIONS) -> dict[str, Any]:
  """Returns the Avro schema of a prediction table with these columns."""
  fields = []
  for column in columns:
    kind = _AVRO_TYPES[column.kind]
    modes = {
      'REQUIRED': kind,
      'NULLABLE': ['null', kind],
      'REPEATED': {'type': 'array', 'items': kind},
    }
    fields.append({'name': column.name, 'type': modes[column.mode]})
  return {'type': 'record', 'name': 'prediction', 'fields': fields}


def _avro(rows: PredictionRows, columns: schema.Columns = schema.PREDICTIONS) -> bytes:
  sink = io.BytesIO()
  # Without this argument, the marker between blocks is random.
  marker = bytes(16)
  record = avro_schema(columns)
  fastavro.writer(sink, record, rows, codec='deflate', sync_marker=marker)
  return sink.getvalue()


# name -> (suffix, writer)
FORMATS: dict[str, tuple[str, Callable[..., bytes]]] = {
  'avro': ('avro', _avro),
  'parquet': ('parquet', _parquet),
  'json': ('jsonl', _json),
}


def read_predictions(folder: str, kind: str) -> list[dict[str, Any]]:
  """Reads the rows of a predictions folder; arguments as for `read_shards`."""
  return [row for rows in read_shards(folder, kind) for row in rows]


def read_shards(folder: str, kind: str) -> Iterator[list[dict[str, Any]]]:
  """Reads the rows of a predictions folder, shard by shard.

  Args:
    folder: local path or address of the folder.
    kind: a name in FORMATS.
  """
  paths = storage.names_in(folder)
  for name in shard_files.shard_files(paths, [TABLE], [f'.{FORMATS[kind][0]}']):
    data = storage.read_file(paths[name])
    if kind == 'parquet':
      yield pq.read_table(pa.BufferReader(data)).to_pylist()
    elif kind == 'avro':
      yield list(fastavro.reader(io.BytesIO(data)))
    else:
      yield [json.loads(line) for line in data.splitlines()]
