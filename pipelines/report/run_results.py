"""The results of a run, and the folders that they are read from."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from pipelines.common import output_folder, storage, tfrecord
from pipelines.common.job import JobError
from pipelines.histories import history_records
from pipelines.predictions.prediction_files import read_predictions
from tasks import interaction_texts, metrics
from tasks.questions import Answer

_TRAINING_FILES = ('metrics.jsonl', 'config.gin')


class Labelled(NamedTuple):
  """Holds the users of a split with their histories and labels.

  Attributes:
    user_ids: U names.
    truth: [U, 2G] bool, liked genres, then disliked ones.
    samples: genres [n, G] bool and ratings [n] of each user's sampled items.
    items: row numbers [n] of each user's sampled items, newest first.
    totals: [U] int, number of each user's ratings before sampling.
  """

  user_ids: list[str]
  truth: np.ndarray
  samples: list[tuple[np.ndarray, np.ndarray]]
  items: list[np.ndarray]
  totals: np.ndarray


class RunResults(NamedTuple):
  """Holds everything that the page of a run shows.

  Attributes:
    users: the U users that were answered.
    rows: each user's row of the prediction table.
    answers: [U, 2G] bool of each method.
    methods: scores of each method, as in `metrics.json`.
    titles: title of each item of the item table.
    info: `dataset_info.json`, with the G genres.
    split: name of the users' split.
    run: `run` of `metrics.json`.
    predictions: `run_info.json`.
    training: text of `metrics.jsonl` and `config.gin`, as far as they are there.
  """

  users: Labelled
  rows: Sequence[Mapping[str, Any]]
  answers: Mapping[str, np.ndarray]
  methods: Mapping[str, Mapping[str, Any]]
  titles: Sequence[str]
  info: Mapping[str, Any]
  split: str
  run: Mapping[str, Any]
  predictions: Mapping[str, Any]
  training: Mapping[str, str]


def read_split(histories_dir: str, split: str, genres: Sequence[str]) -> Labelled:
  """Reads the users of a split, or of 'all', in the order of their shards."""
  listed = pq.read_table(f'{histories_dir}/items.parquet')['genres'].to_pylist()
  of_items = np.array([[name in row for name in genres] for row in listed], bool)
  users, answers, samples, items, totals = [], [], [], [], []
  for path in history_records.list_history_files(histories_dir, split):
    for history in map(history_records.decode_example, tfrecord.read_tfrecord(path)):
      users.append(history['user_id'])
      answers.append(Answer(history['liked'], history['disliked']))
      samples.append((of_items[history['history_items']], history['history_ratings']))
      items.append(history['history_items'])
      totals.append(history['history_total'])
  truth = metrics.indicator(answers, genres)
  return Labelled(users, truth, samples, items, np.array(totals, int))


def read_answers(
  predictions_dir: str, kind: str, user_ids: Sequence[str]
) -> list[Mapping[str, Any]]:
  """Reads the predictions of these users, in their order.

  Args:
    predictions_dir: finished folder of the predictions.
    kind: format of its files.
    user_ids: names of the users.

  Raises:
    JobError: a user has no prediction.
  """
  by_user = {row['user_id']: row for row in read_predictions(predictions_dir, kind)}
  missing = [user for user in user_ids if user not in by_user]
  if missing:
    raise JobError(
      f'{len(missing)} of {len(user_ids)} users have no prediction, such as '
      f'{missing[0]!r}: were the predictions made from these histories?'
    )
  return [by_user[user] for user in user_ids]


def read_titles(histories_dir: str) -> list[str]:
  """Reads the title of each item of the table, such as 'Heat (1995)'."""
  items = pq.read_table(f'{histories_dir}/items.parquet', columns=['title', 'year'])
  return [interaction_texts.title_with_year(row) for row in items.to_pylist()]


def read_training(model_dir: str, model: Mapping[str, Any]) -> dict[str, str]:
  """Reads the log and the configuration of a finished training.

  Args:
    model_dir: folder of the training; '' for none.
    model: manifest of the model that made the predictions.

  Returns:
    The text of `metrics.jsonl` and of `config.gin`, as far as they are there.

  Raises:
    JobError: the folder is not finished, or holds another model.
  """
  if not model_dir:
    return {}
  output_folder.require_finished(model_dir, 'persoma_tf.train')
  folder = pathlib.Path(model_dir)
  own = storage.read_json(str(folder / 'adapter' / 'manifest.json'))['model_id']
  if own != model['model_id']:
    raise JobError(
      f'--model_dir={model_dir} holds {own}, but {model["model_id"]} made the '
      'predictions: give the folder of that model'
    )
  files = [folder / name for name in _TRAINING_FILES]
  return {file.name: file.read_text() for file in files if file.exists()}
