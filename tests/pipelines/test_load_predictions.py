"""Loading into BigQuery, up to its door; tests/engines/test_bigquery.py goes in."""

import json

import pytest

from pipelines import load_predictions
from pipelines.common.job import JobError
from pipelines.predictions import bigquery_load
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
