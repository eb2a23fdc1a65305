"""The same data in other files gives the same histories, byte for byte."""

import bz2
import gzip
import json
import pathlib

import pandas as pd
import pytest

from pipelines import build_histories


def build(folder: pathlib.Path, ratings, movies, *flags: str) -> dict[str, bytes]:
  """Runs the job; the histories and the item table by file name."""
  build_histories.run(
    [
      f'--ratings={ratings}',
      f'--movies={movies}',
      f'--output_dir={folder}',
      '--num_shards=3',
      *flags,
    ]
  )
  counts = json.loads((folder / 'dataset_info.json').read_text())['counts']
  assert counts['rows_in'] == counts['rows_kept']
  return {
    path.name: path.read_bytes()
    for path in [*folder.glob('*.tfrecord'), folder / 'items.parquet']
  }


@pytest.fixture(scope='module')
def expected(tiny, tmp_path_factory):
  """What the plain CSV files give."""
  folder = tmp_path_factory.mktemp('expected')
  return build(folder, tiny / 'ratings.csv', tiny / 'movies.csv')


@pytest.mark.parametrize('pack', [gzip.compress, bz2.compress])
@pytest.mark.parametrize('block_bytes', [100, 1 << 23])
def test_compressed(tiny, tmp_path, expected, pack, block_bytes):
  for name in ('ratings.csv', 'movies.csv'):
    (tmp_path / name).write_bytes(pack((tiny / name).read_bytes()))
  paths = tmp_path / 'ratings.csv', tmp_path / 'movies.csv'
  made = build(tmp_path / 'h', *paths, f'--block_bytes={block_bytes}')
  assert made == expected


def test_parquet_that_pandas_wrote(tiny, tmp_path, expected):
  ratings = pd.read_csv(tiny / 'ratings.csv')
  ratings['timestamp'] = pd.to_datetime(ratings['timestamp'], unit='s')
  ratings.to_parquet(tmp_path / 'ratings.parquet', row_group_size=100)
  movies = pd.read_csv(tiny / 'movies.csv')
  movies['genres'] = movies['genres'].str.split('|')
  movies.to_parquet(tmp_path / 'movies.parquet')
  paths = tmp_path / 'ratings.parquet', tmp_path / 'movies.parquet'
  assert build(tmp_path / 'h', *paths, '--block_bytes=3000') == expected


def test_shards_that_differ(tiny, tmp_path, expected):
  """Order of columns, line ends, quotes, compression, kind of file."""
  ratings = pd.read_csv(tiny / 'ratings.csv')
  parts = [ratings[start::5] for start in range(5)]
  parts[0].to_csv(tmp_path / 'ratings-0.csv', index=False)
  parts[1][ratings.columns[::-1]].to_csv(tmp_path / 'ratings-1.csv.gz', index=False)
  parts[2].to_parquet(tmp_path / 'ratings-2.parquet')
  parts[3].to_csv(
    tmp_path / 'ratings-3.csv', index=False, quoting=1, lineterminator='\r\n'
  )
  parts[4].to_csv(
    tmp_path / 'ratings-4.csv',
    index=False,
    header=['user', 'item', 'rating', 'timestamp'],
  )
  movies = tiny / 'movies.csv'
  assert build(tmp_path / 'h', tmp_path / 'ratings-*', movies) == expected


def test_windows_files(tiny, tmp_path, expected):
  for name in ('ratings.csv', 'movies.csv'):
    lines = (tiny / name).read_bytes().splitlines()
    mixed = b''.join(
      line + (b'\r\n' if number % 3 else b'\n') for number, line in enumerate(lines)
    )
    (tmp_path / name).write_bytes(b'\xef\xbb\xbf' + mixed.rstrip())
  paths = tmp_path / 'ratings.csv', tmp_path / 'movies.csv'
  assert build(tmp_path / 'h', *paths) == expected


def test_tags_and_descriptions_stand_in_the_item_table(tiny, tmp_path, expected):
  (tmp_path / 'tags.csv').write_text(
    'userId,movieId,tag,timestamp\n1,4,Odd,1\n1,5,x,1\n'
  )
  (tmp_path / 'texts.csv').write_text('movieId,overview\n7,"Two\nlines"\n7,again\n')
  flags = [f'--tags={tmp_path}/tags.csv', f'--descriptions={tmp_path}/texts.csv']
  flags += ['--max_reject_fraction=0.5']  # of two descriptions, one is a reject
  data = tiny / 'ratings.csv', tiny / 'movies.csv'
  made = build(tmp_path / 'h', *data, *flags)
  assert made.keys() == expected.keys()
  for name in made.keys() - {'items.parquet'}:
    assert made[name] == expected[name]
  items = pd.read_parquet(tmp_path / 'h' / 'items.parquet').set_index('item_id')
  assert list(items.loc['4', 'tags']) == ['odd']
  assert items.tags.str.len().sum() == 1
  assert items.description.to_dict() == {
    **dict.fromkeys(items.index, ''),
    '7': 'Two\nlines',
  }
  info = json.loads((tmp_path / 'h' / 'dataset_info.json').read_text())
  assert info['item_texts']['tags']['rows_dropped']['unknown_item'] == 1
  assert [entry['name'] for entry in info['inputs']['tags']] == ['tags.csv']
  assert info['inputs']['descriptions'][0]['checksum'].startswith('sha256:')
  (line,) = (tmp_path / 'h' / 'rejects-00000-of-00001.jsonl').read_text().splitlines()
  assert json.loads(line)['stage'] == 'read_descriptions'
