"""Finished predictions folders, without a model."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.common import output_folder, storage
from pipelines.predictions.prediction_files import FORMATS
from tasks import schema

TIME = datetime.datetime(2026, 3, 1, 23, 59, 59, 123456, datetime.UTC)


def rows(count: int, run_id: str = 'run-1', **changes: Any) -> list[dict[str, Any]]:
  """Rows of one run: with lists of 0 to 3 names, a null a column that allows it."""
  made = [
    {
      'user_id': f'ü{user:04}',
      'predicted_liked': ['War', 'Sci-Fi', 'Children\'s "quoted"'][: user % 4],
      'predicted_disliked': ['Drama'] if user % 2 else [],
      'draft_liked': ['War'] if user % 2 else [],
      'draft_disliked': [],
      'text': f"The user likes 喜剧 {user}\nand doesn't like none",
      'log_prob': -user / 7,
      'parse_ok': user % 3 > 0,
      'history_length': user * 2**33,
      'model_id': 'persoma-4-abc',
      'task': 'movielens_genre_prediction_v1',
      'run_id': run_id,
      'predicted_at': TIME,
      **changes,
    }
    for user in range(count)
  ]
  nullable = [x.name for x in schema.PREDICTIONS if x.mode == 'NULLABLE']
  for row, name in zip(made, nullable[:-2], strict=False):  # not those of the run
    row[name] = None
  return made


def rows_of(question: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
  """Rows of one run of a question about examples: lists of 0 to 3, nulls."""
  value = {
    'STRING': lambda at: f'ü{at:04}',
    'FLOAT64': lambda at: -at / 7,
    'INT64': lambda at: at * 2**33,
    'BOOL': lambda at: at % 3 > 0,
    'TIMESTAMP': lambda at: TIME,
  }
  made = []
  for row in range(count):
    made.append({'model_id': 'persoma-4-abc', 'task': 'like_v1', 'run_id': 'run-1'})
    for place, (name, kind, mode, _) in enumerate(schema.prediction_columns(question)):
      found = value[kind](row)
      if mode == 'REPEATED':
        found = [value[kind](row + at) for at in range(row % 4)]
      elif mode == 'NULLABLE' and kind != 'TIMESTAMP' and place == row:
        found = None
      made[-1].setdefault(name, found)
  return made


def write(
  path: Any,
  shards: Sequence[Sequence[Mapping[str, Any]]],
  kind: str = 'parquet',
  question: Mapping[str, Any] | None = None,
) -> str:
  """Writes a folder of the shards; returns its address."""
  suffix, encode = FORMATS[kind]
  asked = {'question': question} if question else {}
  columns = schema.prediction_columns(question)
  folder = output_folder.OutputFolder(str(path), {'format': kind, **asked})
  folder.begin(overwrite=True)
  for at, shard in enumerate(shards):
    name = f'predictions-{at:05}-of-{len(shards):05}.{suffix}'
    storage.write_file(folder.file(name), encode(shard, columns))
  folder.write_json('bigquery_schema.json', schema.predictions_bigquery(columns))
  folder.write_json('run_info.json', {'users': sum(map(len, shards))})
  folder.complete()
  return folder.path
