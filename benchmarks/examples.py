"""build_histories with examples: seconds, rows a second and memory, beside duckdb.

    pip install duckdb
    python -m benchmarks.examples --rows=20000000

Six runs on generated data, each in a process of its own, timed with its imports:

- `histories`: the ratings alone, with a question about users;
- `examples`: the same ratings, and every tenth of them as an example of a file;
- `duckdb`: one SQL query for the 50 newest ratings before each of these examples, with
  the clock behind its import; it neither checks rows nor writes records. The histories
  of one file are compared;
- `one user`: a user with 20,000 events and 10,000 examples;
- `texts`: events of two files without items, values and times; `--texts` distinct ones;
- `reviews`: `--texts` events about 1,000 items, each with a distinct text of its own.

Writes benchmarks/results/examples.json.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import sys
import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from benchmarks import make_ratings
from benchmarks.processes import run_measured
from pipelines.histories import history_records
from tasks import schema

MOST = 50
_EVENTS = """name: benchmark
events: {files: ratings.csv, user: userId, item: movieId, value: rating,
  time: timestamp, scale: "0.5:5:0.5"}
items: {files: movies.csv, item: movieId, lists: {genres: "|"}}
texts: ["The movie {title}", "It has {value} stars"]
questions:
"""
_LISTS = """  - name: genres_v1
    prompt: "Genres:"
    answer: {lists: {of: genres, likes: Likes, dislikes: " and avoids",
      rule: {least: 3, liked_above: 3.5, disliked_below: 3.0}}}
"""
_LIKE = """  - name: like_v1
    prompt: "Will the user like {title}?"
    answer: {choice: ["Yes", "No"]}
    examples: {files: asked.csv, user: userId, item: movieId, time: timestamp,
      answer: rating > 3}
"""
_TEXTS = """name: texts
events:
  - {files: notes.csv, user: user, texts: ["Wrote: {note}"]}
  - {files: calls.csv, user: user, texts: ["Called about {topic}"]}
questions:
  - name: back_v1
    prompt: "Will the user come back?"
    answer: {choice: ["Yes", "No"]}
    examples: {files: asked.csv, user: user, answer: back}
"""
_REVIEWS = """name: reviews
events: {files: reviews.csv, user: user, item: item, value: stars, scale: "1:5:1",
  time: time}
items: {files: items.csv, item: item}
texts: ["{title}", "Of {title} the reader says {review}", "It has {value} stars"]
questions:
  - name: like_v1
    prompt: "Will the reader like {title}?"
    answer: {choice: ["Yes", "No"]}
    examples: {holdout: {last: 3}, answer: value > 3}
"""
_QUERY = """
  select a.userId, a.movieId, a.timestamp,
    list(r.movieId order by r.timestamp desc, r.movieId)[1:{most}] as items
  from read_csv('{folder}/asked.csv') a join read_csv('{folder}/ratings.csv') r
    on r.userId = a.userId and r.timestamp < a.timestamp
  group by all
"""


def main() -> None:
  """Measures all runs."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--rows', type=int, required=True)
  parser.add_argument('--texts', type=int, default=1_000_000)
  parser.add_argument('--folder', type=pathlib.Path, help='keeps the data here')
  parser.add_argument('--query', action='store_true', help='run the query alone')
  flags = parser.parse_args()
  if flags.query:
    _run_query(flags.folder)
    return
  with tempfile.TemporaryDirectory() as temporary:
    folder = flags.folder or pathlib.Path(temporary)
    results = measure(folder, flags.rows, flags.texts)
  packages = ('apache-beam', 'pyarrow', 'numpy', 'duckdb')
  about = {'versions': {x: importlib.metadata.version(x) for x in packages}}
  about |= {'machine': {'cpus': os.cpu_count(), 'processor': platform.processor()}}
  about |= {'seed': 0, 'max_history': MOST}
  path = pathlib.Path(__file__).parent / 'results' / 'examples.json'
  path.write_text(json.dumps({**about, 'results': results}, indent=2) + '\n')


def measure(folder: pathlib.Path, rows: int, texts: int) -> list[dict]:
  """Runs everything; the numbers of each run."""
  write_ratings(folder / 'ratings', rows)
  write_user(folder / 'user', 20_000)
  write_reviews(folder / 'reviews', texts)
  results = [
    _job('histories', folder / 'ratings', _EVENTS + _LISTS),
    _job('examples', folder / 'ratings', _EVENTS + _LIKE),
    _query(folder / 'ratings'),
    _job('one user', folder / 'user', _EVENTS + _LIKE),
    build_texts(folder / 'texts', texts),
    _job('reviews', folder / 'reviews', _REVIEWS),
  ]
  compared = compare(folder / 'ratings')
  print(f'{compared} examples have the histories of the query', flush=True)
  return [*results, {'run': 'compared', 'examples': compared}]


def write_ratings(folder: pathlib.Path, rows: int) -> None:
  """Ratings, and each tenth of them as a question."""
  if not (folder / 'asked.csv').exists():
    make_ratings.write(folder, rows, 60_000, 0, False)
    ratings = pa_csv.read_csv(folder / 'ratings.csv')
    pa_csv.write_csv(ratings.take(pa.array(range(0, rows, 10))), folder / 'asked.csv')


