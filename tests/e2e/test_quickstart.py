"""`make quickstart`, killed in every stage and started again, as people start it."""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pipelines.predictions import prediction_files
from tests import movielens, tiny
from tests.histories import without_owner

ROOT = pathlib.Path(__file__).parents[2]
STAGES = ('histories', 'embeddings', 'model', 'predictions', 'report')
RECIPE = """
include 'persoma_tf/configs/runs/quickstart.gin'
build.decoder = '{decoder}'
history_limits.items = 12
OptionQueries.hidden = 16
OptionQueries.width = 16
OptionQueries.num_layers = 1
histories/Stage.steps = 30
histories/Stage.batch_size = 4
decoder/Stage.steps = 4
decoder/Stage.batch_size = 2
train.checkpoint_period = 10
"""


@pytest.fixture
def command(tmp_path, assets):
  """`make quickstart` on generated ratings with a small recipe, without RUN."""
  prefix = pathlib.Path(sys.prefix)
  if not (prefix / 'COMPLETED').exists() or not shutil.which('make'):
    pytest.skip('not in an environment that the Makefile made')
  assets('all-MiniLM-L6-v2')
  data = tmp_path / 'data'
  data.mkdir()
  movielens.write(data, users=80)
  decoder = tiny.write_decoder(tmp_path / 'tiny.gguf')
  recipe = tmp_path / 'small.gin'
  recipe.write_text(RECIPE.format(decoder=decoder))
  settings = [f'VENV={prefix}', f'DATA_DIR={data}', f'RECIPE={recipe}']
  return ['make', '--directory', str(ROOT), 'quickstart', *settings]


def run(command, folder) -> str:
  """Runs to the end; returns what it printed."""
  done = subprocess.run(
    [*command, f'RUN={folder}'], check=True, capture_output=True, text=True
  )
  return done.stdout


def kill_in(command, folder, stage) -> None:
  """Starts the quickstart and kills it as soon as a stage has begun to write."""
  process = subprocess.Popen(
    [*command, f'RUN={folder}'],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
    start_new_session=True,
  )
  begun = 'checkpoint_10' if stage == 'model' else 'UNFINISHED'
  while not (folder / stage / begun).exists():
    assert process.poll() is None, f'ended before it could be killed in {stage}'
    time.sleep(0.002)
  os.killpg(process.pid, signal.SIGKILL)
  process.wait()
  assert not (folder / stage / 'COMPLETED').exists()


def results(folder) -> dict:
  """What must be the same: bytes, but for times and paths, and the answers."""
  names = [f'histories/{path.name}' for path in (folder / 'histories').iterdir()]
  names += ['embeddings/embeddings.parquet', 'embeddings/ratings.parquet']
  names += ['model/adapter/adapter.safetensors', 'report/scores.txt']
  read = lambda name: without_owner((folder / name).read_bytes())
  made = {name: hashlib.sha256(read(name)).hexdigest() for name in names}
  made['answers'] = prediction_files.read_predictions(f'{folder}/predictions', 'avro')
  for row in made['answers']:
    del row['predicted_at'], row['run_id']
  return made


@pytest.mark.slow
@pytest.mark.assets
@pytest.mark.timeout(600)
def test_a_dataset_file(command, tmp_path):
  """`make run` goes on, too; a changed file is not taken for the one that was run."""
  text = (ROOT / 'examples' / 'movielens' / 'genres.yaml').read_text()
  dataset = tmp_path / 'genres.yaml'
  dataset.write_text(text.replace('../../runs/ml-latest-small', 'data'))
  recipe = tmp_path / 'small.gin'
  recipe.write_text(recipe.read_text().replace('quickstart.gin', 'dataset.gin'))
  settings = [x for x in command if not x.startswith('DATA_DIR')]
  make = ['run' if x == 'quickstart' else x for x in settings] + [f'DATASET={dataset}']
  kill_in(make, tmp_path / 'made', 'model')
  printed = run(make, tmp_path / 'made')
  assert (tmp_path / 'made' / 'report' / 'scores.txt').read_text() in printed
  config = (tmp_path / 'made' / 'model' / 'config.gin').read_text()
  assert "train.task = 'lists_subhistories_v1'" in config
  dataset.write_text(dataset.read_text().replace('least: 3', 'least: 2'))
  with pytest.raises(subprocess.CalledProcessError) as failed:
    run(make, tmp_path / 'made')
  assert b'--overwrite' in failed.value.stderr.encode()


@pytest.mark.slow
@pytest.mark.assets
@pytest.mark.timeout(600)
def test_killed_in_every_stage(command, tmp_path):
  cut, whole = tmp_path / 'cut', tmp_path / 'whole'
  for stage in STAGES:
    kill_in(command, cut, stage)
  printed = run(command, cut)
  assert (cut / 'report' / 'scores.txt').read_text() in printed
  run(command, whole)
  assert results(cut) == results(whole)
  before = {path: path.stat().st_mtime_ns for path in cut.rglob('*')}
  assert (cut / 'report' / 'scores.txt').read_text() in run(command, cut)
  assert before == {path: path.stat().st_mtime_ns for path in cut.rglob('*')}
