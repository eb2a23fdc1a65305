"""All jobs on a job service: the bytes and rows of a run in this process.

By default the services are Beam's own in Python, with two workers a job, and Prism,
where `make setup-prism` has put it. `make test-engine JOB_ENDPOINT=host:port
ENVIRONMENT='PROCESS {...}'` takes one that runs, such as that of a cluster, and with
KILL='command' a worker is killed in the middle.
"""

import sys

import pytest

from persoma_tf import train
from pipelines import batch_predict, embed_items
from pipelines.predictions import prediction_files
from tests import tiny
from tests.engines import processes
from tests.engines.conftest import contents, flags

pytestmark = pytest.mark.assets


def pytest_generate_tests(metafunc):
  if 'engine' in metafunc.fixturenames:
    given = metafunc.config.getoption('job_endpoint')
    names = ['given'] if given else ['python', 'prism']
    metafunc.parametrize('engine', names, indirect=True, scope='module')


@pytest.fixture(scope='module')
def engine(request) -> list[str]:
  """Flags of a portable runner."""
  option = request.config.getoption
  if request.param == 'given':
    address, (kind, _, environment) = (
      option('job_endpoint'),
      option('environment').partition(' '),
    )
  else:
    address = request.getfixturevalue(
      {'python': 'job_service', 'prism': 'prism'}[request.param]
    )
    kind, environment = 'EXTERNAL', request.getfixturevalue('worker_pool')[0]
  return [
    *('--runner=PortableRunner', f'--job_endpoint={address}', '--parallelism=2'),
    *(f'--environment_type={kind}', f'--environment_config={environment}'),
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


def run(job, arguments, folder, engine):
  """Runs a job in a process of its own."""
  command = [sys.executable, '-m', f'pipelines.{job}', *arguments, *engine]
  log = folder / 'job.log'
  done = processes.run(command, log, processes.environment(), timeout=240)
  assert not done.code, done.output


def rows(folder) -> list[dict]:
  """The table without when it was made."""
  found = prediction_files.read_predictions(str(folder), 'avro')
  return [{name: x[name] for name in x if name != 'predicted_at'} for x in found]


def test_histories(engine, data, expected, tmp_path):
  run('build_histories', flags(data, tmp_path / 'h'), tmp_path, engine)
  assert contents(tmp_path / 'h') == expected


def test_embeddings(engine, folders, assets, tmp_path):
  assets('all-MiniLM-L6-v2')
  given = [f'--histories_dir={folders[0]}']
  embed_items.run([*given, f'--output_dir={tmp_path}/here'])
  run('embed_items', [*given, f'--output_dir={tmp_path}/there'], tmp_path, engine)
  assert contents(tmp_path / 'there') == contents(tmp_path / 'here')


def test_predictions(engine, asked, tmp_path):
  batch_predict.run([*asked, f'--output_dir={tmp_path}/here'])
  run('batch_predict', [*asked, f'--output_dir={tmp_path}/there'], tmp_path, engine)
  assert rows(tmp_path / 'there') == rows(tmp_path / 'here')
