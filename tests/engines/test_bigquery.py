"""Prediction folders into BigQuery: an emulator of it and of the bucket."""

import datetime
import json
import sys
import threading

import pytest
from google.cloud import bigquery

from pipelines import load_predictions, t5x_answers
from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.predictions import bigquery_load
from pipelines.predictions.prediction_files import FORMATS
from tasks import schema
from tests import predictions
from tests.engines import processes
from tests.engines.conftest import query
from tests.pipelines.test_t5x_answers import split_users

ROWS = predictions.rows(25)
SHARDS = [ROWS[:10], [], ROWS[10:]]
MONTH = bigquery.TimePartitioning(type_='MONTH')


@pytest.fixture
def table(dataset) -> str:
  """The name of a table that is not there."""
  return f'{dataset}.predictions'


@pytest.fixture(params=['local', 'bucket'])
def place(request, tmp_path, bucket) -> str:
  """A folder that is not there yet."""
  return str(tmp_path / 'p') if request.param == 'local' else f'{bucket.path}/p'


def read(table: str, run_id: str = 'run-1') -> list[dict]:
  """The rows of a run."""
  return query(f"SELECT * FROM TABLE WHERE run_id = '{run_id}' ORDER BY user_id", table)


@pytest.mark.parametrize('kind', FORMATS)
@pytest.mark.parametrize('shards', [SHARDS, [ROWS]])
def test_rows_come_back(table, place, kind, shards):
  predictions.write(place, shards, kind)
  assert bigquery_load.load_folder(place, table) == len(ROWS)
  assert read(table) == ROWS  # texts, numbers, nulls, lists, times
  (found,) = query(
    'SELECT SUM(ARRAY_LENGTH(predicted_liked)) AS liked, COUNTIF(text IS NULL) AS '
    'nulls, MAX(UNIX_MICROS(predicted_at)) AS micros FROM TABLE',
    table,
  )
  liked = sum(len(row['predicted_liked']) for row in ROWS)
  assert found == {'liked': liked, 'nulls': 1, 'micros': 1772409599123456}
  assert bigquery_load.load_folder(place, table) == 0
  assert read(table) == ROWS


KINDS = [
  {'kind': 'choice'},
  {'kind': 'choice', 'asks_item': False},
  {'kind': 'number'},
  {'kind': 'text'},
  {'kind': 'rank'},
]


@pytest.mark.parametrize('kind', FORMATS)
@pytest.mark.parametrize(
  'question', KINDS, ids=lambda x: '-'.join(map(str, x.values()))
)
def test_rows_about_examples_come_back(table, tmp_path, kind, question):
  rows = predictions.rows_of(question, 20)
  place = predictions.write(tmp_path, [rows[:8], [], rows[8:]], kind, question)
  assert bigquery_load.load_folder(place, table) == len(rows)
  found = query('SELECT * FROM TABLE ORDER BY example_id', table)
  assert found == rows
  assert [*found[0]] == [x.name for x in schema.prediction_columns(question)]
  asked = 'answer, COUNT(*) AS number'
  (top,) = query(f"SELECT {asked} FROM TABLE WHERE user_id = 'ü0007' GROUP BY 1", table)
  assert top == {'answer': 'ü0007', 'number': 1}
  assert bigquery_load.load_folder(place, table) == 0


def test_a_table_of_another_kind_is_refused(table, tmp_path):
  asked = {'kind': 'choice'}, {'kind': 'number'}
  for number, question in enumerate(asked):
    rows = predictions.rows_of(question, 3)
    predictions.write(tmp_path / str(number), [rows], question=question)
  bigquery_load.load_folder(str(tmp_path / '0'), table)
  with pytest.raises(JobError, match='column value is None, expected FLOAT64 NULLABLE'):
    bigquery_load.load_folder(str(tmp_path / '1'), table)


