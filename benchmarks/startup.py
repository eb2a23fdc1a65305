"""Times `--help` of every command: what a person waits for before anything is read.

    python -m benchmarks.startup

Each command runs three times in a process of its own; the quickest counts. Writes
`benchmarks/results/startup.json`.
"""

import json
import os
import pathlib
import platform
import subprocess
import sys
import time

COMMANDS = (
  *('pipelines.build_histories', 'pipelines.embed_items', 'pipelines.batch_predict'),
  *('pipelines.evaluate', 'pipelines.load_predictions', 'pipelines.t5x_answers'),
  *('pipelines.study', 'pipelines.study_report', 'pipelines.inspect'),
  *('persoma_tf.train', 'persoma_tf.convert_checkpoint', 'persoma_tf.assets'),
  'persoma_tf.export_decoder',
)
TIMES = 3


def seconds(module: str) -> float:
  """Wall time of one `--help`."""
  started = time.perf_counter()
  subprocess.run(
    [sys.executable, '-m', module, '--help'], check=True, stdout=subprocess.DEVNULL
  )
  return time.perf_counter() - started


def main() -> None:
  """Measures and writes."""
  found = {
    module: round(min(seconds(module) for _ in range(TIMES)), 2) for module in COMMANDS
  }
  machine = {'cpus': os.cpu_count(), 'processor': platform.machine()}
  result = {'machine': machine, 'python': platform.python_version(), 'seconds': found}
  path = pathlib.Path('benchmarks', 'results', 'startup.json')
  path.write_text(json.dumps(result, indent=2) + '\n')
  print(json.dumps(found, indent=2))


if __name__ == '__main__':
  main()
