"""Finds, checks and merges the shards of a finished predictions folder.

The columns of every shard must be those of the question's kind. In Avro and Parquet
files, only the schema and the first row are read; JSON lines have no schema, so every
line is checked.
"""

import base64
import contextlib
import datetime
import hashlib
import json
import math
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

import fastavro
import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.predictions import prediction_files
from tasks import schema, shard_files

_CHUNK = 1 << 20


class RunColumns(NamedTuple):
  """Holds the columns that identify a run.

  Attributes:
    run_id: column run_id.
    predicted_at: column predicted_at.
  """

  run_id: str
  predicted_at: datetime.datetime


Places = Iterator[tuple[str, RunColumns]]  # in files, with what stands there


def find_shards(folder: str, kind: str) -> list[str]:
  """Finds all shards, in order.

  Args:
    folder: a finished predictions folder.
    kind: a name in FORMATS.

  Raises:
    JobError: there are no shards, a shard is missing, or the shards are from several
      tables.
  """
  paths, suffix = storage.names_in(folder), prediction_files.FORMATS[kind][0]
  parsed = {name: shard_files.parse_shard(name) for name in paths}
  shards = {
    name: shard
    for name, shard in parsed.items()
    if shard and shard.table == prediction_files.TABLE
  }
  tables = {(shard.total, shard.ending) for shard in shards.values()}
  if len(tables) != 1 or f'.{suffix}' not in next(iter(tables)):
    raise JobError(
      f'{folder}: expected predictions-*.{suffix} of one table, '
      f'found {sorted(shards) or "no predictions"}'
    )
  ((count, _),) = tables
  wanted = [prediction_files.shard_name(kind, at, count) for at in range(count)]
  if missing := [name for name in wanted if name not in paths]:
    raise JobError(f'{folder}: {missing[0]} is missing; expected {count} files')
  return [paths[name] for name in wanted]


def check_shards(
  paths: Sequence[str], kind: str, columns: schema.Columns = schema.PREDICTIONS
) -> RunColumns | None:
  """Compares the columns of every shard with those of its table.

  Args:
    paths: files of the shards.
    kind: a name in FORMATS.
    columns: columns of the table.

  Returns:
    The run that wrote them; None if no shard has a row.

  Raises:
    JobError: a field is missing, unknown or of another type, a file cannot be read, or
      the rows are of several runs; the message names file, line and field.
  """
  run = None
  for path in paths:
    with _readable(path) as file:
      for place, found in _READERS[kind](path, file, columns):
        for name, value in found._asdict().items():
          if value is None:
            raise JobError(
              f'{place}: field {name} is null; expected the value of the run'
            )
          if run and value != getattr(run, name):
            raise JobError(
              f'{place}: field {name} is {value}; expected {getattr(run, name)}, as '
              'in the rows before: a folder holds one run'
            )
        run = found
  return run


def digest_shards(paths: Sequence[str]) -> str:
  """Computes a digest of the files' names and CRC32C, independent of the folder."""
  sums = [[FileSystems.split(path)[1], _crc32c(path)] for path in paths]
  return hashlib.sha256(json.dumps(sums).encode()).hexdigest()


def merge_shards(
  paths: Sequence[str],
  kind: str,
  sink: IO[bytes],
  columns: schema.Columns = schema.PREDICTIONS,
) -> None:
  """Merges all shards into one file, in order; Avro and JSON rows are not decoded.

  Args:
    paths: shards that `check_shards` accepts.
    kind: a name in FORMATS.
    sink: file that is open for writing.
    columns: columns of the table.
  """
  with contextlib.ExitStack() as stack:
    files = [stack.enter_context(_readable(path)) for path in paths]
    _MERGERS[kind](files, sink, columns)


def _crc32c(path):
  """Returns the CRC32C in the form of a bucket: copies of a folder have the same."""
  if path.startswith('gs://'):
    return FileSystems.checksum(path)
  total = google_crc32c.Checksum()
  with _open(path) as file:
    while chunk := file.read(_CHUNK):
      total.update(chunk)
  return base64.b64encode(total.digest()).decode()


def _open(path):
  return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


@contextlib.contextmanager
def _readable(path):
  """Opens a file; errors of a format's reader become a JobError."""
  with storage.explained(path), _open(path) as file:
    try:
      yield file
    except JobError:
      raise
    except (ValueError, EOFError, LookupError, zlib.error) as error:
      raise JobError(f'{path}: damaged: {error}') from error