def test_each_question_has_a_table(table, tmp_path):
  """Of a folder with those of several, as `batch_predict --questions` writes it."""
  asked = {'like_v1': {'kind': 'choice'}, 'stars_v1': {'kind': 'number'}}
  written = {name: predictions.rows_of(words, 5) for name, words in asked.items()}
  for name, words in asked.items():
    predictions.write(tmp_path / 'p' / name, [written[name]], 'avro', words)
  flags = [f'--predictions_dir={tmp_path}/p', f'--bigquery_table={table}']
  load_predictions.run(flags)
  for name, rows in written.items():
    assert query('SELECT * FROM TABLE ORDER BY example_id', f'{table}_{name}') == rows


def test_the_table(table, tmp_path):
  predictions.write(tmp_path, SHARDS)
  bigquery_load.load_folder(str(tmp_path), table)
  found = bigquery.Client().get_table(table.replace(':', '.'))
  partition = found.time_partitioning
  assert (partition.type_, partition.field) == ('DAY', 'predicted_at')
  assert found.clustering_fields == ['user_id']
  columns = [(x.name, x.field_type, x.mode, x.description) for x in found.schema]
  assert columns == [tuple(column) for column in schema.PREDICTIONS]


@pytest.mark.parametrize('kind', FORMATS)
def test_no_rows(table, place, kind):
  predictions.write(place, [[]], kind)
  assert bigquery_load.load_folder(place, table) == 0
  assert query('SELECT * FROM TABLE', table) == []


def test_several_runs(table, tmp_path, bucket):
  runs = {name: predictions.rows(7, name) for name in ('a', 'b')}
  for name, rows in runs.items():
    predictions.write(tmp_path / name, [rows], 'avro')
    assert bigquery_load.load_folder(str(tmp_path / name), table) == 7
  copy = bucket.upload(tmp_path / 'a')
  assert bigquery_load.load_folder(copy, table) == 0
  assert {name: read(table, name) for name in runs} == runs


@pytest.mark.parametrize(
  'other',
  [
    [ROWS[:-1]],
    [ROWS[:-1], [{**ROWS[-1], 'text': 'Another answer'}]],
    [[{**row, 'predicted_at': predictions.TIME.replace(hour=1)} for row in ROWS]],
  ],
)
def test_another_content_of_a_run(table, place, tmp_path, other):
  predictions.write(tmp_path / 'first', SHARDS)
  bigquery_load.load_folder(str(tmp_path / 'first'), table)
  predictions.write(place, other)
  with pytest.raises(JobError, match='other rows of run_id run-1: 25, predicted at'):
    bigquery_load.load_folder(place, table)
  assert read(table) == ROWS
  # As the message says.
  query("DELETE FROM TABLE WHERE run_id = 'run-1'", table)
  expected = [row for rows in other for row in rows]
  assert bigquery_load.load_folder(place, table) == len(expected)
  assert read(table) == expected
  assert bigquery_load.load_folder(place, table) == 0
  with pytest.raises(JobError, match='other rows of run_id'):
    bigquery_load.load_folder(str(tmp_path / 'first'), table)


def test_a_table_that_was_made_anew(table, place):
  predictions.write(place, SHARDS)
  for _ in range(2):
    assert bigquery_load.load_folder(place, table) == 25
    assert read(table) == ROWS
    bigquery.Client().delete_table(table.replace(':', '.'))


def test_a_load_that_failed(table, bucket):
  """A page of the last shard is damaged; its schema and first row are whole."""
  path = predictions.write(f'{bucket.path}/p', SHARDS)
  shard = f'{path}/predictions-00002-of-00003.parquet'
  with bigquery_load.FileSystems.open(shard) as file:
    whole = file.read()
  at = whole.index(ROWS[-1]['text'].encode()) - 40
  storage.write_file(shard, whole[:at] + b'\xff' * 80 + whole[at + 80 :])
  for _ in range(2):
    with pytest.raises(
      JobError, match=r'load job persoma-\w+-\d failed and loaded nothing: '
    ):
      bigquery_load.load_folder(path, table)
    assert query('SELECT * FROM TABLE', table) == []
  storage.write_file(shard, whole)
  assert bigquery_load.load_folder(path, table) == 25
  assert bigquery_load.load_folder(path, table) == 0
  assert read(table) == ROWS
  jobs = [found for found in bigquery.Client().list_jobs() if table_of(found) == table]
  assert sorted(found.job_id[-2:] for found in jobs) == ['-1', '-2', '-3']


