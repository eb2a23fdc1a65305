"""Prediction tables: the same rows in every format, in BigQuery's types."""

import datetime
import io
import json

import fastavro
import pandas as pd
import pytest

from pipelines.common.job import JobError
from pipelines.predictions import finished_shards, prediction_files
from tasks import schema

ROWS = [
  {
    'user_id': user,
    'predicted_liked': liked,
    'predicted_disliked': [],
    'draft_liked': ['War'],
    'draft_disliked': [],
    'text': "The user likes ü and doesn't like none",
    'log_prob': -1.25,
    'parse_ok': user == '1',
    'history_length': 7,
    'model_id': 'persoma-1-abc',
    'task': 'movielens_genre_prediction_v1',
    'run_id': 'r',
    'predicted_at': datetime.datetime(2024, 1, 2, 3, 4, 5, 678, datetime.UTC),
  }
  for user, liked in (('1', ['War', 'Drama']), ('2', []))
]


@pytest.mark.parametrize('kind', prediction_files.FORMATS)
@pytest.mark.parametrize('rows', [ROWS, []])
def test_round_trip(tmp_path, kind, rows):
  for number, some in enumerate((rows, [])):
    data = prediction_files.to_bytes(some, kind)
    assert prediction_files.to_bytes(some, kind) == data
    (tmp_path / prediction_files.shard_name(kind, number, 2)).write_bytes(data)
  found = prediction_files.read_predictions(str(tmp_path), kind)
  for row in found:
    if kind == 'json':
      row['predicted_at'] = datetime.datetime.fromisoformat(row['predicted_at'])
  assert found == rows


def test_other_readers():
  table = pd.read_parquet(io.BytesIO(prediction_files.to_bytes(ROWS, 'parquet')))
  assert list(table.columns) == [column.name for column in schema.PREDICTIONS]
  assert str(table.predicted_at.dt.tz) == 'UTC'
  lines = prediction_files.to_bytes(ROWS, 'json').decode().splitlines()
  assert json.loads(lines[0])['predicted_at'] == '2024-01-02T03:04:05.000678+00:00'
  reader = fastavro.reader(io.BytesIO(prediction_files.to_bytes(ROWS, 'avro')))
  fields = {field['name']: field['type'] for field in reader.writer_schema['fields']}
  assert fields['user_id'] == 'string'
  assert fields['log_prob'] == ['null', 'double']
  assert fields['predicted_liked'] == {'type': 'array', 'items': 'string'}


def test_the_flag_offers_every_format():
  assert set(schema.PREDICTION_FORMATS) == prediction_files.FORMATS.keys()


CHOSEN = [
  {
    'example_id': f'{user}-0',
    'user_id': user,
    'item_id': 'i',
    'answer': answer,
    'draft_answer': answer,
    'draft_probabilities': odds,
    'decoder_probabilities': [0.5, 0.5],
    **{name: ROWS[0][name] for name in list(ROWS[0])[5:]},
  }
  for user, answer, odds in (('1', 'Yes', [0.75, 0.25]), ('2', None, []))
]


@pytest.mark.parametrize('kind', prediction_files.FORMATS)
def test_the_table_of_a_choice(tmp_path, kind):
  columns = schema.prediction_columns({'kind': 'choice', 'asks_item': True})
  path = tmp_path / prediction_files.shard_name(kind, 0, 1)
  path.write_bytes(prediction_files.to_bytes(CHOSEN, kind, columns))
  found = prediction_files.read_predictions(str(tmp_path), kind)
  for row in found:
    if kind == 'json':
      row['predicted_at'] = datetime.datetime.fromisoformat(row['predicted_at'])
  assert found == CHOSEN
  paths = finished_shards.find_shards(str(tmp_path), kind)
  run = finished_shards.check_shards(paths, kind, columns)
  assert run.run_id == 'r'
  merged = io.BytesIO()
  finished_shards.merge_shards(paths, kind, merged, columns)
  path.write_bytes(merged.getvalue())
  assert finished_shards.check_shards(paths, kind, columns) == run
  with pytest.raises(JobError, match='no field predicted_liked'):
    finished_shards.check_shards(paths, kind)
