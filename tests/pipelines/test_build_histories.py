"""build_histories against pandas, with bad rows, cut off, and on several engines."""

import collections
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from unittest import mock

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pipelines import build_histories
from pipelines.common.job import JobError
from tasks import schema
from tests import movielens
from tests.histories import build, contents, histories, pandas_labels, rejects


def check_against_pandas(data: pathlib.Path, output: pathlib.Path, limit: int) -> None:
  """Compares every history of a folder with a computation in pandas."""
  ratings = pd.read_csv(data / 'ratings.csv')
  movies = pd.read_csv(data / 'movies.csv')
  labels = pandas_labels(ratings, movies)
  items = pq.read_table(output / 'items.parquet').to_pandas()
  row_of = dict(zip(items.item_id.astype(int), items.item_index, strict=True))
  made = histories(output)
  assert made.keys() == set(ratings.userId.astype(str))
  for user, rows in ratings.groupby('userId'):
    history = made[str(user)]
    rows = rows.assign(row=rows.movieId.map(row_of))
    rows = rows.sort_values(['timestamp', 'row'], ascending=[False, True])[:limit]
    np.testing.assert_array_equal(history['history_items'], rows.row)
    np.testing.assert_array_equal(history['history_ratings'], rows.rating)
    np.testing.assert_array_equal(history['history_timestamps'], rows.timestamp)
    assert history['history_total'] == (ratings.userId == user).sum()
    for side in ('liked', 'disliked'):
      expected = labels[side].get(user)
      assert history[side] == (expected if isinstance(expected, list) else []), user
  rated = ratings.movieId.map(row_of).value_counts()
  expected = rated.reindex(range(len(items)), fill_value=0)
  np.testing.assert_array_equal(items.num_ratings, expected)


def test_equals_pandas(tiny, tmp_path):
  info = build(tiny, tmp_path / 'h', '--max_history=10', '--num_shards=3')
  check_against_pandas(tiny, tmp_path / 'h', 10)
  assert info['counts']['rows_in'] == info['counts']['rows_kept']
  assert sum(info['counts']['users'].values()) == 40
  assert info['genres'] == sorted(movielens.GENRES)


def test_equals_pandas_on_movielens(ml_latest_small, tmp_path):
  info = build(ml_latest_small, tmp_path / 'h')
  check_against_pandas(ml_latest_small, tmp_path / 'h', 50)
  assert info['counts']['rows_in'] == info['counts']['rows_kept'] == 100_836
  assert info['counts']['items'] == 9_742
  assert len(info['genres']) == 19


def test_a_runner_that_runs_nothing(tiny, tmp_path, monkeypatch):
  """As with --dry_run, or after a job was cancelled."""
  monkeypatch.setattr(beam.Pipeline, 'run', mock.Mock())
  with pytest.raises(JobError, match=r'ended without the file dataset_info\.json'):
    build(tiny, tmp_path / 'h')


def test_own_data_gives_the_same_histories(tiny, tmp_path):
  build(tiny, tmp_path / 'a')
  data = tmp_path / 'data'
  data.mkdir()
  ratings = pd.read_csv(tiny / 'ratings.csv')
  ratings['timestamp'] *= 1000
  ratings.columns = ['who', 'sku', 'stars', 'when']
  ratings[['when', 'stars', 'who', 'sku']].to_csv(data / 'ratings.csv', index=False)
  movies = pd.read_csv(tiny / 'movies.csv')
  movies.genres = movies.genres.str.replace('|', ';')
  movies.to_csv(data / 'movies.csv', index=False, header=['id', 'name', 'kinds'])
  mapping = (
    'user=who,item=sku,rating=stars,timestamp=when,movies.item=id,title=name,'
    'genres=kinds,genre_separator=;,time_unit=ms'
  )
  build(data, tmp_path / 'b', f'--mapping={mapping}')
  first, second = histories(tmp_path / 'a'), histories(tmp_path / 'b')
  assert first.keys() == second.keys()
  for user, history in first.items():
    for field, value in history.items():
      np.testing.assert_array_equal(value, second[user][field])


def test_tensorflow_reads_it(tiny, tmp_path):
  build(tiny, tmp_path / 'h', '--compression=GZIP')
  files = [str(path) for path in sorted((tmp_path / 'h').glob('*.tfrecord.gz'))]
  ours = histories(tmp_path / 'h')
  for record in tf.data.TFRecordDataset(files, 'GZIP').as_numpy_iterator():
    features = tf.train.Example.FromString(record).features.feature
    history = ours[features['user_id'].bytes_list.value[0].decode()]
    assert list(features['history_items'].int64_list.value) == list(
      history['history_items']
    )
    assert [x.decode() for x in features['liked'].bytes_list.value] == history['liked']


