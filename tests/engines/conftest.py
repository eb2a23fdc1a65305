"""Engines and a bucket, each in processes of their own that end with the tests."""

import dataclasses
import json
import pathlib
import re
import shutil
import sys
import threading
import uuid

import google.cloud.bigquery
import pytest
from apache_beam.io.filesystems import FileSystems
from google.api_core.future import polling

from pipelines import build_histories
from pipelines.common import storage
from tests import movielens
from tests.engines import processes
from tests.engines.dataflow_service import DataflowService
from tests.histories import without_owner

BUCKET = 'persoma-tests'
_BAD_RATINGS = ['1,1,many,1', '1,1,7.0,1', '1,99999,4.0,1', '', '1,1', ',1,4.0,1']
_BAD_MOVIES = ['1,Again (1999),War', ',Nameless (1999),War', '7,too,many,columns']


@dataclasses.dataclass(frozen=True)
class Bucket:
  """An empty folder in the bucket emulator, and how processes come to it."""

  path: str
  env: dict[str, str]

  def upload(self, source: pathlib.Path) -> str:
    """Copies a folder's files; returns their address."""
    for path in source.iterdir():
      storage.write_file(f'{self.path}/{path.name}', path.read_bytes())
    return self.path

  def fail(self, name: str = '', status: int = 0, times: int = 0) -> list[str]:
    """Lets uploads fail from now on; returns what failed so far."""
    import requests

    body = json.dumps({'name': name, 'status': status, 'times': times})
    address = f'{self.env["STORAGE_EMULATOR_HOST"]}/faults'
    return requests.post(address, data=body, timeout=30).json()


@pytest.fixture(scope='session')
def data(tmp_path_factory) -> pathlib.Path:
  """Ratings in two files, movies, and bad rows in all of them."""
  folder = movielens.write(tmp_path_factory.mktemp('data'))
  lines = (folder / 'ratings.csv').read_text().split('\n')
  half = len(lines) // 2
  for name, part in (('1', lines[1:half]), ('2', lines[half:-1])):
    text = '\n'.join([lines[0], *part[:50], *_BAD_RATINGS, *part[50:]])
    (folder / f'ratings-{name}.csv').write_text(text)
  (folder / 'ratings.csv').unlink()
  with open(folder / 'movies.csv', 'a') as file:
    file.write('\n'.join(_BAD_MOVIES))
  (folder / 'asked.csv').write_text('\n'.join([lines[0], *lines[1:-1:5]]))
  _write_dataset(folder)
  return folder


def _write_dataset(folder: pathlib.Path) -> None:
  """A dataset file with texts of events, and questions about users and examples."""
  text = (processes.ROOT / 'examples' / 'movielens' / 'genres.yaml').read_text()
  text = re.sub('folder: .*\n', '', text).replace('ratings.csv', '"ratings-*.csv"')
  own = '  - "{title} was seen at {timestamp}[ by {age}]"\n'
  text = text.replace('texts:\n', f'texts:\n{own}')
  ages = ''.join(f'{user},{user % 7 + 20}\n' for user in range(1, 40, 2))
  (folder / 'users.csv').write_text(f'id,age\n{ages}')
  (folder / 'movielens.yaml').write_text(f'{text}{_CHOICES}')


_CHOICES = """
  - name: like_v1
    prompt: "Will the user like {title}?"
    answer: {choice: ["Yes", "No"]}
    examples:
      files: asked.csv
      user: userId
      item: movieId
      time: timestamp
      answer: rating > 3
  - name: watch_v1
    prompt: "Will the user watch {title}?"
    answer: {choice: ["Yes", "No"]}
    examples: {holdout: {last: 2}, negatives: {each: 2, by: popularity}}
users: {files: users.csv, user: id, fields: [age]}
history: {sampler: long_tail, most: 10}
"""


def dataset_flags(source, output) -> list[str]:
  """Flags of a job with examples, several blocks and shards."""
  made = ['--num_shards=3', '--block_bytes=2000', '--max_reject_fraction=0.1']
  return [f'--dataset={source}/movielens.yaml', f'--output_dir={output}', *made]


