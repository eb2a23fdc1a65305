"""Shards of a predictions folder: their columns against the schema, and as one file."""

import io
import json
import re

import fastavro
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq
import pytest

from pipelines.common.job import JobError
from pipelines.predictions import finished_shards, prediction_files
from tasks import schema
from tests import predictions

ROWS = predictions.rows(25)
SHARDS = [ROWS[:10], [], ROWS[10:]]
find = finished_shards.find_shards


@pytest.mark.parametrize('kind', prediction_files.FORMATS)
@pytest.mark.parametrize('shards', [SHARDS, [ROWS], [[], ROWS]])
def test_good_shards(tmp_path, kind, shards):
  paths = find(predictions.write(tmp_path, shards, kind), kind)
  assert len(paths) == len(shards)
  assert finished_shards.check_shards(paths, kind) == ('run-1', predictions.TIME)


@pytest.mark.parametrize('kind', prediction_files.FORMATS)
def test_no_rows(tmp_path, kind):
  paths = find(predictions.write(tmp_path, [[], []], kind), kind)
  assert finished_shards.check_shards(paths, kind) is None
  sink = io.BytesIO()
  finished_shards.merge_shards(paths, kind, sink)
  assert (read(sink.getvalue(), kind) if kind != 'json' else [*sink.getvalue()]) == []


def read(data: bytes, kind: str) -> list[dict]:
  """By readers other than the project's."""
  if kind == 'parquet':
    return pq.read_table(io.BytesIO(data)).to_pylist()
  if kind == 'avro':
    return list(fastavro.reader(io.BytesIO(data)))
  columns = pa.json.ParseOptions(explicit_schema=schema.predictions_arrow())
  return pa.json.read_json(io.BytesIO(data), parse_options=columns).to_pylist()


@pytest.mark.parametrize('kind', prediction_files.FORMATS)
def test_merged(tmp_path, kind):
  paths = find(predictions.write(tmp_path, SHARDS, kind), kind)
  sink = io.BytesIO()
  finished_shards.merge_shards(paths, kind, sink)
  assert read(sink.getvalue(), kind) == ROWS


def test_digest_is_of_names_and_contents(tmp_path):
  paths = find(predictions.write(tmp_path / 'a', SHARDS), 'parquet')
  copy = find(predictions.write(tmp_path / 'b', SHARDS), 'parquet')
  other = find(predictions.write(tmp_path / 'c', [*SHARDS[:2], ROWS[11:]]), 'parquet')
  assert finished_shards.digest_shards(paths) == finished_shards.digest_shards(copy)
  assert finished_shards.digest_shards(paths) != finished_shards.digest_shards(other)


def test_checksum_is_that_of_a_bucket(tmp_path):
  (tmp_path / 'x').write_bytes(b'123456789')
  # The check value of CRC-32C, e3069283, big-endian in Base64.
  assert finished_shards._crc32c(str(tmp_path / 'x')) == '4waSgw=='


@pytest.mark.parametrize(
  ('change', 'reason'),
  [
    (lambda x: x.drop('text'), 'no field text; expected string'),
    (lambda x: x.add('mood', pa.string()), 'unknown field mood'),
    (lambda x: x.set('log_prob', pa.float32()), 'log_prob is float; expected double'),
    (
      lambda x: x.set('predicted_at', pa.timestamp('us')),
      r'predicted_at is timestamp\[us\]; expected timestamp\[us, tz=UTC\]',
    ),
    (
      lambda x: x.set('user_id', pa.string()),
      'user_id is string; expected string not null',
    ),
    (
      lambda x: x.set('predicted_liked', pa.list_(pa.int64()), False),
      'predicted_liked is list<int64> not null; expected list<string> not null',
    ),
    (lambda x: x.set('predicted_liked', pa.string()), 'predicted_liked is string;'),
  ],
)
def test_parquet_of_another_schema(tmp_path, change, reason):
  paths = find(predictions.write(tmp_path, SHARDS), 'parquet')
  pq.write_table(change(Fields(schema.predictions_arrow())).empty(), paths[1])
  with pytest.raises(JobError, match=f'^{paths[1]}: .*{reason}'):
    finished_shards.check_shards(paths, 'parquet')


class Fields:
  """An Arrow schema that can be changed by name."""

  def __init__(self, fields: pa.Schema):
    self._fields = fields

  def drop(self, name):
    return Fields(self._fields.remove(self._fields.get_field_index(name)))

  def add(self, name, kind):
    return Fields(self._fields.append(pa.field(name, kind)))

  def set(self, name, kind, nullable=True):
    at = self._fields.get_field_index(name)
    return Fields(self._fields.set(at, pa.field(name, kind, nullable)))

  def empty(self):
    return self._fields.empty_table()


@pytest.mark.parametrize(
  ('name', 'kind', 'reason'),
  [
    ('text', None, 'no field text'),
    ('mood', 'string', 'unknown field mood'),
    ('user_id', ['null', 'string'], 'user_id is .*null.*; expected "string"'),
    ('log_prob', ['null', 'float'], 'log_prob is .*"float".*; expected .*"double"'),
    ('predicted_at', ['null', 'long'], 'predicted_at is .*timestamp-micros'),
    ('predicted_liked', {'type': 'array', 'items': 'long'}, 'predicted_liked is'),
  ],
)
def test_avro_of_another_schema(tmp_path, name, kind, reason):
  paths = find(predictions.write(tmp_path, SHARDS, 'avro'), 'avro')
  record = prediction_files.avro_schema()
  types = {field['name']: field['type'] for field in record['fields']}
  types[name] = kind
  record['fields'] = [{'name': x, 'type': y} for x, y in types.items() if y]
  with open(paths[1], 'wb') as file:
    fastavro.writer(file, record, [])
  with pytest.raises(JobError, match=f'^{paths[1]}: .*{reason}'):
    finished_shards.check_shards(paths, 'avro')


