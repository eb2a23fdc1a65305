"""Training speed under t5x.train and under the native trainer, the same batches.

    python -m benchmarks.t5x_speed --data_dir=runs/quickstart \
      --checkpoint=runs/t5x/start/checkpoint_0

In an environment with T5X (make setup-t5x). `--data_dir` holds finished `histories` and
`embeddings`; `--checkpoint` is one that `persoma_tf.convert_checkpoint` made with the
quickstart's recipe. Each trains the second stage for 40 steps of 8 users, padded to the
limit, float32; what is compared is what each reports of the last 20 steps. Writes
`benchmarks/results/t5x_speed.json`.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

from benchmarks.processes import HUGE_PAGES
from pipelines.common import job

_STEPS, _PERIOD, _BATCH = 40, 20, 8


def main() -> None:
  """Runs both and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data_dir', required=True)
  parser.add_argument('--checkpoint', required=True)
  flags = parser.parse_args()
  found = {}
  with tempfile.TemporaryDirectory() as folder:
    for name, measure in (('native', native), ('t5x', t5x)):
      found[name] = measure(flags, pathlib.Path(folder, name))
      print(name, found[name], flush=True)
  result = {
    'command': 'python -m benchmarks.t5x_speed',
    'machine': {'cpus': os.cpu_count(), 'processor': platform.machine()},
    'versions': job.versions('jax', 'flax'),
    'examples_a_second': found,
    't5x_of_native': found['t5x'] / found['native'],
  }
  path = pathlib.Path(__file__).parent / 'results' / 't5x_speed.json'
  path.write_text(json.dumps(result, indent=2) + '\n')
  print(json.dumps(result, indent=2))


def run(*command: str) -> str:
  """What a program prints."""
  done = subprocess.run(
    [sys.executable, '-m', *command],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env=os.environ | HUGE_PAGES,
  )
  if done.returncode:
    raise SystemExit(done.stdout[-3000:])
  return done.stdout


def native(flags, folder: pathlib.Path) -> float:
  """Examples a second of persoma_tf.train."""
  run(
    'persoma_tf.train',
    '--gin_file=runs/quickstart.gin',
    f'--model_dir={folder}',
    f'--histories_dir={flags.data_dir}/histories',
    f'--embeddings_dir={flags.data_dir}/embeddings',
    '--gin.train.stages=[@decoder/Stage()]',
    f'--gin.decoder/Stage.steps={_STEPS}',
    "--gin.train.dtype='float32'",  # as T5X
    "--gin.decoder/Stage.group_by=''",
    f'--gin.train.log_period={_PERIOD}',
  )
  rows = [json.loads(line) for line in (folder / 'metrics.jsonl').open()]
  return rows[-1]['timing/examples_per_second']


def t5x(flags, folder: pathlib.Path) -> float:
  """Examples a second of t5x.train."""
  bindings = [
    f"MODEL_DIR='{folder}'",
    f"INITIAL_CHECKPOINT_PATH='{pathlib.Path(flags.checkpoint).absolute()}'",
    f"HISTORIES_DIR='{flags.data_dir}/histories'",
    f"EMBEDDINGS_DIR='{flags.data_dir}/embeddings'",
    f'TRAIN_STEPS={_STEPS}',
    f'EVAL_PERIOD={_PERIOD}',
    f'BATCH_SIZE={_BATCH}',
    'Evaluator.num_examples=8',
    'EVAL_STEPS=1',
  ]
  recipe = ['--gin_search_paths=.', '--gin_file=persoma_tf/configs/t5x/train.gin']
  printed = run('t5x.train', *recipe, *(f'--gin.{x}' for x in bindings))
  pattern = rf'\[{_STEPS}\] collection=train .*timing/seqs_per_second=([0-9.]+)'
  return float(re.search(pattern, printed)[1])


if __name__ == '__main__':
  main()