def flags(source, output) -> list[str]:
  """Flags of a job with several blocks and shards."""
  return [
    f'--ratings={source}/ratings-*.csv',
    f'--movies={source}/movies.csv',
    f'--output_dir={output}',
    '--sampler=long_tail',
    '--max_history=10',
    '--num_shards=3',
    '--block_bytes=2000',
    '--max_reject_fraction=0.1',
  ]


def dataflow_flags(bucket: Bucket, checkout='.') -> list[str]:
  """Flags that submit a job from a checkout, as docs/cloud.md has them."""
  return [
    '--runner=DataflowRunner',
    '--project=test',
    '--region=us-central1',
    f'--temp_location={bucket.path}/temp',
    f'--setup_file={checkout}/setup.py',
  ]


def query(text: str, table: str) -> list[dict]:
  """What a query of TABLE answers."""
  text = text.replace('TABLE', f'`{table.replace(":", ".")}`')
  found = google.cloud.bigquery.Client().query(text).result()
  return [dict(row.items()) for row in found]


def contents(folder) -> dict[str, bytes]:
  """File name -> bytes, of a local folder or one in a bucket, without the owner."""
  found = {}
  for path in storage.list_files(str(folder)):
    with FileSystems.open(path, compression_type='uncompressed') as file:
      found[path[len(str(folder)) + 1 :]] = without_owner(file.read())
  return found


@pytest.fixture(scope='session')
def expected(data, tmp_path_factory) -> dict[str, bytes]:
  """What the job writes in this process."""
  folder = tmp_path_factory.mktemp('expected')
  build_histories.run(flags(data, folder))
  made = contents(folder)
  counts = json.loads(made['dataset_info.json'])['counts']
  assert counts['rows_rejected'] == 2 * len(_BAD_RATINGS)
  assert counts['item_rows_rejected'] == len(_BAD_MOVIES)
  assert sum(name.startswith('train-') for name in made) == 3
  return made


@pytest.fixture(scope='session')
def expected_examples(data, tmp_path_factory) -> dict[str, bytes]:
  """What the job with examples writes in this process."""
  folder = tmp_path_factory.mktemp('expected_examples')
  build_histories.run(dataset_flags(data, folder))
  made = contents(folder)
  assert 'event_texts.parquet' in made
  for question in ('like_v1', 'watch_v1'):
    names = [name for name in made if name.startswith(f'questions/{question}/train-')]
    assert len(names) == 3
    assert all(made[name] for name in names)
  return made


@pytest.fixture(scope='session')
def dataflow(tmp_path_factory):
  """The stand-in of the Dataflow service."""
  service = DataflowService(tmp_path_factory.mktemp('dataflow'))
  threading.Thread(target=service.serve_forever, daemon=True).start()
  yield service
  service.shutdown()
  service.server_close()


@pytest.fixture(scope='session')
def bucket_folder(tmp_path_factory) -> pathlib.Path:
  """Where the bucket emulator keeps its objects."""
  return tmp_path_factory.mktemp('objects')


@pytest.fixture(scope='session')
def cloud_env(dataflow, bucket_folder, tmp_path_factory):
  """Variables with which Google's libraries come to the stand-ins."""
  folder = tmp_path_factory.mktemp('cloud')
  # Of a kind for which nothing is looked up at googleapis.com.
  (folder / 'subject').write_text('nobody')
  account = {
    'type': 'external_account',
    'audience': 'tests',
    'subject_token_type': 'urn:ietf:params:oauth:token-type:jwt',
    'token_url': f'{dataflow.address}/token',
    'credential_source': {'file': str(folder / 'subject')},
  }
  (folder / 'account.json').write_text(json.dumps(account))
  command = [sys.executable, '-m', 'tests.engines.bucket_server']
  command += [str(folder / 'port'), BUCKET, str(bucket_folder)]
  env = processes.environment()
  with processes.started(command, folder / 'log', env) as server:
    port = processes.wait_for_file(folder / 'port', server)
    yield {
      'STORAGE_EMULATOR_HOST': f'http://localhost:{port}',
      'GOOGLE_APPLICATION_CREDENTIALS': str(folder / 'account.json'),
      'GOOGLE_CLOUD_PROJECT': 'test',
    }


