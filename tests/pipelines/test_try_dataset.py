"""The small chain that users test their dataset files with; it needs no download."""

import pytest

from examples.books import make_data
from pipelines import try_dataset
from pipelines.common.job import JobError
from pipelines.try_dataset import run_chain
from tests.pipelines.dataset.test_dataset_file import TEXT


def write(folder, old='', new=''):
  make_data.write(folder / 'data', readers=60, count=30, seed=0)
  text = TEXT.replace('../../runs/books/data', 'data').replace(old, new)
  (folder / 'books.yaml').write_text(text)
  return folder / 'books.yaml'


def test_books(tmp_path):
  made = run_chain(write(tmp_path), tmp_path / 'made', 'train.seed = 1')
  lines = (tmp_path / 'data' / 'ratings.csv').read_text().splitlines()
  assert (made.counts['rows_rejected'], made.counts['rows_in']) == (4, len(lines) - 1)
  assert len(made.rows) == made.counts['users']['test'] > 0
  for row in made.rows:
    assert row['text'].startswith('The reader enjoys ')
    assert row['task'] == 'book_subjects_v1'
  assert 'train.seed = 1\n' in (made.folder / 'model' / 'config.gin').read_text()
  assert (made.folder / 'report' / 'report.html').exists()


def test_the_command(tmp_path, capsys):
  (tmp_path / 'made').mkdir()
  (tmp_path / 'made' / 'x').write_text('')
  dataset = write(tmp_path)
  with pytest.raises(JobError, match='is not empty'):
    try_dataset.run([f'--dataset={dataset}', f'--output_dir={tmp_path}/made'])
  with pytest.raises(SystemExit):
    try_dataset.run([f'--output_dir={tmp_path}/other'])
  assert '--dataset' in capsys.readouterr().err


def test_a_wrong_file(tmp_path):
  with pytest.raises(JobError, match=r"books\.yaml, line 26: .*'topics'; expected"):
    run_chain(write(tmp_path, 'of: subjects', 'of: topics'), tmp_path / 'made')
