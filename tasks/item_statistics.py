"""Reads what training users tell of each item: mean and number of values, and factors.

`pipelines.build_histories` sums the values in folds of the users. Whoever is told of an
item is told of the folds without their own, in training and later. So no example reads
its own value or any other of its user, and what a model learns from has as many users
as what it answers from.
"""

import functools
import pathlib

import gin
import numpy as np
import pyarrow.parquet as pq

from tasks import finished, histories
from tasks.answers.choice import Choice
from tasks.dataset_question import asked_questions
from tasks.item_vectors import ItemVectors, load_item_vectors
from tasks.schema import FACTORS, ITEM_FACTORS, VALUE_COUNTS, VALUE_SUMS
from tasks.user_folds import FOLDS, fold_of

_OF_THE_MEAN = 5.0  # values at the overall mean that each item's mean counts more
_STARS = 4.5  # points of the scale that the model's values are on


def told_statistics(
  sums: np.ndarray, counts: np.ndarray, scale: tuple[float, float]
) -> np.ndarray:
  """Returns what the users of each fold are told of the items.

  Args:
    sums: [I, FOLDS] float, sum of the values that the users of a fold gave to an item.
    counts: [I, FOLDS] int, number of these values.
    scale: lowest and highest value of the scale.

  Returns:
    [FOLDS, I, 2] float32: the mean, with 5 values at the overall mean more and less
    this mean, in stars of 0.5 to 5; and log(1 + number) / 5. Both are 0 without values.
  """
  sums, counts = (x.sum(axis=1) - x.T for x in (sums, counts))
  overall = sums.sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
  means = (sums - counts * overall[:, None]) / (counts + _OF_THE_MEAN)
  stars = means * (_STARS / (scale[1] - scale[0]))
  return np.stack([stars, np.log1p(counts) / 5], axis=-1).astype(np.float32)


@functools.cache
def load_factors(histories_dir: str) -> np.ndarray:
  """Reads the factors [FOLDS, I, F] float32 of the items of a histories folder.

  Raises:
    FileNotFoundError: the folder is not finished, or another job made it.
    ValueError: the folder has none.
  """
  (flat,) = _read_columns(histories_dir, 'item_factors', ITEM_FACTORS)
  return flat.reshape(-1, FOLDS, FACTORS).transpose(1, 0, 2)


@functools.cache
def load_statistics(histories_dir: str) -> np.ndarray:
  """Reads the statistics of a histories folder; see `told_statistics`.

  Raises:
    FileNotFoundError: the folder is not finished, or another job made it.
    ValueError: the folder has none.
  """
  flat = _read_columns(histories_dir, 'item_statistics', VALUE_SUMS, VALUE_COUNTS)
  sums, counts = (values.reshape(-1, FOLDS) for values in flat)
  return told_statistics(sums, counts, histories.load_scale(histories_dir))


def _read_columns(histories_dir, setting, *names) -> list[np.ndarray]:
  """Returns columns of the item table, all numbers of each one after another."""
  folder = finished.check_finished(histories_dir, 'pipelines.build_histories')
  path = pathlib.Path(folder) / 'items.parquet'
  if names[0] not in pq.read_schema(path).names:
    raise ValueError(
      f'{path} has no {names[0]}, which the recipe reads '
      f'(interaction_vectors.{setting}): expected histories that this version of '
      'build_histories made'
    )
  table = pq.read_table(path, columns=[*names])
  return [column.combine_chunks().flatten().to_numpy() for column in table.columns]


def interaction_vectors() -> ItemVectors:
  """Returns the vectors of the interactions of the recipe's folders.

  A question about items has statistics of them where values are known, and their
  factors, if the recipe says so.

  Raises:
    ValueError: see `load_statistics` and `load_factors`.
  """
  folders = histories.data_folders()
  vectors, asked = load_item_vectors(folders.embeddings_dir), asked_questions()
  if not any(isinstance(x, Choice) and x.num_asked for x in asked.values()):
    return vectors
  statistics, factors = _tells()
  return _told_of_items(folders, statistics and vectors.has_values, factors)


@gin.configurable('interaction_vectors')
def _tells(
  item_statistics: bool = False, item_factors: bool = False
) -> tuple[bool, bool]:
  """Returns settings; config.gin of other questions does not have them.

  Args:
    item_statistics: whether the vector of an item ends with its statistics.
    item_factors: whether factors stand behind these, see `load_factors`.
  """
  return item_statistics, item_factors


@functools.cache
def _told_of_items(
  folders: histories.Folders, statistics: bool, factors: bool
) -> ItemVectors:
  """Returns the vectors with what users are told of items, once per process."""
  vectors = load_item_vectors(folders.embeddings_dir)
  parts = [load_statistics(folders.histories_dir)] if statistics else []
  parts += [load_factors(folders.histories_dir)] if factors else []
  if not parts:
    return vectors
  told, size = np.concatenate(parts, axis=-1), FACTORS if factors else 0
  return vectors.with_statistics(told, fold_of, size)
