"""The results of a run, and the folders that they are read from."""

import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from pipelines.common import output_folder, storage, tfrecord
from pipelines.common.job import JobError
from pipelines.histories import history_records
from tasks import interaction_texts, metrics
from tasks.answers.lists import Answer

_TRAINING_FILES = ('metrics.jsonl', 'config.gin')


class Labelled(NamedTuple):
  """Holds the users of a split with their histories and labels.

  Attributes:
    user_ids: U names.
    truth: [U, 2G] bool, liked genres, then disliked ones.
    samples: genres [n, G] bool and ratings [n] of each user's sampled items.
    items: row numbers [n] of each user's sampled items, newest first.
    totals: [U] int, number of each user's ratings before sampling.
    left_out: names of the split's other users; the place of a record without a name.
  """

  user_ids: list[str]
  truth: np.ndarray
  samples: list[tuple[np.ndarray, np.ndarray]]
  items: list[np.ndarray]
  totals: np.ndarray
  left_out: list[str]


class Coverage(NamedTuple):
  """Counts the users of the split that the scores are of.

  Attributes:
    users_scored: users with a prediction.
    users_in_split: users of the split.
    rejects: users that the predictions job rejected, by its own count.
  """

  users_scored: int
  users_in_split: int
  rejects: int


class RunResults(NamedTuple):
  """Holds everything that the page of a run shows.

  Attributes:
    users: the U users that were answered.
    coverage: number of these users, of the users of the split, and of the rejects.
    rows: each user's row of the prediction table.
    answers: [U, 2G] bool of each method.
    methods: scores of each method, as in `metrics.json`.
    better_baseline: the best method without a language model, as in `metrics.json`;
      None if the model scores as high.
    titles: title of each item of the item table.
    info: `dataset_info.json`, with the G genres.
    split: name of the users' split.
    run: `run` of `metrics.json`.
    predictions: `run_info.json`.
    training: text of `metrics.jsonl` and `config.gin`, as far as they are there.
  """

  users: Labelled
  coverage: Coverage
  rows: Sequence[Mapping[str, Any]]
  answers: Mapping[str, np.ndarray]
  methods: Mapping[str, Mapping[str, Any]]
  better_baseline: Mapping[str, Any] | None
  titles: Sequence[str]
  info: Mapping[str, Any]
  split: str
  run: Mapping[str, Any]
  predictions: Mapping[str, Any]
  training: Mapping[str, str]


def read_split(
  histories_dir: str,
  split: str,
  genres: Sequence[str],
  answered: Collection[str] | None = None,
) -> Labelled:
  """Reads the users of a split, or of 'all', in the order of their shards.

  Args:
    histories_dir: finished folder of the histories.
    split: name of the split, or 'all'.
    genres: G names.
    answered: users to read; None for all. Records that are not valid histories are
      left out, too: `batch_predict` rejects them.
  """
  of_items = read_genres(histories_dir, genres)
  users, answers, samples, items, totals, left_out = [], [], [], [], [], []
  for path in history_records.list_history_files(histories_dir, split):
    for number, record in enumerate(tfrecord.read_tfrecord(path)):
      history = _valid_history(record, len(of_items))
      if history is None:
        left_out.append(f'record {number} of {path}')
        continue
      if answered is not None and history['user_id'] not in answered:
        left_out.append(history['user_id'])
        continue
      users.append(history['user_id'])
      answers.append(Answer(history['liked'], history['disliked']))
      samples.append((of_items[history['history_items']], history['history_ratings']))
      items.append(history['history_items'])
      totals.append(history['history_total'])
  truth = metrics.indicator(answers, genres)
  return Labelled(users, truth, samples, items, np.array(totals, int), left_out)


def read_genres(histories_dir: str, genres: Sequence[str]) -> np.ndarray:
  """Reads the genres [I, G] bool of each item of the table; `genres` are G names."""
  table = pq.read_table(f'{histories_dir}/items.parquet', columns=['genres'])
  listed = table['genres'].to_pylist()
  rows = [[name in row for name in genres] for row in listed]
  return np.array(rows, bool).reshape(len(listed), len(genres))


def _valid_history(record: bytes, num_items: int) -> dict[str, Any] | None:
  """Decodes a record; None if it is not a history of items in the table."""
  try:
    history = history_records.decode_example(record)
  except ValueError:
    return None
  rows = history['history_items']
  known = len(rows) == len(history['history_ratings']) and np.all(
    (rows >= 0) & (rows < num_items)
  )
  return history if known else None


def check_coverage(users: Labelled, rejects: int) -> Coverage:
  """Compares the users without a prediction with the rejects.

  Raises:
    JobError: nobody has a prediction, or more users have none than were rejected.
  """
  missing, total = users.left_out, len(users.user_ids) + len(users.left_out)
  if len(missing) > rejects or (missing and not users.user_ids):
    raise JobError(
      f'{len(missing)} of {total} users have no prediction, such as {missing[0]!r}; '
      f'{rejects} were rejected: were the predictions made from these histories?'
    )
  return Coverage(len(users.user_ids), total, rejects)


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
