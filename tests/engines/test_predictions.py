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

from pipelines import batch_predict
from pipelines.common import storage
from pipelines.predictions import prediction_files
from tests.engines import processes
from tests.engines.conftest import dataflow_flags, query

pytestmark = pytest.mark.assets
KILLS = 20


@pytest.fixture
def command(model, folders):
  """The job on all users, one a shard, without its output folder."""
  return [
    *(sys.executable, '-m', 'pipelines.batch_predict'),
    f'--model_dir={model}',
    f'--histories_dir={folders[0]}',
    f'--embeddings_dir={folders[1]}',
    *('--split=all', '--shard_users=1', '--batch_size=4', '--run_id=r'),
  ]


def in_bucket(flags, bucket) -> list[str]:
  """The flags with their folders copied into the bucket."""
  moved = []
  for flag in flags:
    name, _, value = flag.partition('=')
    if name.endswith('_dir'):
      folder, there = pathlib.Path(value), f'{bucket.path}/{name[2:]}'
      for path in filter(pathlib.Path.is_file, folder.rglob('*')):
        target = f'{there}/{path.relative_to(folder)}'
        storage.write_file(target, path.read_bytes())
      flag = f'{name}={there}'
    moved.append(flag)
  return moved


def test_from_and_to_a_bucket(command, tmp_path, bucket):
  """All folders in a bucket: the table of a local run."""
  flags = command[3:]
  batch_predict.run([*flags, f'--output_dir={tmp_path}/out'])
  batch_predict.run([*in_bucket(flags, bucket), f'--output_dir={bucket.path}/out'])
  assert rows(f'{bucket.path}/out') == rows(f'{tmp_path}/out')


def test_into_bigquery(command, tmp_path, dataset):
  """One command from histories to the table, and the same again."""
  table = f'{dataset}.predictions'
  for _ in range(2):
    batch_predict.run(
      [*command[3:], f'--output_dir={tmp_path}/out', f'--bigquery_table={table}']
    )
  found = query('SELECT * FROM TABLE ORDER BY user_id', table)
  written = prediction_files.read_predictions(f'{tmp_path}/out', 'avro')
  assert found == sorted(written, key=lambda row: row['user_id'])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_dataflow(command, tmp_path, bucket, dataflow, checkout):
  """Submitted as to the cloud; the staged package answers in a clean environment."""
  whole, _ = run(command, tmp_path / 'whole')
  flags = in_bucket(command[3:], bucket)
  engine = [
    *dataflow_flags(bucket),
    f'--dataflow_endpoint={dataflow.address}',
    f'--output_dir={bucket.path}/out',
  ]
  done = processes.run(
    [*command[:3], *flags, *engine],
    tmp_path / 'dataflow.log',
    processes.environment(),
    checkout,
    timeout=400,
  )
  assert not done.code, done.output
  assert rows(f'{bucket.path}/out') == whole


def rows(folder) -> list[dict]:
  """The table without when it was made."""
  found = prediction_files.read_predictions(str(folder), 'avro')
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
  before = len(list(folder.rglob('predictions-*.avro'))) if folder.exists() else 0
  process = subprocess.Popen(
    [*command, f'--output_dir={folder}'],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
    start_new_session=True,
  )
  # From the first shard on, or in some cases before.
  wait_for = before + rng.choice([0, 1, 1, 1])
  while len(list(folder.rglob('predictions-*.avro'))) < wait_for:
    assert process.poll() is None, 'ended before it could be killed'
    time.sleep(0.001)
  time.sleep(rng.uniform(0, 0.01))  # in which a quick machine writes some shards
  os.killpg(process.pid, signal.SIGKILL)
  process.wait()
  return len(list(folder.rglob('predictions-*.avro')))


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
