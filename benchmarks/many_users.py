"""Batch prediction over many users: flat memory, exact counts.

    python -m benchmarks.many_users --work_dir=runs/many_users [--users=100000] \
      [--vllm_python=.venv-vllm/bin/python]

Generated ratings, the real encoder, and the tests' decoder of 0.8 M random parameters
with SmolLM2's vocabulary, so that the job and not the model is what is measured. All
stages run as processes of their own. Every user must be answered once; the job's memory
is sampled, that of vLLM's process with it, and its peak in the first and in the last
third compared. Writes `benchmarks/results/many_users.json`, or `many_users_vllm.json`.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

import psutil

from benchmarks import make_ratings
from benchmarks.processes import HUGE_PAGES
from pipelines.common import job, tfrecord
from pipelines.histories import history_records
from pipelines.predictions import prediction_files
from tests import tiny

_RATINGS_A_USER, _ITEMS = 30, 3000


def main() -> None:
  """Runs what is not there yet, and measures the last stage."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--work_dir', type=pathlib.Path, default='runs/many_users')
  parser.add_argument('--users', type=int, default=100_000)
  parser.add_argument('--vllm_python', default='', help='answer with --engine=vllm')
  flags = parser.parse_args()
  work = flags.work_dir
  work.mkdir(parents=True, exist_ok=True)
  if not (work / 'ratings.csv').exists():
    write_ratings(work, flags.users)
  folders = [f'--histories_dir={work}/histories', f'--embeddings_dir={work}/embeddings']
  run(
    'pipelines.build_histories',
    f'--ratings={work}/ratings.csv',
    f'--movies={work}/movies.csv',
    f'--output_dir={work}/histories',
    *('--max_history=20', '--train_fraction=0.05', '--validation_fraction=0.01'),
  )
  run('pipelines.embed_items', folders[0], f'--output_dir={work}/embeddings')
  width = 32 if flags.vllm_python else tiny.WIDTH // tiny.HEADS  # vLLM knows no 4
  change = lambda writer: writer.add_key_length(width)
  decoder = tiny.write_decoder(work / 'decoder.gguf', change, head=width)
  engine = [f'--vllm_python={flags.vllm_python}', '--engine=vllm']
  recipe = [f'--gin.{x.replace(" = ", "=", 1)}' for x in tiny.RECIPE]
  run(
    'persoma_tf.train',
    '--gin_file=runs/perceiver.gin',
    f'--model_dir={work}/model',
    f'--gin.build.decoder={str(decoder)!r}',
    *folders,
    *recipe,
  )
  memory, seconds = run(
    'pipelines.batch_predict',
    f'--model_dir={work}/model',
    *folders,
    f'--output_dir={work}/predictions',
    *('--split=all', '--overwrite', '--batch_size=256'),
    *(engine if flags.vllm_python else ()),
  )
  users = check(work)
  third = len(memory) // 3
  result = {
    'command': 'python -m benchmarks.many_users',
    'machine': {'cpus': os.cpu_count(), 'processor': platform.machine()},
    'versions': job.versions('jax', 'flax'),
    'users': users,
    'users_a_second': users / seconds,
    'peak_memory_gb': {
      'first third': max(memory[:third]),
      'last third': max(memory[-third:]),
    },
  }
  name = 'many_users_vllm.json' if flags.vllm_python else 'many_users.json'
  path = pathlib.Path(__file__).parent / 'results' / name
  path.write_text(json.dumps(result, indent=2) + '\n')
  print(json.dumps(result, indent=2))


def write_ratings(work: pathlib.Path, users: int) -> None:
  """Ratings of `users` users, no more than some each."""
  make_ratings.write(work / 'all', users * 160, _ITEMS, seed=0, shuffled=False)
  seen: dict[str, int] = {}
  with open(work / 'all/ratings.csv') as old, open(work / 'some.csv', 'w') as new:
    new.write(next(old))
    for line in old:
      user = line.partition(',')[0]
      if user not in seen and len(seen) == users:
        break
      seen[user] = seen.get(user, 0) + 1
      if seen[user] <= _RATINGS_A_USER:
        new.write(line)
  (work / 'all/movies.csv').rename(work / 'movies.csv')
  (work / 'some.csv').rename(work / 'ratings.csv')


def run(module: str, *arguments: str) -> tuple[list[float], float]:
  """A process of its own; memory with its children in GB, sampled, and seconds."""
  print('+', module, flush=True)
  started, memory = time.monotonic(), []
  command = [sys.executable, '-m', module, *arguments]
  with subprocess.Popen(command, env=os.environ | HUGE_PAGES) as process:
    watched = psutil.Process(process.pid)
    while process.poll() is None:
      with contextlib.suppress(psutil.NoSuchProcess):  # one just ended
        tree = [watched, *watched.children()]
        memory.append(sum(x.memory_info().rss for x in tree) / 1e9)
      time.sleep(0.5)
  if process.returncode:
    raise SystemExit(f'{module} failed')
  return memory, time.monotonic() - started


def check(work: pathlib.Path) -> int:
  """Every user of the histories stands in the table once; returns how many."""
  wanted = [
    history_records.decode_example(record)['user_id']
    for path in (work / 'histories').glob('*.tfrecord*')
    for record in tfrecord.read_tfrecord(str(path))
  ]
  found = []
  for rows in prediction_files.read_shards(f'{work}/predictions', 'avro'):
    found += [row['user_id'] for row in rows]
    assert all(row['parse_ok'] for row in rows)
  assert sorted(found) == sorted(wanted)
  assert len(set(found)) == len(found)
  return len(found)


if __name__ == '__main__':
  main()
