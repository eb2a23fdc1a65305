"""batch_predict in processes: killed at random moments, and with several workers.

The slow ones take minutes, since every process loads JAX and TensorFlow anew.
"""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from persoma_tf import train
from pipelines import batch_predict
from pipelines import folders as output_folders
from pipelines.transforms import prediction_files
from tests.engines import processes

pytestmark = pytest.mark.assets
KILLS = 20


@pytest.fixture
def command(recipe, folders, tmp_path):
  """The job on all users, one a shard, without its output folder."""
  recipe()
  train.train(f'{tmp_path}/model')
  return [
    *(sys.executable, '-m', 'pipelines.batch_predict'),
    f'--model_dir={tmp_path}/model',
    f'--histories_dir={folders[0]}',
    f'--embeddings_dir={folders[1]}',
    *('--split=all', '--shard_users=1', '--batch_size=4', '--run_id=r'),
  ]


def test_from_and_to_a_bucket(command, tmp_path, bucket):
  """All folders in a bucket: the table of a local run."""
  flags = command[3:]
  batch_predict.run([*flags, f'--output_dir={tmp_path}/out'])
  there = {}
  for name in ('model', 'histories', 'embeddings'):
    flag = next(x for x in flags if x.startswith(f'--{name}_dir='))
    folder, there[flag] = pathlib.Path(flag.partition('=')[2]), f'{bucket.path}/{name}'
    for path in filter(pathlib.Path.is_file, folder.rglob('*')):
      target = f'{bucket.path}/{name}/{path.relative_to(folder)}'
      output_folders.write_file(target, path.read_bytes())
  moved = [f'{x.partition("=")[0]}={there[x]}' if x in there else x for x in flags]
  batch_predict.run([*moved, f'--output_dir={bucket.path}/out'])
  assert rows(f'{bucket.path}/out') == rows(f'{tmp_path}/out')


def rows(folder) -> list[dict]:
  """The table without when it was made."""
  found = prediction_files.read(str(folder), 'avro')
  for row in found:
    del row['predicted_at']
  return found


def run(command, folder, *flags):
  """Runs to the end; gives the rows without when they were made, in order."""
  log = folder.with_suffix('.log')
  command = [*command, f'--output_dir={folder}', *flags]
  done = processes.run(command, log, processes.environment(), timeout=300)
  assert not done.code, done.output
  return rows(folder), done


def kill_once(command, folder, rng) -> int:
  """Kills the job some time after it began to answer; returns the shards there."""
  before = len(list(folder.glob('predictions-*.avro'))) if folder.exists() else 0
  process = subprocess.Popen(
    [*command, f'--output_dir={folder}'],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
    start_new_session=True,
  )
  # From the first shard on, or in some cases before.
  wait_for = before + rng.choice([0, 1, 1, 1])
  while len(list(folder.glob('predictions-*.avro'))) < wait_for:
    assert process.poll() is None, 'ended before it could be killed'
    time.sleep(0.001)
  time.sleep(rng.uniform(0, 0.05))
  os.killpg(process.pid, signal.SIGKILL)
  process.wait()
  return len(list(folder.glob('predictions-*.avro')))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_random_moments(command, tmp_path):
  whole, _ = run(command, tmp_path / 'whole')
  rng, cut, kept = random.Random(0), tmp_path / 'cut', []
  while len(kept) < KILLS and (kept or [0])[-1] < len(whole) - 2:
    kept.append(kill_once(command, cut, rng))
    assert not (cut / 'COMPLETED').exists()
  assert len(kept) > KILLS / 2
  assert kept == sorted(kept), 'nothing that was there is lost'
  again, _ = run(command, cut)
  assert again == whole
  names = lambda folder: {path.name for path in folder.iterdir()}
  assert names(cut) == names(tmp_path / 'whole')


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize('share', [True, False])
def test_several_workers(command, tmp_path, share):
  whole, _ = run(command, tmp_path / 'whole')
  engine = ('--direct_running_mode=multi_processing', '--direct_num_workers=2')
  flags = [*engine, *['--share_model'] * share]
  made, done = run(command, tmp_path / 'two', *flags)
  assert len(done.workers) >= 2
  assert made == whole
