"""Describes files of records: number of records, fields, and a few examples.

A reader takes the files of one kind and returns {'records': number, 'fields':
{name: text}, 'examples': [...]}. It keeps nothing else in memory.
"""

import collections
import gzip
import json
import pathlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

_GZIP = b'\x1f\x8b'
_LONG = 8  # number of values of a list that are shown


class Damaged(ValueError):
  """Names a file that cannot be read, and the reason."""


def read_records(
  kind: str, paths: Sequence[pathlib.Path], examples: int
) -> dict[str, Any]:
  """Reads the files of a kind.

  Args:
    kind: a name in KINDS.
    paths: paths of the files.
    examples: number of records to show.

  Raises:
    Damaged: a file cannot be read.
  """
  return KINDS[kind](paths, examples)


def shorten(value: Any) -> Any:
  """Converts a value to JSON types; cuts long lists."""
  if isinstance(value, bytes):
    return value.decode(errors='replace')
  if isinstance(value, Mapping):
    return {str(name): shorten(x) for name, x in value.items()}
  if isinstance(value, str | bool | int | float | None):
    return value
  if isinstance(value, Iterable):
    listed = [shorten(x) for x in value]
    rest = len(listed) - _LONG
    return listed if rest <= 0 else [*listed[:_LONG], f'... {rest} more']
  return str(value)


def _tfrecord(paths, examples):
  """Reads tf.Examples; `fields` has type and number of values of each feature."""
  kinds, lengths = {}, collections.defaultdict(lambda: [1 << 62, 0])
  shown, total = [], 0
  for path in paths:
    for record in _records(path):
      total += 1
      values = _values(path, record, kinds)
      for name, x in values.items():
        low, high = lengths[name]
        lengths[name] = [min(low, len(x)), max(high, len(x))]
      if len(shown) < examples:
        shown.append(shorten(values))
  fields = {name: f'{kinds[name]} {_range(*lengths[name])}' for name in sorted(kinds)}
  return {'records': total, 'fields': fields, 'examples': shown}


def _records(path: pathlib.Path) -> Iterator[bytes]:
  """Yields serialized records; recognizes gzip by the first bytes."""
  import tensorflow as tf  # slow; only TFRecord files need it

  number = 0
  try:
    for record in tf.data.TFRecordDataset(str(path), _compression(path)):
      yield record.numpy()
      number += 1
  except tf.errors.OpError as error:
    reason = error.message.split(';')[0]
    raise Damaged(f'{path}: damaged after record {number}: {reason}') from error


def _compression(path):
  """Returns the compression type, by the first bytes of a gzip file."""
  with path.open('rb') as file:
    head = file.read(3)
  return 'GZIP' if head == _GZIP + b'\x08' else ''


def _values(path, record, kinds):
  """Returns {feature: values} of a tf.Example; adds its types to `kinds`."""
  import tensorflow as tf

  try:
    features = tf.train.Example.FromString(record).features.feature
  except Exception as error:  # protobuf raises several types
    raise Damaged(f'{path}: a record is no tf.Example') from error
  values = {}
  for name in sorted(features):
    kind = features[name].WhichOneof('kind')
    kinds.setdefault(name, kind.removesuffix('_list') if kind else 'empty')
    values[name] = getattr(features[name], kind).value if kind else []
  return values


def _range(low, high):
  return f'[{low}]' if low == high else f'[{low}..{high}]'


def _parquet(paths, examples):
  rows, shown, schema = 0, [], None
  for path in paths:
    try:
      with pq.ParquetFile(path) as file:
        rows, schema = rows + file.metadata.num_rows, file.schema_arrow
        few = next(file.iter_batches(max(examples, 1)), None)
        wanted = examples - len(shown)
        shown += [shorten(x) for x in few.to_pylist()[:wanted]] if few else []
    except (pa.ArrowException, OSError) as error:
      raise Damaged(f'{path}: no Parquet file, or damaged: {error}') from error
  fields = {field.name: str(field.type) for field in schema}
  return {'records': rows, 'fields': fields, 'examples': shown}


def _avro(paths, examples):
  rows, shown, fields = 0, [], {}
  for path in paths:
    try:
      with path.open('rb') as file:
        reader = fastavro.reader(file)
        fields = {
          x['name']: _avro_type(x['type']) for x in reader.writer_schema['fields']
        }
        for row in reader:
          rows += 1
          shown += [shorten(row)] if len(shown) < examples else []
    except (ValueError, OSError, EOFError, KeyError, IndexError, zlib.error) as error:
      raise Damaged(f'{path}: no Avro file, or damaged: {error}') from error
  return {'records': rows, 'fields': fields, 'examples': shown}


def _avro_type(kind):
  if isinstance(kind, list):
    return ' or '.join(map(_avro_type, kind))
  if isinstance(kind, dict):
    if kind['type'] == 'array':
      return f'list of {_avro_type(kind["items"])}'
    return kind.get('logicalType', kind['type'])
  return kind


def _json_lines(paths, examples):
  rows, shown, fields = 0, [], collections.Counter()
  for path in paths:
    with path.open('rb') as file:
      zipped = file.read(2) == _GZIP
    number = 0
    try:
      with (gzip.open if zipped else open)(path, 'rb') as file:
        for line in file:
          row = json.loads(line)
          number += 1
          fields.update(list(row) if isinstance(row, dict) else [])
          shown += [shorten(row)] if len(shown) < examples else []
    except (ValueError, OSError, EOFError, zlib.error) as error:
      raise Damaged(f'{path}: damaged at line {number + 1}: {error}') from error
    rows += number
  of = lambda count: 'in every record' if count == rows else f'in {count:,} records'
  fields = {name: of(count) for name, count in fields.items()}
  return {'records': rows, 'fields': fields, 'examples': shown}


_Reader = Callable[[Sequence[pathlib.Path], int], dict[str, Any]]
# suffix -> reader; a file name may have '.gz' after the suffix
KINDS: dict[str, _Reader] = {
  'tfrecord': _tfrecord,
  'parquet': _parquet,
  'avro': _avro,
  'jsonl': _json_lines,
}
