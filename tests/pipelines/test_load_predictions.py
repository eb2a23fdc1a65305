"""Loading into BigQuery, up to its door; tests/engines/test_bigquery.py goes in."""

import json
from types import SimpleNamespace

import pytest

from pipelines import batch_predict, load_predictions, t5x_answers
from pipelines.common.job import JobError
from pipelines.predictions import bigquery_load
from pipelines.predictions.finished_shards import RunColumns
from tasks import schema
from tests import predictions

TABLE = 'project:dataset.table'


@pytest.fixture
def folder(tmp_path) -> str:
  return predictions.write(tmp_path / 'p', [predictions.rows(3)])


@pytest.mark.parametrize(
  ('flags', 'reason'),
  [
    (['--bigquery_table=dataset.table'], 'expected project:dataset.table'),
    ([], 'bigquery_table'),
    ([f'--bigquery_table={TABLE}', '--bigquery_tabel=x'], 'did you mean'),
  ],
)
def test_bad_flags(folder, flags, reason, capsys):
  with pytest.raises(SystemExit) as raised:
    load_predictions.run([f'--predictions_dir={folder}', *flags])
  assert raised.value.code == 2
  assert reason in capsys.readouterr().err


def test_a_bad_table_is_no_job_error(folder):
  with pytest.raises(ValueError, match='expected project:dataset') as raised:
    bigquery_load.load_folder(folder, 'table')
  assert not isinstance(raised.value, JobError)


def test_unfinished_and_foreign_folders(folder, tmp_path):
  with pytest.raises(JobError, match='not a finished folder'):
    bigquery_load.load_folder(str(tmp_path), TABLE)
  marker = tmp_path / 'p' / 'COMPLETED'
  whole = json.loads(marker.read_text())
  marker.write_text(json.dumps({**whole, 'settings': {'seed': 0}}))
  with pytest.raises(JobError, match='no predictions: its format is None'):
    bigquery_load.load_folder(folder, TABLE)


def test_files_that_do_not_fit_the_count(folder, tmp_path):
  (tmp_path / 'p' / 'run_info.json').write_text('{"users": 0}')
  with pytest.raises(JobError, match=r'run_info\.json says 0 users'):
    bigquery_load.load_folder(folder, TABLE)


def test_no_credentials(folder, monkeypatch, tmp_path):
  monkeypatch.setenv('GOOGLE_APPLICATION_CREDENTIALS', str(tmp_path / 'none.json'))
  with pytest.raises(JobError, match=f'^--bigquery_table={TABLE}: no credentials'):
    bigquery_load.load_folder(folder, TABLE)


HOSTILE = "x' OR TRUE -- \\"


def test_the_suggested_statement_deletes_this_run_alone():
  """A folder of other people may have any run id; people paste the statement."""
  table = SimpleNamespace(reference='p.d.t')
  run = RunColumns(HOSTILE, predictions.TIME)
  content = bigquery_load._Content([], 'json', schema.PREDICTIONS, 3, run, '')
  present = bigquery_load._Present(4, predictions.TIME, predictions.TIME)
  with pytest.raises(JobError) as raised:
    bigquery_load._require_same(table, content, present, None)
  statement = str(raised.value).partition('DELETE')[2]
  assert statement == ' FROM `p.d.t` WHERE run_id = "x\' OR TRUE -- \\\\"'


@pytest.mark.parametrize('module', [batch_predict, t5x_answers])
def test_a_run_id_that_would_end_a_text_in_a_query(module, capsys):
  folders = ('model_dir', 'histories_dir', 'embeddings_dir', 'answers_dir')
  fields = module.Config.__dataclass_fields__
  flags = [f'--{name}=x' for name in (*folders, 'output_dir') if name in fields]
  with pytest.raises(SystemExit) as raised:
    module.run([*flags, f'--run_id={HOSTILE}'])
  assert raised.value.code == 2
  assert 'run_id=' in capsys.readouterr().err
