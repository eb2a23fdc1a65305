"""Batch prediction with one and with two workers, each on a core of its own.

    python -m benchmarks.scaling --model_dir=model --histories_dir=histories \
      --embeddings_dir=embeddings --work_dir=runs/scaling

All users of all splits are answered by one worker on one core, by two workers that
share the folder (`--shard=0/2`, `--shard=1/2`), a core each, and by one worker on both.
Seconds of wall time are from the start of the processes to the finished table, model
loading and compiling included. Writes `benchmarks/results/scaling.json`.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.processes import HUGE_PAGES
from pipelines.common import job, storage

# Name -> the cores of each worker.
RUNS = {
  'one worker, one core': ((0,),),
  'two workers, a core each': ((0,), (1,)),
  'one worker, two cores': ((0, 1),),
}


def main() -> None:
  """Runs all and writes the results."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  for name in ('model', 'histories', 'embeddings'):
    parser.add_argument(f'--{name}_dir', required=True)
  parser.add_argument('--work_dir', type=pathlib.Path, default='runs/scaling')
  flags = parser.parse_args()
  inputs = [
    f'--{name}_dir={getattr(flags, f"{name}_dir")}'
    for name in ('model', 'histories', 'embeddings')
  ]
  rows = {}
  for name, workers in RUNS.items():
    rows[name] = measure(inputs, flags.work_dir, workers)
    print(name, rows[name], flush=True)
  speeds = {name: row['users_a_second'] for name, row in rows.items()}
  one = speeds['one worker, one core']
  result = {
    'command': 'python -m benchmarks.scaling',
    'machine': {'cpus': os.cpu_count(), 'processor': platform.machine()},
    'versions': job.versions('jax', 'flax'),
    'over_one_core': {name: speed / one for name, speed in speeds.items()},
    'runs': rows,
  }
  path = pathlib.Path(__file__).parent / 'results' / 'scaling.json'
  path.write_text(json.dumps(result, indent=2) + '\n')
  print(path)


def measure(inputs: Sequence[str], work: pathlib.Path, workers) -> dict:
  """Answers all users; each worker is bound to its cores."""
  output = work / 'predictions'
  shutil.rmtree(output, ignore_errors=True)
  command = [sys.executable, '-m', 'pipelines.batch_predict', *inputs, '--split=all']
  command += [f'--output_dir={output}', '--shard_users=64']
  begun, running = time.perf_counter(), []
  for number, cores in enumerate(workers):
    running.append(
      subprocess.Popen(
        [*command, f'--shard={number}/{len(workers)}'],
        env=os.environ | HUGE_PAGES,
        preexec_fn=lambda cores=cores: os.sched_setaffinity(0, cores),
      )
    )
  codes = [process.wait() for process in running]
  if any(codes):
    raise SystemExit(f'{output}: a worker failed')
  seconds = time.perf_counter() - begun
  users = storage.read_json(str(output / 'run_info.json'))['users']
  return {'users': users, 'seconds': seconds, 'users_a_second': users / seconds}


if __name__ == '__main__':
  main()
