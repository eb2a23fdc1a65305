"""The same job, unchanged, on several engines: equal bytes."""

import sys
import time

import psutil
import pytest

from pipelines import build_histories
from pipelines.common import storage
from tests.engines import processes
from tests.engines.conftest import contents, dataflow_flags, dataset_flags, flags

_JOB = [sys.executable, '-m', 'pipelines.build_histories']


def run_job(source, output, folder, *engine, cwd=processes.ROOT):
  """Runs the job with examples in a process of its own."""
  command = [*_JOB, *dataset_flags(source, output), *engine]
  done = processes.run(command, folder / 'job.log', processes.environment(), cwd)
  assert not done.code, done.output
  return done


def test_a_process_that_hangs_is_ended(tmp_path):
  child = 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'
  command = ['sh', '-c', f'{sys.executable} -c "{child}"; true']  # sh stays above it
  with pytest.raises(TimeoutError):
    processes.run(command, tmp_path / 'log', processes.environment(), timeout=2)
  pid, end = int((tmp_path / 'log').read_text()), time.monotonic() + 30
  while psutil.pid_exists(pid) and psutil.Process(pid).status() != 'zombie':
    assert time.monotonic() < end, 'it lives on'
    time.sleep(0.05)


def test_several_local_processes(data, expected_examples, tmp_path):
  done = run_job(
    data,
    tmp_path / 'h',
    tmp_path,
    '--direct_running_mode=multi_processing',
    '--direct_num_workers=2',
  )
  assert len(done.workers) >= 2
  assert contents(tmp_path / 'h') == expected_examples


def test_dataflow(bucket_run, tmp_path, bucket, dataflow, checkout):
  source, _ = bucket_run
  here = f'{bucket.path}/here'
  build_histories.run(dataset_flags(source, here))
  run_job(
    source,
    f'{bucket.path}/there',
    tmp_path,
    *dataflow_flags(bucket),
    f'--dataflow_endpoint={dataflow.address}',
    cwd=checkout,
  )
  assert contents(f'{bucket.path}/there') == contents(here)


def test_dataflow_template(bucket_run, bucket, dataflow, checkout):
  """As a flex template: who submits does not wait, the job completes the folder."""
  source, here = bucket_run
  there, template = f'{bucket.path}/there', f'{bucket.path}/template.json'
  build_histories.run(
    [
      *flags(source, there),
      *dataflow_flags(bucket, checkout),
      f'--template_location={template}',
    ]
  )
  assert 'COMPLETED' not in contents(there)
  assert dataflow.wait(dataflow.submit(storage.read_json(template))) == 'JOB_STATE_DONE'
  assert contents(there) == contents(here)
