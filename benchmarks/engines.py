"""Runs all jobs in process and on Prism, and times what a worker imports.

    make quickstart setup-prism
    python -m benchmarks.engines
    python -m benchmarks.engines --name='Flink 1.19.3' --job_endpoint=localhost:8099 \\
      --environment='PROCESS {"command": "/path/to/boot"}'

The second form adds the column of a job service that runs. The jobs read the folders of
the quickstart; what an engine writes must be what the run in process wrote. A job is
timed from start to exit with its imports. Prism's workers list their imports (Python's
PYTHONPROFILEIMPORTTIME), from their start to the end of the job: what is loaded with an
encoder or a model counts, too. The same is measured where no bytecode is stored and
none may be written. Writes `benchmarks/results/engines.json`.
"""

import argparse
import collections
import contextlib
import json
import pathlib
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from benchmarks.decoding import machine
from benchmarks.result_files import RESULTS, ROOT
from persoma_tf import assets
from pipelines.common import job
from pipelines.predictions import prediction_files
from tests.engines import processes

RUN = ROOT / 'runs' / 'quickstart'
IN_PROCESS = 'in process'
_IMPORT = re.compile(r'import time: +(\d+) \| +\d+ \| +(\w+)')
_LONGEST = 3_600  # seconds


def commands() -> dict[str, list[str]]:
  """Job -> its flags without an output folder, as in the Makefile."""
  raw = assets.path('ml-100k')
  folders = [f'--histories_dir={RUN}/histories']
  vectors = [*folders, f'--embeddings_dir={RUN}/embeddings']
  return {
    'build_histories': [
      *(f'--ratings={raw}/ml-100k.inter', f'--movies={raw}/ml-100k.item'),
      *('--max_history=100', '--train_fraction=0.7', '--validation_fraction=0.1'),
    ],
    'embed_items': folders,
    'batch_predict': [*vectors, f'--model_dir={RUN}/model', '--run_id=r'],
  }


def portable(endpoint: str, kind: str, about: str) -> list[str]:
  """Flags of the portable runner: a job service, and where its workers run."""
  return [
    *('--runner=PortableRunner', f'--job_endpoint={endpoint}', '--parallelism=2'),
    *(f'--environment_type={kind}', f'--environment_config={about}'),
  ]


@contextlib.contextmanager
def prism(
  folder: pathlib.Path, **variables: str
) -> Iterator[tuple[list[str], pathlib.Path]]:
  """Starts Prism and a pool of workers; gives the flags and the log of the imports.

  Args:
    folder: existing folder for the logs.
    **variables: of the workers' environment.
  """
  port, pool_port = processes.free_port(), processes.free_port()
  binary = pathlib.Path(sys.prefix, 'bin', 'prism')
  server = [str(binary), f'-job_port={port}', '-serve_http=false']
  pool = [sys.executable, '-m', 'apache_beam.runners.worker.worker_pool_main']
  pool.append(f'--service_port={pool_port}')
  env = processes.environment(PYTHONPROFILEIMPORTTIME='1', **variables)
  with (
    processes.started(server, folder / 'prism.log', env) as engine,
    processes.started(pool, folder / 'pool.log', env) as workers,
  ):
    processes.wait_for_port(port, engine)
    processes.wait_for_port(pool_port, workers)
    flags = portable(f'localhost:{port}', 'EXTERNAL', f'localhost:{pool_port}')
    yield flags, folder / 'pool.log'


def imported(log: str) -> dict[str, float]:
  """Seconds of the imports in a log, by package: all, and those above 0.05."""
  seconds = collections.Counter()
  for microseconds, package in _IMPORT.findall(log):
    seconds[package] += int(microseconds) / 1e6
  found = {'all': seconds.total(), **dict(seconds.most_common())}
  return {name: round(took, 2) for name, took in found.items() if took > 0.05}


def run(name: str, flags: Sequence[str], output: pathlib.Path) -> float:
  """Runs a job to its end; returns the seconds."""
  command = [sys.executable, '-m', f'pipelines.{name}', *flags]
  command.append(f'--output_dir={output}')
  started = time.monotonic()
  log, env = output.with_suffix('.log'), processes.environment()
  done = processes.run(command, log, env, timeout=_LONGEST)
  if done.code:
    raise SystemExit(f'{name}: {done.output[-2_000:]}')
  return time.monotonic() - started


def written(name: str, folder: pathlib.Path) -> object:
  """What a job wrote, without when and by whom: bytes, or rows."""
  if name == 'batch_predict':
    rows = prediction_files.read_predictions(str(folder), 'avro')
    return [row | {'predicted_at': None} for row in rows]
  files = sorted(set(folder.iterdir()) - {folder / 'COMPLETED'})
  return [(path.name, path.read_bytes()) for path in files]


def main() -> None:
  """Measures and writes."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--name', help='of the engine behind --job_endpoint')
  parser.add_argument('--job_endpoint')
  parser.add_argument('--environment', default='DOCKER')
  flags = parser.parse_args()
  if not (RUN / 'report' / 'COMPLETED').exists():
    raise SystemExit(f'{RUN} is not finished: make quickstart')
  path = RESULTS / 'engines.json'
  result = json.loads(path.read_text()) if flags.name else {'jobs': {}}
  with contextlib.ExitStack() as stack:
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    if flags.name:
      kind, _, about = flags.environment.partition(' ')
      engine, name, log = portable(flags.job_endpoint, kind, about), flags.name, None
    else:
      name = 'Prism'
      engine, log = stack.enter_context(prism(folder))
    measure(name, engine, log, folder, result)
  if not flags.name:
    result['imports without bytecode'] = without_bytecode()
  result |= {'machine': machine(), 'versions': job.versions('jax', 'tensorflow')}
  path.write_text(json.dumps(result, indent=2) + '\n')
  print(json.dumps(result, indent=2))


def without_bytecode() -> dict[str, float]:
  """Imports of build_histories where Python may neither find nor write bytecode."""
  with tempfile.TemporaryDirectory() as made:
    folder, forbidden = pathlib.Path(made), {'PYTHONDONTWRITEBYTECODE': '1'}
    with prism(folder, PYTHONPYCACHEPREFIX=f'{made}/none', **forbidden) as (flags, log):
      before = len(log.read_text())
      run('build_histories', [*commands()['build_histories'], *flags], folder / 'h')
      return imported(log.read_text()[before:])


def measure(name, engine, log, folder, result) -> None:
  """Adds the seconds and imports of all jobs on an engine to the result."""
  for about, own in commands().items():
    row = result['jobs'].setdefault(about, {})
    row[IN_PROCESS] = round(run(about, own, folder / f'{about}-here'), 1)
    before = len(log.read_text()) if log else 0
    row[name] = round(run(about, [*own, *engine], folder / f'{about}-there'), 1)
    here, there = (written(about, folder / f'{about}-{x}') for x in ('here', 'there'))
    if here != there:
      raise SystemExit(f'{about}: {name} wrote something else')
    if log:
      row['imports of a worker'] = imported(log.read_text()[before:])
    print(about, row, flush=True)


if __name__ == '__main__':
  main()
