"""A stand-in of the Dataflow jobs service on this machine; gives tokens, too.

A submitted job is really executed: its files are fetched from the bucket, compared
with the checksums in the graph, the staged package is installed into an environment
without this project, and the graph runs there.
"""

import hashlib
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import venv
from urllib.parse import urlsplit

from apache_beam.io.filesystems import FileSystems
from apache_beam.portability.api import beam_runner_api_pb2

from tests.engines import processes

_TOKEN = {
  'access_token': 'none',
  'issued_token_type': 'urn:ietf:params:oauth:token-type:access_token',
  'token_type': 'Bearer',
  'expires_in': 3600,
}
_LOCATION = '/v1b3/projects/test/locations/us-central1/jobs'


class DataflowService(http.server.ThreadingHTTPServer):
  """Serves POST and GET of jobs, and POST /token.

  Attributes:
    folder: where each job gets a folder with its files and logs.
    jobs: id -> the job resource as the API gives it.
    env: variables of the workers; set it before a job is submitted.
  """

  def __init__(self, folder: pathlib.Path):
    super().__init__(('localhost', 0), _Answer)
    self.folder, self.jobs, self.env, self._workers = folder, {}, {}, {}
    self.address = f'http://localhost:{self.server_port}'

  def submit(self, request: dict) -> dict:
    """Begins a job."""
    number = len(self.jobs)
    name = f'job-{number}'
    job = {
      **{key: request[key] for key in ('name', 'type', 'environment')},
      'id': name,
      'projectId': 'test',
      'location': 'us-central1',
      'createTime': '2026-01-01T00:00:00Z',
      'currentState': 'JOB_STATE_RUNNING',
    }
    self.jobs[name] = job
    worker = threading.Thread(target=self._run, args=(job,), daemon=True)
    self._workers[name] = worker
    worker.start()
    return job

  def wait(self, job: dict) -> str:
    """Waits for a job's end; returns its state."""
    self._workers[job['id']].join(timeout=150)
    return job['currentState']

  def _run(self, job):
    folder = self.folder / job['id']
    folder.mkdir()
    try:
      options = job['environment']['sdkPipelineOptions']['options']
      graph = fetch(options['pipelineUrl'], folder)
      python = clean_python(folder)
      install(python, folder / 'workflow.tar.gz', folder)
      script = pathlib.Path(__file__).parent / 'execute.py'
      command = [str(python), str(script), str(graph)]
      done = processes.run(command, folder / 'execute.log', self.env, folder)
      job['workers'] = len(done.workers)
      state = 'JOB_STATE_FAILED' if done.code else 'JOB_STATE_DONE'
    except Exception as error:
      (folder / 'service.log').write_text(f'{error}')
      state = 'JOB_STATE_FAILED'
    job['currentState'] = state

  def messages(self, job_id: str) -> list[dict]:
    """What a failed job wrote."""
    if self.jobs[job_id]['currentState'] != 'JOB_STATE_FAILED':
      return []
    logs = (self.folder / job_id).glob('*.log')
    text = '\n'.join(path.read_text(errors='replace') for path in logs)
    return [
      {
        'id': '0',
        'time': '2026-01-01T00:00:01Z',
        'messageImportance': 'JOB_MESSAGE_ERROR',
        'messageText': text,
      }
    ]


def fetch(url: str, folder: pathlib.Path) -> pathlib.Path:
  """Fetches a graph and its files.

  Raises:
    ValueError: a file's content is not what the graph says.
  """
  path = folder / 'pipeline.pb'
  path.write_bytes(_read(url))
  graph = beam_runner_api_pb2.Pipeline.FromString(path.read_bytes())
  for environment in graph.components.environments.values():
    for dependency in environment.dependencies:
      source = beam_runner_api_pb2.ArtifactUrlPayload.FromString(
        dependency.type_payload
      )
      name = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(
        dependency.role_payload
      ).staged_name
      data = _read(source.url)
      if hashlib.sha256(data).hexdigest() != source.sha256:
        raise ValueError(f'{name}: not the content that was submitted')
      (folder / name).write_bytes(data)
  return path


def clean_python(folder: pathlib.Path) -> pathlib.Path:
  """The Python of a new environment: the lock's packages, but not this project.

  Raises:
    RuntimeError: the project can be imported there.
  """
  venv.create(folder / 'venv')
  site = next((folder / 'venv').glob('lib/python*/site-packages'))
  lock = next(path for path in sys.path if path.endswith('site-packages'))
  (site / 'lock.pth').write_text(f'import site; site.addsitedir({lock!r})\n')
  python = folder / 'venv' / 'bin' / 'python'
  found = subprocess.run(
    [python, '-c', 'import pipelines'], cwd=folder, capture_output=True
  )
  if not found.returncode:
    raise RuntimeError(f'{lock} holds this project: no clean environment is possible')
  return python


def install(python: pathlib.Path, package: pathlib.Path, folder: pathlib.Path) -> None:
  """Installs the staged package, without its requirements: the lock has them."""
  command = [str(python), '-m', 'pip', 'install', '--no-deps', '--no-index']
  command += ['--no-build-isolation', str(package)]
  done = processes.run(command, folder / 'install.log', processes.environment(), folder)
  if done.code:
    raise RuntimeError(done.output)


def _read(url):
  with FileSystems.open(url, compression_type='uncompressed') as file:
    return file.read()


class _Answer(http.server.BaseHTTPRequestHandler):
  def do_POST(self):
    body = self.rfile.read(int(self.headers['Content-Length'] or 0))
    if self.path == '/token':
      return self._send(_TOKEN)
    if urlsplit(self.path).path != _LOCATION:
      return self._send({}, 404)
    return self._send(self.server.submit(json.loads(body)))

  def do_GET(self):
    path = urlsplit(self.path).path
    if not path.startswith(_LOCATION):
      return self._send({}, 404)
    name, _, rest = path[len(_LOCATION) + 1 :].partition('/')
    if rest == 'messages':
      return self._send({'jobMessages': self.server.messages(name)})
    if rest:  # metrics: none
      return self._send({})
    job = self.server.jobs.get(name)
    return self._send(job or {}, 200 if job else 404)

  def _send(self, value, status=200):
    data = json.dumps(value).encode()
    self.send_response(status)
    self.send_header('Content-Type', 'application/json')
    self.send_header('Content-Length', str(len(data)))
    self.end_headers()
    self.wfile.write(data)

  def log_message(self, *_):
    """Says nothing."""