def test_items(tiny, tmp_path):
  build(tiny, tmp_path / 'h')
  items = pq.read_table(tmp_path / 'h' / 'items.parquet')
  assert items.schema.equals(schema.ITEMS)
  first = items.slice(0, 2).to_pylist()
  assert [row['title'] for row in first] == ['Film, The 0', 'Film 1']
  assert [row['year'] for row in first] == [1950, 1951]
  assert items['item_id'].to_pylist() == [str(3 * row + 1) for row in range(60)]


BAD = {
  '1,1,many,1000000001': ('not_a_number', 'rating'),
  '1,1,7.0,1000000001': ('rating_outside_scale', 'rating'),
  '1,1,3.3,1000000001': ('rating_outside_scale', 'rating'),
  '1,1,nan,1000000001': ('not_a_number', 'rating'),
  '1,1,4.0,-5': ('negative_time', 'timestamp'),
  '1,1,4.0,soon': ('not_a_number', 'timestamp'),
  '1,1,4.0,1e300': ('time_too_large', 'timestamp'),
  '1,99999,4.0,1000000001': ('unknown_item', 'movieId'),
  ',1,4.0,1000000001': ('empty_field', 'userId'),
  '1,1,4.0': ('wrong_column_count', ''),
  '1,1,4.0,1000000001,9': ('wrong_column_count', ''),
  '1,"1,4.0,1000000001': ('bad_quotes', ''),
  '': ('blank_line', ''),
}


@pytest.mark.parametrize('block_bytes', [64, 1 << 25])
def test_bad_rows_are_rejected_with_their_reason(tiny, tmp_path, block_bytes):
  data = tmp_path / 'data'
  data.mkdir()
  (data / 'movies.csv').write_bytes((tiny / 'movies.csv').read_bytes())
  good = (tiny / 'ratings.csv').read_bytes().splitlines()[:200]
  bad = [line.encode() for line in BAD] + [b'1,1,4.0,\xff\xfe']
  lines = good[:100] + bad + good[100:] + [good[1], b'1,1,4']  # repeated; cut off
  (data / 'ratings.csv').write_bytes(b'\r\n'.join(lines))
  flags = [f'--block_bytes={block_bytes}', '--max_reject_fraction=0.1']
  counts = build(data, tmp_path / 'h', *flags)['counts']
  found = rejects(tmp_path / 'h')
  assert [row['record']['line'] for row in found] == [*range(101, 101 + len(bad)), 216]
  for row, (text, (reason, field)) in zip(found, BAD.items(), strict=False):
    assert (row['reason'], row['record']['field']) == (reason, field), text
    assert row['record']['raw'] == text
    assert row['record']['file'] == str(data / 'ratings.csv')
    assert row['record']['expected']
  assert [row['reason'] for row in found[-2:]] == ['not_utf8', 'wrong_column_count']
  assert counts['rows_dropped']['duplicate'] == 1
  assert counts['rows_in'] == len(lines) - 1
  assert counts['rows_rejected'] == len(found)
  by_reason = collections.Counter(row['reason'] for row in found)
  assert counts['rows_rejected_by_reason'] == by_reason
  dropped = sum(counts['rows_dropped'].values())
  assert counts['rows_in'] == counts['rows_kept'] + len(found) + dropped


def test_rated_again_and_short_users(tiny, tmp_path):
  data = tmp_path / 'data'
  data.mkdir()
  (data / 'movies.csv').write_bytes((tiny / 'movies.csv').read_bytes())
  rows = ['1,1,4.0,100', '1,4,2.0,200', '1,1,5.0,300', '1,1,3.0,300', '2,1,4.0,100']
  text = 'userId,movieId,rating,timestamp\n' + '\n'.join(rows)
  (data / 'ratings.csv').write_text(text)
  counts = build(data, tmp_path / 'h', '--min_history=2')['counts']
  history = histories(tmp_path / 'h')
  assert history.keys() == {'1'}
  np.testing.assert_array_equal(history['1']['history_items'], [0, 1])
  np.testing.assert_array_equal(history['1']['history_ratings'], [5, 2])
  assert counts['rows_dropped'] == {
    'duplicate': 0,
    'superseded': 2,
    'user_below_min_history': 1,
  }


