"""Workers that do not see the output folder: one sentence, before they work."""

import shutil
import sys

import pytest

from tests.engines import processes
from tests.engines.conftest import flags


@pytest.fixture(scope='module')
def elsewhere(job_service, tmp_path_factory):
  """Flags of a run whose workers have another working directory."""
  folder, port = tmp_path_factory.mktemp('elsewhere'), processes.free_port()
  pool = [sys.executable, '-m', 'apache_beam.runners.worker.worker_pool_main']
  env = processes.environment() | {'PYTHONPATH': str(processes.ROOT)}
  pool.append(f'--service_port={port}')
  with processes.started(pool, folder / 'log', env, folder) as server:
    processes.wait_for_port(port, server)
    yield [
      *('--runner=PortableRunner', f'--job_endpoint={job_service}'),
      *('--environment_type=EXTERNAL', f'--environment_config=localhost:{port}'),
    ]


def said(job, arguments, folder) -> str:
  """What a job in a folder says when it fails."""
  env = processes.environment() | {'PYTHONPATH': str(processes.ROOT)}
  command = [sys.executable, '-m', f'pipelines.{job}', *arguments]
  done = processes.run(command, folder / 'job.log', env, folder)
  assert done.code == 1
  return done.output.splitlines()[-1]


def test_histories(elsewhere, data, tmp_path):
  found = said('build_histories', [*flags(data, 'h'), *elsewhere], tmp_path)
  assert found.startswith('error: a worker: No such file or directory: ')
  assert '; inputs and output must be where all workers reach them by the' in found


def test_embeddings(elsewhere, folders, assets, tmp_path):
  assets('all-MiniLM-L6-v2')
  given = [f'--histories_dir={folders[0]}', '--output_dir=e']
  found = said('embed_items', [*given, *elsewhere], tmp_path)
  assert found.startswith('error: --output_dir: a worker does not see e/attempt-')


def test_a_folder_that_is_read(elsewhere, folders, assets, tmp_path):
  assets('all-MiniLM-L6-v2')
  shutil.copytree(folders[0], tmp_path / 'h')
  given = ['--histories_dir=h', f'--output_dir={tmp_path}/e']
  found = said('embed_items', [*given, *elsewhere], tmp_path)
  assert found.startswith('error: a worker does not see h; inputs and output must be')


def test_input(elsewhere, data, tmp_path):
  """It is named."""
  (tmp_path / 'ratings.csv').write_bytes((data / 'ratings-1.csv').read_bytes())
  given = flags(data, tmp_path / 'h')
  given[0] = '--ratings=ratings.csv'
  found = said('build_histories', [*given, *elsewhere], tmp_path)
  assert found.startswith('error: a worker: ratings.csv cannot be read: No such file')
