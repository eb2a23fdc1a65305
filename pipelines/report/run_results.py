"""What the report's page tells of, and the folders that say it."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from pipelines import folders
from pipelines.job import JobError
from tasks import texts

_OF_TRAINING = ('metrics.jsonl', 'config.gin')


class Labelled(NamedTuple):
  """Histories of a split.

  Attributes:
    user_ids: U names.
    truth: [U, 2G] bool, liked and disliked genres.
    samples: of each user the sampled items' genres [n, G] bool and ratings [n].
    items: of each user the sampled items' row numbers [n], newest first.
    totals: [U] int, ratings of each user before sampling.
  """

  user_ids: list[str]
  truth: np.ndarray
  samples: list[tuple[np.ndarray, np.ndarray]]
  items: list[np.ndarray]
  totals: np.ndarray


class RunResults(NamedTuple):
  """What the page tells of.

  Attributes:
    users: the U users that were answered.
    rows: their rows of the prediction table.
    answers: of each method, [U, 2G] bool.
    methods: of each method, its scores as in `metrics.json`.
    titles: of each item of the item table.
    info: `dataset_info.json`, with the G genres.
    split: name of the users' split.
    run: `run` of `metrics.json`.
    predictions: `run_info.json`.
    training: text of `metrics.jsonl` and `config.gin`, where they are known.
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


def read_titles(histories_dir: str) -> list[str]:
  """'Heat (1995)' of each item of the table."""
  items = pq.read_table(f'{histories_dir}/items.parquet', columns=['title', 'year'])
  return [texts.title(row) for row in items.to_pylist()]


def read_training(model_dir: str, model: Mapping[str, Any]) -> dict[str, str]:
  """What a finished training tells of itself.

  Args:
    model_dir: its folder; '' for none.
    model: manifest of the model that made the predictions.

  Returns:
    The text of each of `metrics.jsonl` and `config.gin` that is there.

  Raises:
    JobError: the folder is not finished, or of another model.
  """
  if not model_dir:
    return {}
  folders.require_finished(model_dir, 'persoma_tf.train')
  folder = pathlib.Path(model_dir)
  own = folders.read_json(str(folder / 'adapter' / 'manifest.json'))['model_id']
  if own != model['model_id']:
    raise JobError(
      f'--model_dir={model_dir} holds {own}, the predictions are of '
      f'{model["model_id"]}: give the folder of that model'
    )
  files = [folder / name for name in _OF_TRAINING]
  return {file.name: file.read_text() for file in files if file.exists()}
