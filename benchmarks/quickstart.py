"""Runs `make quickstart` from nothing and records time, memory and scores.

    python -m benchmarks.quickstart [--data_dir=/path/to/ml-latest-small]

Needs a clone without `.venv` and `runs`, to measure all of it; the asset cache may be
anywhere (PERSOMA_CACHE). Writes `benchmarks/results/quickstart_<data>.json`.
"""

import argparse
import itertools
import json
import os
import pathlib
import platform
import resource
import subprocess
import time

STAGES = ('histories', 'embeddings', 'model', 'predictions', 'report')


def main() -> None:
  """Runs, measures, writes."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data_dir', default='', help='a MovieLens CSV folder')
  data_dir = parser.parse_args().data_dir
  name = pathlib.Path(data_dir).name or 'ml-100k'
  run = pathlib.Path('runs', f'quickstart-{name}' if data_dir else 'quickstart')
  if run.exists():
    raise SystemExit(f'{run} is there already: this measures from nothing')
  started = time.time()
  subprocess.run(['make', 'quickstart', f'DATA_DIR={data_dir}'], check=True)
  ended = time.time()
  marks = [started, *((run / x / 'COMPLETED').stat().st_mtime for x in STAGES)]
  spans = [round(end - begin, 1) for begin, end in itertools.pairwise(marks)]
  peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
  report = json.loads((run / 'report' / 'metrics.json').read_text())
  result = {
    'command': f'make quickstart DATA_DIR={data_dir and name}',
    'machine': {'cpus': os.cpu_count(), 'processor': platform.processor() or 'x86_64'},
    'seconds': {
      'all': round(ended - started, 1),
      **dict(zip(STAGES, spans, strict=True)),
    },
    'peak_memory_gb': round(peak / 1e6, 2),
    **report,
  }
  path = pathlib.Path('benchmarks', 'results', f'quickstart_{name}.json')
  path.parent.mkdir(exist_ok=True)
  path.write_text(json.dumps(result, indent=2) + '\n')
  print(path)


if __name__ == '__main__':
  main()
