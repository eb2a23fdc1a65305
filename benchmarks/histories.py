"""build_histories beside polars, duckdb and pandas, on the same ratings in one run.

    pip install polars duckdb
    python -m benchmarks.histories --rows=2000000 --rows=20000000 --rows=100000000

Every contender is a process of its own: it reads ratings.csv, orders each user's
ratings, keeps the 50 newest and writes one tf.Example a user into TFRecord files. The
job is timed from start to exit with its imports. The peers are favoured: their clocks
start behind all imports but their own, they neither check rows nor compute labels nor
split users, and they write with the job's vectorized encoder. The histories of one user
in ten are compared, and every byte that the job writes in one process and in two.
Writes benchmarks/results/histories.json.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import sys
import tempfile
import time
import zlib

import numpy as np
import pyarrow as pa

from benchmarks import make_ratings
from benchmarks.processes import run_measured
from pipelines.common import arrow_bytes, tfrecord
from pipelines.histories import history_records, tf_example

MAX_HISTORY = 50
JOBS = {
  'persoma': [],
  'persoma, 2 processes': [
    '--direct_running_mode=multi_processing',
    '--direct_num_workers=2',
  ],
}
_SQL = """
  select userId, movieId, rating, timestamp from (
    select *, row_number() over (
      partition by userId order by timestamp desc, movieId) as place
    from read_csv('{}')) where place <= {} order by userId, place
"""


def main() -> None:
  """Measures every contender at every size."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--rows', type=int, action='append', required=True)
  parser.add_argument('--folder', type=pathlib.Path, help='keeps the ratings here')
  parser.add_argument('--contender', choices=PEERS)
  flags = parser.parse_args()
  if flags.contender:
    started = time.monotonic()
    PEERS[flags.contender](flags.folder)
    seconds = time.monotonic() - started
    (flags.folder / flags.contender / 'seconds').write_text(str(seconds))
    return
  with tempfile.TemporaryDirectory() as temporary:
    folder = flags.folder or pathlib.Path(temporary)
    results = [
      measurement
      for rows in flags.rows
      for measurement in measure(folder / str(rows), rows)
    ]
  path = pathlib.Path(__file__).parent / 'results' / 'histories.json'
  packages = ('apache-beam', 'pyarrow', 'numpy', 'polars', 'duckdb', 'pandas')
  about = {
    'machine': {'cpus': os.cpu_count(), 'processor': platform.processor()},
    'versions': {name: importlib.metadata.version(name) for name in packages},
    'seed': 0,
    'max_history': MAX_HISTORY,
    'results': results,
  }
  path.write_text(json.dumps(about, indent=2) + '\n')


def measure(folder: pathlib.Path, rows: int) -> list[dict]:
  """Seconds, rows/s and peak memory of all contenders on generated ratings."""
  if not (folder / 'ratings.csv').exists():
    make_ratings.write(folder, rows, 60_000, 0, False)
  commands = {}
  for name, flags in JOBS.items():
    job = ['pipelines.build_histories', f'--ratings={folder}/ratings.csv']
    job += [f'--movies={folder}/movies.csv', f'--output_dir={folder}/{name}', *flags]
    commands[name] = job
  for peer in PEERS:
    (folder / peer).mkdir()
    flags = [f'--contender={peer}', f'--rows={rows}', f'--folder={folder}']
    commands[peer] = ['benchmarks.histories', *flags]
  found, reference, written = [], None, None
  for name, command in commands.items():
    seconds, peak = run_measured([sys.executable, '-m', *command])
    if name in PEERS:
      seconds = float((folder / name / 'seconds').read_text())
    histories = _histories(folder / name)
    reference = reference or histories
    assert histories == reference, f'{name} wrote other histories'
    measurement = {
      'contender': name,
      'rows': rows,
      'seconds': round(seconds, 2),
      'rows_per_second': round(rows / seconds),
      'peak_memory_gb': round(peak, 2),
    }
    if name in JOBS:
      measurement['sha256'] = _checksum(folder / name)
      written = written or measurement['sha256']
      assert measurement['sha256'] == written, f'{name} wrote other bytes'
    found.append(measurement)
    print(found[-1], flush=True)
    shutil.rmtree(folder / name)
  return found


def _checksum(folder):
  """sha256 of the names and contents of all files but COMPLETED, which has a token."""
  found = hashlib.sha256()
  for path in sorted(set(folder.iterdir()) - {folder / 'COMPLETED'}):
    found.update(path.name.encode() + path.read_bytes())
  return found.hexdigest()


def _histories(folder):
  """A number that any difference in a user's items, ratings or times changes."""
  total = 0
  for path in folder.glob('*.tfrecord'):
    for record in tfrecord.read_tfrecord(str(path)):
      # The user id stands last, as names of features are in order.
      if zlib.crc32(record[record.rindex(b'user_id') :]) % 10:
        continue
      fields = history_records.decode_example(record)
      total += hash(
        (
          fields['user_id'],
          fields['history_ratings'].tobytes(),
          fields['history_timestamps'].tobytes(),
        )
      )
  return total


def _polars(folder):
  import polars as pl

  order = pl.scan_csv(folder / 'ratings.csv').sort(
    ['userId', 'timestamp', 'movieId'], descending=[False, True, False]
  )
  kept = order.group_by('userId', maintain_order=True).head(MAX_HISTORY).collect()
  _write(folder / 'polars', *(kept[name].to_numpy() for name in _COLUMNS))


def _duckdb(folder):
  import duckdb

  query = _SQL.format(folder / 'ratings.csv', MAX_HISTORY)
  kept = duckdb.sql(query).fetchnumpy()
  _write(folder / 'duckdb', *(kept[name] for name in _COLUMNS))


def _pandas(folder):
  import pandas as pd

  ratings = pd.read_csv(folder / 'ratings.csv').sort_values(
    ['userId', 'timestamp', 'movieId'], ascending=[True, False, True]
  )
  kept = ratings.groupby('userId').head(MAX_HISTORY)
  _write(folder / 'pandas', *(kept[name].to_numpy() for name in _COLUMNS))


def _write(folder, user, item, rating, time):
  """Ratings in the order of users, newest first, to one TFRecord file."""
  starts = np.flatnonzero(np.diff(user, prepend=-1))
  splits = np.append(starts, len(user))
  ratings = rating.astype('<f4').view(np.uint8)
  records = tf_example.encode_many_features(
    {
      'user_id': (
        'bytes',
        tf_example.single_texts(pa.array(user[starts]).cast(pa.string())),
      ),
      'history_items': ('int64', tf_example.packed_varints(item, splits)),
      'history_ratings': ('float', arrow_bytes.binary(ratings, 4 * splits)),
      'history_timestamps': ('int64', tf_example.packed_varints(time, splits)),
      **{
        name: ('bytes', tf_example.text_lists([()] * len(starts)))
        for name in ('liked', 'disliked')
      },
      'history_total': (
        'int64',
        tf_example.packed_varints(np.diff(splits), np.arange(len(splits))),
      ),
    }
  )
  (folder / 'all.tfrecord').write_bytes(tfrecord.frame_records(records))


_COLUMNS = ('userId', 'movieId', 'rating', 'timestamp')
PEERS = {'polars': _polars, 'duckdb': _duckdb, 'pandas': _pandas}

if __name__ == '__main__':
  main()
