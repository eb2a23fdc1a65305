"""All jobs on a job service: the bytes and rows of a run in this process.

By default the services are Beam's own in Python, with two workers a job, and Prism,
where `make setup-prism` has put it. `make test-engine JOB_ENDPOINT=host:port
ENVIRONMENT='PROCESS {...}'` takes one that runs, such as that of a cluster, and with
KILL='command' a worker is killed in the middle. `make test` leaves out the slow ones:
every process loads JAX and TensorFlow anew.
"""

import subprocess
import sys
import time

import psutil
import pytest

from persoma_tf import train
from pipelines import batch_predict, embed_items
from tests import tiny
from tests.engines import processes
from tests.engines.conftest import contents, dataset_flags
from tests.engines.test_predictions import rows

pytestmark = pytest.mark.assets


def pytest_generate_tests(metafunc):
  if 'engine' in metafunc.fixturenames:
    given = metafunc.config.getoption('job_endpoint')
    names = ['given'] if given else ['python', 'prism']
    metafunc.parametrize('engine', names, indirect=True, scope='module')


@pytest.fixture(scope='module')
def engine(request) -> list[str]:
  """Flags of a portable runner."""
  if request.param == 'prism':
    return request.getfixturevalue('on_prism')
  if request.param == 'given':
    address = request.config.getoption('job_endpoint')
    return portable(address, *request.config.getoption('environment').split(' ', 1))
  pool, _ = request.getfixturevalue('worker_pool')
  return portable(request.getfixturevalue('job_service'), 'EXTERNAL', pool)


@pytest.fixture(scope='module')
def on_prism(prism, worker_pool) -> list[str]:
  """Flags of a run on Prism."""
  return portable(prism, 'EXTERNAL', worker_pool[0])


def portable(address: str, kind: str, about: str = '') -> list[str]:
  """Flags of the portable runner: a job service, and where its workers run."""
  return [
    *('--runner=PortableRunner', f'--job_endpoint={address}', '--parallelism=2'),
    *(f'--environment_type={kind}', f'--environment_config={about}'),
  ]


@pytest.fixture(scope='module')
def asked(tmp_path_factory, assets, folders, tiny_decoder) -> list[str]:
  """Flags of batch_predict, without its output folder."""
  assets('smollm2-135m-instruct')  # the vocabulary
  model = tmp_path_factory.mktemp('asked') / 'model'
  both = [f'--histories_dir={folders[0]}', f'--embeddings_dir={folders[1]}']
  train.main(
    [
      *('--gin_file=runs/quickstart.gin', f'--model_dir={model}', *both),
      *tiny.flags(tiny_decoder),
    ]
  )
  more = ('--split=all', '--shard_users=9', '--batch_size=4', '--run_id=r')
  return [f'--model_dir={model}', *both, *more]


@pytest.fixture(scope='module')
def answered(asked, tmp_path_factory) -> list[dict]:
  """What batch_predict answers in this process."""
  folder = tmp_path_factory.mktemp('answered') / 'here'
  batch_predict.run([*asked, f'--output_dir={folder}'])
  return rows(folder)


def run(job, arguments, folder, engine, code=0, during=lambda process: None) -> str:
  """Runs a job in a process of its own, which returns `code`; gives what it printed."""
  command = [sys.executable, '-m', f'pipelines.{job}', *arguments, *engine]
  log, env = folder / 'job.log', processes.environment()
  if not engine:  # in process, for comparison with workers that have no flags of tests
    env.pop('XLA_FLAGS', None)
  with processes.started(command, log, env) as process:
    during(process)
    assert process.wait(240) == code or code is None, log.read_text()
  return log.read_text()


def test_histories(engine, data, expected_examples, tmp_path, request):
  own = request.node.callspec.params['engine'] == 'python'
  log = request.getfixturevalue('worker_pool')[1] if own else None
  started = lambda: log.read_text().count('Starting worker') if own else 0
  before = started()
  run('build_histories', dataset_flags(data, tmp_path / 'h'), tmp_path, engine)
  assert contents(tmp_path / 'h') == expected_examples
  assert started() - before == (2 if own else 0)


def test_embeddings(engine, folders, assets, tmp_path, request):
  assets('all-MiniLM-L6-v2')
  given = [f'--histories_dir={folders[0]}']
  if request.node.callspec.params['engine'] == 'given':
    run('embed_items', [*given, f'--output_dir={tmp_path}/here'], tmp_path, [])
  else:
    embed_items.run([*given, f'--output_dir={tmp_path}/here'])
  run('embed_items', [*given, f'--output_dir={tmp_path}/there'], tmp_path, engine)
  assert contents(tmp_path / 'there') == contents(tmp_path / 'here')


@pytest.mark.slow
def test_predictions(engine, asked, answered, tmp_path):
  run('batch_predict', [*asked, f'--output_dir={tmp_path}/there'], tmp_path, engine)
  assert rows(tmp_path / 'there') == answered


@pytest.mark.slow
def test_a_killed_worker(engine, asked, answered, tmp_path, request):
  """The engine runs its step again, or ends the job; then the same command goes on."""
  command = request.config.getoption('kill')
  if not command:
    pytest.skip("nothing kills a worker: make test-engine KILL='command'")
  there = tmp_path / 'there'

  def kill(process):
    wait_for_answers(there, process)
    subprocess.run(command, shell=True, check=True)

  job = 'batch_predict', [*asked, f'--output_dir={there}'], tmp_path, engine
  said = run(*job, None, kill)
  if not (there / 'COMPLETED').exists():  # Spark repeats no stage behind a Reshuffle
    assert 'error: the engine gave up: ' in said
    run(*job)
  assert rows(there) == answered


@pytest.mark.slow
def test_a_killed_worker_ends_a_job_of_prism(on_prism, asked, answered, tmp_path):
  """It starts no other one. The same command goes on."""
  there = tmp_path / 'there'

  def kill(process):
    wait_for_answers(there, process)
    for other in psutil.process_iter(['cmdline']):
      if any('SdkHarness(' in word for word in other.info['cmdline'] or ()):
        other.kill()

  job = 'batch_predict', [*asked, f'--output_dir={there}'], tmp_path, on_prism
  assert 'error: the engine gave up: ' in run(*job, 1, kill)
  assert not (there / 'COMPLETED').exists()
  run(*job)
  assert rows(there) == answered


def wait_for_answers(folder, process):
  """Waits until a job has written some."""
  while not list(folder.rglob('predictions-*')):
    assert process.poll() is None, 'ended before a worker was killed'
    time.sleep(0.02)
