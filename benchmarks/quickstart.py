"""Runs `make quickstart` from nothing and records time, memory and scores.

    python -m benchmarks.quickstart [--data_dir=/path/to/ml-latest-small] \
      [--engine=vllm]

Needs a clone without `.venv` and `runs`, to measure all of it, and a Python from
elsewhere that has psutil; the asset cache may be anywhere (PERSOMA_CACHE). With vLLM,
the environments must be there (`make setup-vllm`). Memory is that of all processes at
one moment. Writes `benchmarks/results/quickstart_<data>.json`, or
`quickstart_<data>_vllm.json`.
"""

import argparse
import itertools
import json
import os
import pathlib
import platform
import time

from benchmarks.processes import run_measured

STAGES = ('histories', 'embeddings', 'model', 'predictions', 'report')


def main() -> None:
  """Runs, measures, writes."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data_dir', default='', help='a MovieLens CSV folder')
  parser.add_argument('--engine', choices=('jax', 'vllm'), default='jax')
  flags = parser.parse_args()
  name = pathlib.Path(flags.data_dir).name or 'ml-100k'
  name += '_vllm' * (flags.engine == 'vllm')
  run = pathlib.Path('runs', f'quickstart_{name}')
  if run.exists():
    raise SystemExit(f'{run} is there already: this measures from nothing')
  chosen = f'DATA_DIR={flags.data_dir}', f'PREDICT_ARGS=--engine={flags.engine}'
  started = time.time()
  seconds, peak = run_measured(
    ['make', 'quickstart', f'RUN={run}', *chosen], shown=True
  )
  marks = [started, *((run / x / 'COMPLETED').stat().st_mtime for x in STAGES)]
  spans = [round(end - begin, 1) for begin, end in itertools.pairwise(marks)]
  report = json.loads((run / 'report' / 'metrics.json').read_text())
  result = {
    'command': f'python -m benchmarks.quickstart --engine={flags.engine}',
    'machine': {'cpus': os.cpu_count(), 'processor': platform.processor() or 'x86_64'},
    'seconds': {
      'all': round(seconds, 1),
      **dict(zip(STAGES, spans, strict=True)),
    },
    'peak_memory_gb': round(peak, 2),
    **report,
  }
  path = pathlib.Path('benchmarks', 'results', f'quickstart_{name}.json')
  path.parent.mkdir(exist_ok=True)
  path.write_text(json.dumps(result, indent=2) + '\n')
  print(path)


if __name__ == '__main__':
  main()