def _compare(path: str, found: Mapping[str, str], expected: Mapping[str, str]):
  """Raises a JobError that names the first field in which two schemas differ."""
  for name in [*expected, *found]:
    if name not in found:
      raise JobError(f'{path}: no field {name}; expected {expected[name]}')
    if name not in expected:
      raise JobError(f'{path}: unknown field {name}; expected {[*expected]}')
    if found[name] != expected[name]:
      raise JobError(
        f'{path}: field {name} is {found[name]}; expected {expected[name]}'
      )


def _arrow_types(fields: pa.Schema) -> dict[str, str]:
  types = {}
  for field in fields:
    # Writers choose the name of a list's child, so it is not compared.
    repeated = pa.types.is_list(field.type)
    kind = f'list<{field.type.value_type}>' if repeated else str(field.type)
    types[field.name] = kind if field.nullable else f'{kind} not null'
  return types


def _avro_types(record: Mapping[str, Any]) -> dict[str, str]:
  return {
    field['name']: json.dumps(field['type'], sort_keys=True)
    for field in record['fields']
  }


def _parquet(path: str, file: IO[bytes], columns) -> Places:
  reader = pq.ParquetFile(file)
  expected = _arrow_types(schema.predictions_arrow(columns))
  _compare(path, _arrow_types(reader.schema_arrow), expected)
  for batch in reader.iter_batches(batch_size=1, columns=list(RunColumns._fields)):
    yield path, RunColumns(**batch.to_pylist()[0])
    return


def _avro(path: str, file: IO[bytes], columns) -> Places:
  reader = fastavro.reader(file)
  expected = _avro_types(prediction_files.avro_schema(columns))
  _compare(path, _avro_types(reader.writer_schema), expected)
  for row in reader:
    yield path, RunColumns(row['run_id'], row['predicted_at'])
    return


def _json(path: str, file: IO[bytes], columns) -> Places:
  columns = {column.name: column for column in columns}
  expected = {name: f'{column.mode} {column.kind}' for name, column in columns.items()}
  for number, line in enumerate(file, start=1):
    place = f'{path}:{number}'
    try:
      row = json.loads(line)
    except ValueError as error:
      raise JobError(f'{place}: no JSON: {error}') from error
    if not isinstance(row, dict):
      raise JobError(f'{place}: {row!r}; expected an object')
    fits = {
      name: expected[name]
      if name in columns and _fits(value, columns[name])
      else json.dumps(value, ensure_ascii=False)
      for name, value in row.items()
    }
    _compare(place, fits, expected)
    time = row['predicted_at']
    yield place, RunColumns(row['run_id'], time and _to_time(time))


def _fits(value: Any, column: schema.Column) -> bool:
  """Tells whether BigQuery accepts a JSON value for a column."""
  fits = _JSON_TYPES[column.kind]
  if column.mode == 'REPEATED':
    return isinstance(value, list) and all(map(fits, value))
  return column.mode == 'NULLABLE' if value is None else fits(value)


def _to_time(text: str) -> datetime.datetime:
  """Parses a time; raises ValueError if it is not a time with a zone."""
  time = datetime.datetime.fromisoformat(text)
  if time.tzinfo is None:
    raise ValueError(f'{text}: no time zone')
  return time


def _is_time(value):
  try:
    return isinstance(value, str) and bool(_to_time(value))
  except ValueError:
    return False


_JSON_TYPES = {
  'STRING': lambda value: isinstance(value, str),
  'FLOAT64': lambda value: type(value) in (int, float) and math.isfinite(value),
  'BOOL': lambda value: isinstance(value, bool),
  'INT64': lambda value: type(value) is int and -(2**63) <= value < 2**63,
  'TIMESTAMP': _is_time,
}
_READERS = {'parquet': _parquet, 'avro': _avro, 'json': _json}


def _merge_parquet(files, sink, columns):
  with pq.ParquetWriter(sink, schema.predictions_arrow(columns)) as writer:
    for file in files:
      reader = pq.ParquetFile(file)
      for group in range(reader.num_row_groups):
        writer.write_table(reader.read_row_group(group))


def _merge_avro(files, sink, columns):
  record = prediction_files.avro_schema(columns)
  writer = fastavro.write.Writer(sink, record, codec='deflate')
  for file in files:
    for block in fastavro.block_reader(file):
      writer.write_block(block)
  writer.flush()


def _merge_json(files, sink, columns):
  del columns
  for file in files:
    shutil.copyfileobj(file, sink, _CHUNK)


_MERGERS = {'parquet': _merge_parquet, 'avro': _merge_avro, 'json': _merge_json}
