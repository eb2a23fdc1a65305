"""Where the time of build_histories goes: its functions one by one, in one thread.

    python -m benchmarks.history_stages --rows=20000000

What the job adds to the sum of these is imports, the engine and the shuffle's copies;
what it saves is threads. Then the whole job on one core, on all, and in two processes.
Writes benchmarks/results/history_stages.json.
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks import make_ratings
from benchmarks.histories import JOBS
from pipelines.build_histories import Config
from pipelines.common import job, storage, tfrecord
from pipelines.events import check, file_blocks, input_files, shuffle
from pipelines.events.known_formats import KNOWN
from pipelines.histories import clean, make_histories
from pipelines.items.catalogue import read_items
from pipelines.items.item_table import load_items, write_items


def main() -> None:
  """Generates ratings, measures, writes."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--rows', type=int, required=True)
  rows = parser.parse_args().rows
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    make_ratings.write(folder, rows, 60_000, 0, False)
    started = time.monotonic()
    subprocess.run(
      [sys.executable, '-c', 'import pipelines.build_histories'], check=True
    )
    stages = {'imports': time.monotonic() - started, **measure(folder)}
    every = os.sched_getaffinity(0)
    whole = {
      'one core': run_job(folder, {min(every)}),
      f'{len(every)} cores': run_job(folder, every),
      '2 processes': run_job(folder, every, *JOBS['persoma, 2 processes']),
    }
  for name, seconds in (stages | whole).items():
    print(f'{name:40} {seconds:7.2f} s')
  about = {
    'rows': rows,
    'seed': 0,
    'machine': {'cpus': os.cpu_count()},
    'versions': job.versions(),
    'stages': {name: round(seconds, 2) for name, seconds in stages.items()},
    'job': {name: round(seconds, 2) for name, seconds in whole.items()},
  }
  path = pathlib.Path(__file__).parent / 'results' / 'history_stages.json'
  path.write_text(json.dumps(about, indent=2) + '\n')


def measure(folder: pathlib.Path) -> dict[str, float]:
  """Seconds of each stage on a MovieLens CSV folder."""
  seconds = collections.Counter()

  @contextlib.contextmanager
  def timed(name):
    started = time.monotonic()
    yield
    seconds[name] += time.monotonic() - started

  ratings, movies = str(folder / 'ratings.csv'), str(folder / 'movies.csv')
  config = Config(ratings, movies, str(folder), num_shards=13)
  with timed('checksums of the inputs'):
    files = input_files.find_files(ratings, KNOWN['ratings'], 'ratings')
    input_files.describe_files(files)
  with timed('read and write the item table'):
    table = read_items(input_files.find_files(movies, KNOWN['movies'], 'movies')).table
    write_items(str(folder / 'items.parquet'), table)
    items = load_items(str(folder / 'items.parquet'))
  shards = collections.defaultdict(list)
  for block in file_blocks.cut_blocks(files, config.block_bytes):
    with timed('read bytes (part of the next)'):
      for _ in file_blocks.read_lines(block):
        pass
    with timed('read bytes, parse and check'):
      (found,) = check.read_ratings(block, items.ids, config.scale)
    with timed('divide by shard and pack'):
      for shard, packed in shuffle.partition(found.batch, config.split):
        shards[shard].append(packed)
  for shard, packed in shards.items():
    with timed('unpack'):
      rows = shuffle.unpack(packed)
    with timed('sort and clean (part of the next)'):
      clean.arrange(rows)
    with timed('sort, clean, label, sample and encode'):
      made = make_histories.make_histories(rows, items.facts, config.histories)
    with timed('frame and write'):
      data = tfrecord.frame_records(made.records, '')
      storage.write_file(str(folder / f'{shard}.tfrecord'), data)
  return dict(seconds)


def run_job(folder: pathlib.Path, cores: set[int], *flags: str) -> float:
  """Seconds of the job from start to exit on some cores."""
  command = [sys.executable, '-m', 'pipelines.build_histories', '--overwrite', *flags]
  command += [f'--ratings={folder}/ratings.csv', f'--movies={folder}/movies.csv']
  limit = lambda: os.sched_setaffinity(0, cores)
  started = time.monotonic()
  output = f'--output_dir={folder}/histories'
  subprocess.run([*command, output], check=True, preexec_fn=limit)
  return time.monotonic() - started


if __name__ == '__main__':
  main()
