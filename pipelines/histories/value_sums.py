"""Sums what training users value each item, for models that are told of items."""

import numpy as np
import pyarrow as pa

from pipelines.examples.example_plan import ExampleSplit
from pipelines.histories import clean
from tasks.schema import VALUE_COUNTS, VALUE_SUMS
from tasks.user_folds import FOLDS


def training_rows(
  timeline: clean.Timeline, held_out: np.ndarray, split: ExampleSplit
) -> clean.RatingColumns:
  """Returns the ratings that a model may be told of.

  It is what a model is trained on: where examples are divided by time, what was before
  the first example for validation; else the events of users all of whose examples are
  for training.

  Args:
    timeline: ratings of a shard.
    held_out: [U] bool, whether a user is not for training, or has examples that are
      not.
    split: division of the examples.
  """
  if split.by == 'time':
    return timeline.rows.take(timeline.before(split.times[0]))
  counted = timeline.before(clean.EVER) & ~held_out[timeline.rows.user]
  return timeline.rows.take(counted)


def sum_values(
  rows: clean.RatingColumns, folds: np.ndarray, num_items: int
) -> np.ndarray:
  """Sums the values of each item in folds of the users.

  Args:
    rows: `training_rows` of a shard.
    folds: [U] int fold of each user of the shard.
    num_items: I.

  Returns:
    [2, I, FOLDS] float64: sums, and numbers of values.
  """
  size = num_items * FOLDS
  place = rows.item * FOLDS + folds[rows.user]
  both = np.bincount(place, rows.rating, size), np.bincount(place, minlength=size)
  return np.stack(both).reshape(2, num_items, FOLDS)


def with_value_sums(table: pa.Table, sums: np.ndarray) -> pa.Table:
  """Returns the item table [I] with the columns of `sum_values`."""
  for name, values, kind in zip(
    (VALUE_SUMS, VALUE_COUNTS), sums, (pa.float64(), pa.int64()), strict=True
  ):
    flat = pa.array(values.ravel().astype(kind.to_pandas_dtype()))
    table = table.append_column(name, pa.FixedSizeListArray.from_arrays(flat, FOLDS))
  return table