def write_user(folder: pathlib.Path, events: int) -> None:
  """A user with many events, and each second of them as a question."""
  folder.mkdir(parents=True, exist_ok=True)
  rng, size = np.random.default_rng(0), events
  movies = ''.join(f'{x},Film {x},War\n' for x in range(size))
  (folder / 'movies.csv').write_text(f'movieId,title,genres\n{movies}')
  columns = {
    'userId': np.zeros(size, int),
    'movieId': rng.permutation(size),
    'rating': rng.integers(1, 11, size) / 2,
    'timestamp': np.arange(size) + 10**9,
  }
  ratings = pa.table(columns)
  pa_csv.write_csv(ratings, folder / 'ratings.csv')
  pa_csv.write_csv(ratings.take(pa.array(range(1, size, 2))), folder / 'asked.csv')


def build_texts(folder: pathlib.Path, texts: int) -> dict:
  """Makes histories of events whose texts stand for items, in the folder `texts`."""
  _write_texts(folder, texts)
  return _job('texts', folder, _TEXTS)


def _write_texts(folder: pathlib.Path, texts: int) -> None:
  """Two files of events, each text twice, by 50,000 users."""
  folder.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(0)
  for name, column in (('notes', 'note'), ('calls', 'topic')):
    size = texts // 2
    lines = _draw_texts(rng, size)
    rows = rng.permutation(np.repeat(np.arange(size), 2))
    users = rng.integers(0, 50_000, len(rows))
    table = {'user': users, column: pa.array(lines).take(pa.array(rows))}
    pa_csv.write_csv(pa.table(table), folder / f'{name}.csv')
  asked = ''.join(f'{x},{"Yes" if x % 3 else "No"}\n' for x in range(50_000))
  (folder / 'asked.csv').write_text(f'user,back\n{asked}')


def write_reviews(folder: pathlib.Path, texts: int) -> None:
  """Events of 50,000 users about 1,000 items, each with a text of its own."""
  folder.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(0)
  items = ''.join(f'{x},Book {x}\n' for x in range(1_000))
  (folder / 'items.csv').write_text(f'item,title\n{items}')
  columns = {
    'user': rng.integers(0, 50_000, texts),
    'item': rng.integers(0, 1_000, texts),
    'stars': rng.integers(1, 6, texts),
    'time': rng.permutation(texts) + 10**9,
    'review': _draw_texts(rng, texts),
  }
  pa_csv.write_csv(pa.table(columns), folder / 'reviews.csv')


def _draw_texts(rng: np.random.Generator, size: int) -> list[str]:
  """Distinct texts of thirteen words."""
  words = np.array([f'word{x}' for x in range(2_000)])
  drawn = words[rng.integers(0, len(words), (size, 12))]
  return [f'{" ".join(row)} {x}' for x, row in enumerate(drawn)]


def _job(name: str, folder: pathlib.Path, text: str) -> dict:
  """Runs build_histories on a dataset file."""
  (folder / 'data.yaml').write_text(text)
  output = folder / name.replace(' ', '_')
  flags = [f'--dataset={folder}/data.yaml', f'--output_dir={output}', '--overwrite']
  run = [sys.executable, '-m', 'pipelines.build_histories', *flags]
  seconds, peak = run_measured(run)
  info = json.loads((output / 'dataset_info.json').read_text())
  counts = info['counts']
  asked = counts.get('examples', {})
  examples = sum(sum(x.values()) for x in asked.values())
  asked_rows = sum(x['rows_in'] for x in counts.get('example_rows', {}).values())
  rows = counts['rows_in'] + asked_rows
  found = {
    'run': name,
    'events': counts['rows_in'],
    'items': counts['items'],
    **({'event_texts': counts['event_texts']} if 'event_texts' in counts else {}),
    'examples': examples,
    'seconds': round(seconds, 1),
    'rows_per_second': round(rows / seconds),
    'peak_memory_gb': round(peak, 2),
    'megabytes_written': round(
      sum(x.stat().st_size for x in output.rglob('*.tfrecord')) / 1e6
    ),
  }
  print(found, flush=True)
  return found


def _query(folder: pathlib.Path) -> dict:
  command = [sys.executable, '-m', 'benchmarks.examples', '--query', '--rows=0']
  _, peak = run_measured([*command, f'--folder={folder}'])
  seconds = float((folder / 'seconds').read_text())
  found = {'run': 'duckdb', 'seconds': seconds, 'peak_memory_gb': round(peak, 2)}
  print(found, flush=True)
  return found


def _run_query(folder: pathlib.Path) -> None:
  import duckdb

  started = time.monotonic()
  found = duckdb.sql(_QUERY.format(folder=folder, most=MOST))
  found.write_parquet(str(folder / 'query.parquet'))
  (folder / 'seconds').write_text(str(round(time.monotonic() - started, 1)))


def compare(folder: pathlib.Path) -> int:
  """Compares the histories of one file with the query's; the number of these."""
  import duckdb

  items = pq.read_table(folder / 'examples' / 'items.parquet')['item_id']
  ids = np.array(items.to_pylist(), int)
  split = history_records.list_history_files(
    str(folder / 'examples'), 'validation', 'like_v1'
  )
  found = {}
  for each in history_records.read_history_file(split[0], schema.EXAMPLE):
    key = tuple(map(int, each['example_id'].split('#')[0].split(':')))
    found[key] = ids[each['history_items']].tolist()
  users = ', '.join({str(user) for user, *_ in found})
  query = f"select * from '{folder}/query.parquet' where userId in ({users})"
  wanted = {row[:3]: row[3] for row in duckdb.sql(query).fetchall()}
  assert found == wanted
  return len(found)


if __name__ == '__main__':
  main()