BAD_VALUES = [
  ('user_id', None),
  ('user_id', 7),
  ('predicted_liked', None),
  ('predicted_liked', 'War'),
  ('predicted_liked', ['War', None]),
  ('text', ['War']),
  ('log_prob', '-1.5'),
  ('log_prob', True),
  ('log_prob', float('nan')),
  ('parse_ok', 1),
  ('history_length', 1.5),
  ('history_length', False),
  ('history_length', 2**63),
  ('predicted_at', 1772409599),
  ('predicted_at', 'yesterday'),
  ('predicted_at', '2026-03-01T23:59:59'),  # of which zone?
]


@pytest.mark.parametrize(('name', 'value'), BAD_VALUES)
def test_json_lines_of_other_types(tmp_path, name, value):
  paths = find(predictions.write(tmp_path, SHARDS, 'json'), 'json')
  change_line(paths[2], 3, **{name: value})
  reason = f'{paths[2]}:3: field {name} is {re.escape(json.dumps(value))}; expected '
  with pytest.raises(JobError, match=reason):
    finished_shards.check_shards(paths, 'json')


def change_line(path, number, **changes):
  with open(path) as file:
    lines = file.readlines()
  lines[number - 1] = json.dumps({**json.loads(lines[number - 1]), **changes}) + '\n'
  with open(path, 'w') as file:
    file.writelines(lines)


@pytest.mark.parametrize(
  ('line', 'reason'),
  [
    (b'{"user_id": "1"}\n', 'no field predicted_liked; expected REPEATED STRING'),
    (b'[]\n', r'\[\]; expected an object'),
    (b'{"user_id": \n', 'no JSON'),
    (b'\xff\n', 'no JSON'),
    (b'\n', 'no JSON'),
  ],
)
def test_bad_json_lines(tmp_path, line, reason):
  paths = find(predictions.write(tmp_path, SHARDS, 'json'), 'json')
  with open(paths[0], 'ab') as file:
    file.write(line)
  with pytest.raises(JobError, match=f'^{paths[0]}:11: {reason}'):
    finished_shards.check_shards(paths, 'json')


def test_unknown_json_field(tmp_path):
  paths = find(predictions.write(tmp_path, SHARDS, 'json'), 'json')
  change_line(paths[2], 15, mood='good')
  with pytest.raises(JobError, match=f'{paths[2]}:15: unknown field mood'):
    finished_shards.check_shards(paths, 'json')


@pytest.mark.parametrize('kind', prediction_files.FORMATS)
@pytest.mark.parametrize(
  ('changes', 'reason'),
  [
    ({'run_id': 'run-2'}, 'field run_id is run-2; expected run-1'),
    ({'predicted_at': predictions.TIME.replace(day=2)}, 'predicted_at is 2026-03-02'),
    ({'run_id': None}, 'field run_id is null'),
  ],
)
def test_rows_of_another_run(tmp_path, kind, changes, reason):
  other = [{**row, **changes} for row in ROWS[10:]]
  paths = find(predictions.write(tmp_path, [ROWS[:10], other], kind), kind)
  with pytest.raises(JobError, match=f'^{paths[1]}.*{reason}'):
    finished_shards.check_shards(paths, kind)


@pytest.mark.parametrize('kind', prediction_files.FORMATS)
def test_rows_without_a_time(tmp_path, kind):
  paths = find(predictions.write(tmp_path, [ROWS], kind), kind)
  if kind == 'json':  # the project's own writer writes none
    change_line(paths[0], 1, predicted_at=None)
  else:
    predictions.write(tmp_path, [predictions.rows(2, predicted_at=None)], kind)
  with pytest.raises(JobError, match=f'^{paths[0]}.* field predicted_at is null'):
    finished_shards.check_shards(paths, kind)


@pytest.mark.parametrize('kind', ['parquet', 'avro'])
@pytest.mark.parametrize('data', [b'', b'PAR1', b'Obj\x01', b'no table at all\n' * 99])
def test_damaged_files(tmp_path, kind, data):
  paths = find(predictions.write(tmp_path, SHARDS, kind), kind)
  with open(paths[2], 'wb') as file:
    file.write(data)
  with pytest.raises(JobError, match=f'^{paths[2]}: '):
    finished_shards.check_shards(paths, kind)


@pytest.mark.parametrize('kind', ['parquet', 'avro'])
def test_cut_files(tmp_path, kind):
  paths = find(predictions.write(tmp_path, SHARDS, kind), kind)
  with open(paths[2], 'r+b') as file:
    file.truncate(len(file.read()) // 2)
  with pytest.raises(JobError, match=f'^{paths[2]}: '):
    finished_shards.merge_shards(paths, kind, io.BytesIO())


def test_which_files(tmp_path):
  folder = predictions.write(tmp_path / 'a', SHARDS)
  with pytest.raises(JobError, match=r'expected predictions-\*\.avro of one table'):
    find(folder, 'avro')
  (tmp_path / 'a' / 'predictions-00001-of-00003.parquet').unlink()
  with pytest.raises(JobError, match=r'00001-of-00003\.parquet is missing'):
    find(folder, 'parquet')
  (tmp_path / 'a' / 'predictions-00000-of-00001.parquet').touch()
  with pytest.raises(JobError, match='of one table, found'):
    find(folder, 'parquet')
  with pytest.raises(JobError, match='found no predictions'):
    find(str(tmp_path / 'b'), 'parquet')
