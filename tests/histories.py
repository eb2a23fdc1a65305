"""Runs of build_histories, what they wrote, and the label rule in pandas."""

import hashlib
import json
import pathlib
import re

import pandas as pd

from pipelines import build_histories
from pipelines.common import tfrecord
from pipelines.histories import history_records


def build(data: pathlib.Path, output: pathlib.Path, *flags: str) -> dict:
  """Runs the job in this process and returns dataset_info.json."""
  build_histories.run(
    [
      f'--ratings={data / "ratings.csv"}',
      f'--movies={data / "movies.csv"}',
      f'--output_dir={output}',
      *flags,
    ]
  )
  return json.loads((output / 'dataset_info.json').read_text())


def histories(folder: pathlib.Path) -> dict[str, dict]:
  """All histories of a folder by user id, each with its split."""
  return {
    history['user_id']: {**history, 'split': path.name.split('-')[0]}
    for path in sorted(folder.glob('*.tfrecord*'))
    for history in map(
      history_records.decode_example, tfrecord.read_tfrecord(str(path))
    )
  }


def contents(folder: pathlib.Path) -> dict[str, str]:
  """Path within the folder -> sha256."""
  return {
    str(path.relative_to(folder)): hashlib.sha256(
      without_owner(path.read_bytes())
    ).hexdigest()
    for path in folder.rglob('*')
    if path.is_file()
  }


def without_owner(data: bytes) -> bytes:
  """What two runs have in common: their tokens in COMPLETED differ."""
  return re.sub(rb'(?<="owner": ")[0-9a-f]{32}', b'', data)


def rejects(folder: pathlib.Path) -> list[dict]:
  """All reject records."""
  text = ''.join(path.read_text() for path in sorted(folder.rglob('rejects-*.jsonl')))
  return [json.loads(line) for line in text.splitlines()]


def pandas_labels(ratings: pd.DataFrame, movies: pd.DataFrame) -> pd.DataFrame:
  """The label rule, written again over whole tables; index userId."""
  names = movies.assign(genre=movies.genres.str.split('|')).explode('genre')
  names = names[names.genre != '(no genres listed)']
  rated = ratings.merge(names[['movieId', 'genre']], on='movieId')
  stats = rated.groupby(['userId', 'genre']).rating.agg(['mean', 'count']).reset_index()
  stats = stats[stats['count'] >= 3]

  def pick(chosen, ascending):
    order = chosen.sort_values(
      ['userId', 'mean', 'count', 'genre'], ascending=[True, ascending, False, True]
    )
    return order.groupby('userId').genre.apply(lambda names: list(names[:3]))

  liked = pick(stats[stats['mean'] > 3.5], False)
  disliked = pick(stats[stats['mean'] < 3.0], True)
  return pd.DataFrame({'liked': liked, 'disliked': disliked})