@pytest.fixture
def bucket(cloud_env, dataflow, monkeypatch) -> Bucket:
  """An empty folder in a bucket, for this process and those it starts."""
  for name, value in cloud_env.items():
    monkeypatch.setenv(name, value)
  dataflow.env = processes.environment()
  made = Bucket(f'gs://{BUCKET}/{uuid.uuid4().hex}', cloud_env)
  made.fail()
  return made


@pytest.fixture(scope='session')
def bucket_run(cloud_env, data) -> tuple[str, str]:
  """(data, histories) in the bucket, made in this process. Read only."""
  with pytest.MonkeyPatch.context() as patch:
    for name, value in cloud_env.items():
      patch.setenv(name, value)
    made = Bucket(f'gs://{BUCKET}/{uuid.uuid4().hex}', cloud_env)
    made.fail()
    source, output = made.upload(data), f'{made.path}/runs/h'
    build_histories.run(flags(source, output))
  return source, output


@pytest.fixture(scope='session')
def bigquery_host(bucket_folder, tmp_path_factory):
  """Address of the BigQuery emulator, which reads the bucket emulator's objects."""
  python = pathlib.Path(f'{sys.prefix}-bigquery', 'bin', 'python')
  if not python.exists():
    pytest.skip(f'{python} is not here: make setup')
  folder = tmp_path_factory.mktemp('bigquery')
  command = [str(python), '-m', 'tests.engines.bigquery_server']
  command += [str(folder / 'port'), str(bucket_folder / '.cloudstorage')]
  # What it unpacks and uploads goes with the folder.
  env = processes.environment(HOME=str(folder), TMPDIR=str(folder))
  with processes.started(command, folder / 'log', env) as server:
    yield f'http://localhost:{processes.wait_for_file(folder / "port", server)}'


@pytest.fixture
def dataset(bigquery_host, bucket, monkeypatch) -> str:
  """An empty dataset; `bucket` is there too."""
  monkeypatch.setenv('BIGQUERY_EMULATOR_HOST', bigquery_host)
  # A load takes milliseconds here; the client would look again after up to a second.
  monkeypatch.setattr(polling.DEFAULT_POLLING, '_initial', 0.02)
  name = f'd{uuid.uuid4().hex}'
  google.cloud.bigquery.Client().create_dataset(name)
  return f'test:{name}'


@pytest.fixture(scope='session')
def job_service(tmp_path_factory):
  """Address of a portable job service with two workers a job."""
  folder = tmp_path_factory.mktemp('job_service')
  command = [sys.executable, '-m', 'tests.engines.job_service', str(folder / 'port')]
  with processes.started(command, folder / 'log', processes.environment()) as server:
    yield f'localhost:{processes.wait_for_file(folder / "port", server)}'


@pytest.fixture(scope='session')
def prism(tmp_path_factory):
  """Address of the job service of Prism, Beam's runner in Go."""
  binary = pathlib.Path(sys.prefix, 'bin', 'prism')
  if not binary.exists():
    pytest.skip(f'{binary} is not here: make setup-prism')
  port, log = processes.free_port(), tmp_path_factory.mktemp('prism') / 'log'
  command = [str(binary), f'-job_port={port}', '-serve_http=false']
  with processes.started(command, log, processes.environment()) as server:
    processes.wait_for_port(port, server)
    yield f'localhost:{port}'


@pytest.fixture(scope='session')
def worker_pool(tmp_path_factory):
  """(address, log) of Beam's external worker pool."""
  port = processes.free_port()
  command = [sys.executable, '-m', 'apache_beam.runners.worker.worker_pool_main']
  log = tmp_path_factory.mktemp('pool') / 'log'
  env = processes.environment()
  with processes.started([*command, f'--service_port={port}'], log, env):
    yield f'localhost:{port}', log


@pytest.fixture(scope='session')
def checkout(tmp_path_factory) -> pathlib.Path:
  """The project's files as a clone has them; packaging writes beside setup.py."""
  folder = tmp_path_factory.mktemp('checkout')
  for name in ('setup.py', 'pyproject.toml', 'requirements.txt'):
    shutil.copy(processes.ROOT / name, folder)
  for name in ('pipelines', 'tasks', 'persoma_tf'):
    ignored = shutil.ignore_patterns('__pycache__')
    shutil.copytree(processes.ROOT / name, folder / name, ignore=ignored)
  return folder