def table_of(found) -> str | None:
  if found.job_type != 'load':
    return None
  return f'{found.destination.project}:{found.destination.dataset_id}.predictions'


def test_two_at_once(table, place, monkeypatch):
  """Both have seen that the table lacks the run before one of them loads it."""
  predictions.write(place, SHARDS)
  both, count = threading.Barrier(2), bigquery_load._rows_of_run

  def count_together(*arguments):
    present = count(*arguments)
    if not present.rows:
      both.wait(60)
    return present

  monkeypatch.setattr(bigquery_load, '_rows_of_run', count_together)
  loaded = []
  load = lambda: loaded.append(bigquery_load.load_folder(place, table))
  threads = [threading.Thread(target=load) for _ in range(2)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert sorted(loaded) == [0, 25]
  assert read(table) == ROWS


def make(table: str, **changes) -> bigquery.Table:
  """Makes the table as it should be, but for some attributes."""
  client = bigquery.Client()
  columns = map(bigquery.SchemaField.from_api_repr, schema.predictions_bigquery())
  wanted = bigquery.Table(table.replace(':', '.'), schema=list(columns))
  wanted.time_partitioning = bigquery.TimePartitioning(field='predicted_at')
  wanted.clustering_fields = ['user_id']
  for name, value in changes.items():
    setattr(wanted, name, value)
  return client.create_table(wanted)


def columns(**changes) -> list[bigquery.SchemaField]:
  """The columns but for some types; None is without."""
  kinds = {x.name: (x.kind, x.mode) for x in schema.PREDICTIONS} | changes
  return [bigquery.SchemaField(name, *kind) for name, kind in kinds.items() if kind]


def test_a_table_that_is_there(table, place):
  # Descriptions, an expiry and old names of types are the owner's business.
  old = columns(log_prob=('FLOAT', 'NULLABLE'), history_length=('INTEGER', 'NULLABLE'))
  made = bigquery.TimePartitioning(field='predicted_at', expiration_ms=10**12)
  make(table, schema=old, time_partitioning=made)
  predictions.write(place, SHARDS)
  assert bigquery_load.load_folder(place, table) == 25
  assert read(table) == ROWS


@pytest.mark.parametrize(
  ('changes', 'reason'),
  [
    ({'schema': columns(text=None)}, 'column text is None, expected STRING NULLABLE'),
    ({'schema': columns(mood=('JSON', 'NULLABLE'))}, 'mood is JSON .*, expected None'),
    (
      {
        'schema': columns(text=('STRING', 'REQUIRED'), log_prob=('NUMERIC', 'NULLABLE'))
      },
      'column text is STRING REQUIRED, expected STRING NULLABLE; '
      'column log_prob is NUMERIC NULLABLE, expected FLOAT64 NULLABLE',
    ),
    ({'time_partitioning': None}, 'partition is None, expected DAY of predicted_at'),
    ({'time_partitioning': MONTH}, 'partition is MONTH of None, expected DAY'),
    ({'clustering_fields': None}, 'clustering is None, expected user_id'),
    (
      {'clustering_fields': ['task', 'user_id']},
      'clustering is task, user_id, expected',
    ),
  ],
)
def test_another_table_is_refused(table, place, changes, reason):
  make(table, **changes)
  predictions.write(place, SHARDS)
  with pytest.raises(JobError, match=f'{reason}.*; give the name of a new') as caught:
    bigquery_load.load_folder(place, table)
  lacks = reason.startswith('column text is None')
  assert ('ALTER TABLE' in str(caught.value)) is lacks
  assert query('SELECT * FROM TABLE', table) == []


def test_a_table_of_an_earlier_version(table, place):
  """What it lacks is added by the statement that the message has."""
  make(table, schema=columns(text=None, draft_liked=None))
  predictions.write(place, SHARDS)
  with pytest.raises(JobError, match='or add what it lacks') as caught:
    bigquery_load.load_folder(place, table)
  statement = str(caught.value).partition('or add what it lacks: ')[2]
  name = table.replace(':', '.')
  assert statement == (
    f'ALTER TABLE `{name}` ADD COLUMN draft_liked ARRAY<STRING>, ADD COLUMN text STRING'
  )


def test_no_dataset(dataset, place):
  predictions.write(place, SHARDS)
  with pytest.raises(JobError, match='bq mk --location=EU --dataset test:none'):
    bigquery_load.load_folder(place, 'test:none.t', 'EU')


def test_another_location(table, place):
  predictions.write(place, SHARDS)
  with pytest.raises(JobError, match=r'--bigquery_location=EU: test\.\w+ is in US'):
    bigquery_load.load_folder(place, table, 'EU')
  assert bigquery_load.load_folder(place, table, 'us') == 25


def test_bad_shards_load_nothing(table, place):
  """BigQuery refuses unknown fields itself; the emulator does not."""
  predictions.write(place, SHARDS, 'json')
  bad = {**ROWS[0], 'predicted_at': predictions.TIME.isoformat(), 'mood': 'good'}
  path = f'{place}/predictions-00001-of-00003.jsonl'
  storage.write_file(path, json.dumps(bad).encode())
  with pytest.raises(JobError, match=f'{path}:1: unknown field mood'):
    bigquery_load.load_folder(place, table)
  with pytest.raises(Exception, match='404'):
    query('SELECT * FROM TABLE', table)


def test_files_and_count_differ(table, place):
  predictions.write(place, SHARDS)
  storage.write_file(f'{place}/run_info.json', b'{"users": 26}')
  with pytest.raises(JobError, match=r'wrote 25 rows to .* says 26 users'):
    bigquery_load.load_folder(place, table)


def test_answers_of_t5x(table, tmp_path, folders):
  user = min(split_users(folders[0]))
  (tmp_path / 'model' / 'adapter').mkdir(parents=True)
  (tmp_path / 'model' / 'adapter' / 'manifest.json').write_text('{"model_id": "m"}')
  (tmp_path / 'model' / 'COMPLETED').write_text('{}')
  answer = {
    'inputs': {'user_id': user, 'history_mask': [1, 1, 0]},
    'prediction': "The user likes Drama and doesn't like none",
    'aux': {'scores': -1.5},
  }
  (tmp_path / 'answers').mkdir()
  shard = tmp_path / 'answers' / 'task-predict_with_aux.jsonl-00000-of-00001'
  shard.write_text(json.dumps(answer))
  shard.with_name(f'{shard.name}.COMPLETED').touch()
  inputs = {'answers_dir': 'answers', 'model_dir': 'model', 'output_dir': 'predictions'}
  t5x_answers.run(
    [f'--{flag}={tmp_path / name}' for flag, name in inputs.items()]
    + [f'--histories_dir={folders[0]}', '--run_id=t5x']
  )
  assert bigquery_load.load_folder(str(tmp_path / 'predictions'), table) == 1
  (row,) = read(table, 't5x')
  assert row['predicted_liked'] == ['Drama']
  assert (row['user_id'], row['model_id'], row['history_length']) == (user, 'm', 2)
  assert datetime.datetime.now(datetime.UTC) - row['predicted_at'] < datetime.timedelta(
    1
  )


def test_the_command(table, tmp_path):
  place = predictions.write(tmp_path / 'p', SHARDS)
  command = [sys.executable, '-m', 'pipelines.load_predictions']
  command += [f'--predictions_dir={place}', f'--bigquery_table={table}']
  done = processes.run(command, tmp_path / 'log', processes.environment())
  assert done.code == 0, done.output
  assert f'25 of 25 rows loaded into {table}' in done.output
  predictions.write(place, [ROWS[:3]])
  done = processes.run(command, tmp_path / 'log', processes.environment())
  assert done.code == 1
  assert done.output.strip().split('\n')[-1].startswith('error: table test.')