@pytest.mark.parametrize(
  ('name', 'text', 'message'),
  [
    ('ratings.csv', '', 'is empty'),
    ('ratings.csv', 'userId,movieId,rating,timestamp\n', 'no rows'),
    ('ratings.csv', 'userId,movieId,timestamp\n1,1,5\n', 'lacks the column rating'),
    ('movies.csv', 'movieId,genres\n1,War\n', 'lacks the column title'),
    ('movies.csv', 'movieId,title,genres\n', 'no rows'),
  ],
)
def test_unusable_files(tiny, tmp_path, name, text, message):
  for file in ('ratings.csv', 'movies.csv'):
    (tmp_path / file).write_bytes((tiny / file).read_bytes())
  (tmp_path / name).write_text(text)
  with pytest.raises(JobError, match=message) as raised:
    build(tmp_path, tmp_path / 'h')
  assert name in str(raised.value)
  assert not (tmp_path / 'h' / 'COMPLETED').exists()


def test_no_file(tiny, tmp_path):
  with pytest.raises(JobError, match='no such file'):
    build(tmp_path, tmp_path / 'h')


def test_nobody_left(tiny, tmp_path):
  with pytest.raises(JobError, match='no users are left'):
    build(tiny, tmp_path / 'h', '--min_history=1000')
  assert not (tmp_path / 'h' / 'COMPLETED').exists()


def test_another_seed_makes_other_histories(tiny, tmp_path):
  flags = ('--sampler=random', '--max_history=7')
  build(tiny, tmp_path / 'a', *flags)
  build(tiny, tmp_path / 'b', *flags, '--seed=1')
  assert contents(tmp_path / 'a') != contents(tmp_path / 'b')


def test_random_is_a_subset_and_another_seed_another_one(tiny, tmp_path):
  build(tiny, tmp_path / 'all', '--max_history=1000')
  build(tiny, tmp_path / 'a', '--max_history=5', '--sampler=random')
  everything, sampled = histories(tmp_path / 'all'), histories(tmp_path / 'a')
  for user, history in sampled.items():
    assert len(history['history_items']) == min(5, history['history_total'])
    assert set(history['history_items']) <= set(everything[user]['history_items'])
    assert np.all(np.diff(history['history_timestamps']) <= 0)
    assert history['liked'] == everything[user]['liked']


def test_finished_is_not_made_again(tiny, tmp_path):
  build(tiny, tmp_path / 'h')
  before = (tmp_path / 'h' / 'items.parquet').stat().st_mtime_ns
  build(tiny, tmp_path / 'h')
  assert (tmp_path / 'h' / 'items.parquet').stat().st_mtime_ns == before
  with pytest.raises(JobError, match='max_history was 50 and is 7'):
    build(tiny, tmp_path / 'h', '--max_history=7')
  build(tiny, tmp_path / 'h', '--max_history=7', '--overwrite')


def command(data: pathlib.Path, output: pathlib.Path) -> list[str]:
  """A job with many shards."""
  return [
    *(sys.executable, '-m', 'pipelines.build_histories'),
    *(f'--ratings={data}/ratings.csv', f'--movies={data}/movies.csv'),
    *('--num_shards=50', '--block_bytes=20000', f'--output_dir={output}'),
  ]


def kill(process: subprocess.Popen) -> None:
  os.killpg(process.pid, signal.SIGKILL)
  process.wait()


def test_killed_and_started_again(tmp_path):
  data = movielens.write(tmp_path, users=3000)
  cut, whole = tmp_path / 'cut', tmp_path / 'whole'
  process = subprocess.Popen(command(data, cut), start_new_session=True)
  while not any(cut.rglob('*.tfrecord')):  # the first of many shards
    assert process.poll() is None, 'ended before it could be killed'
    time.sleep(0.001)
  kill(process)
  assert not (cut / 'COMPLETED').exists()
  for output in (cut, whole):
    build_histories.run(command(data, output)[3:])
  assert contents(cut) == contents(whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_twenty_random_moments(tmp_path):
  """Each run begins in what the one before left; what says it is whole, is."""
  data = movielens.write(tmp_path, users=3000)
  cut, whole = tmp_path / 'cut', tmp_path / 'whole'
  started = time.monotonic()
  subprocess.run(command(data, whole), check=True)
  seconds, moments = time.monotonic() - started, random.Random(0)
  left = collections.Counter()
  for _ in range(20):
    process = subprocess.Popen(
      [*command(data, cut), '--overwrite'], start_new_session=True
    )
    time.sleep(moments.uniform(0, seconds))
    kill(process)
    if (cut / 'COMPLETED').exists():
      (cut / 'UNFINISHED').unlink(missing_ok=True)  # goes last, and says no more
      assert contents(cut) == contents(whole)
    left['whole' if (cut / 'COMPLETED').exists() else 'cut'] += 1
    left['files'] += any(cut.rglob('*.tfrecord'))
  print(f'{left["cut"]} of 20 were cut, {left["files"]} with shards in the folder')
  assert left['cut'] > 10
  subprocess.run(command(data, cut), check=True)
  assert contents(cut) == contents(whole)
