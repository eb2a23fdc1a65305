"""Sums of values: plain Python, and nothing of users and times that are held out."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.examples.example_plan import ExampleSplit
from pipelines.histories import clean
from pipelines.histories.value_sums import sum_values, training_rows, with_value_sums
from tasks.schema import VALUE_COUNTS, VALUE_SUMS
from tasks.user_folds import FOLDS, fold_of, folds_of
from tests.pipelines.histories.test_make_examples import (
  NUM_ITEMS,
  draw_rows,
  history_before,
)
from tests.pipelines.histories.test_make_histories import table

BY_TIME = ExampleSplit('time', (106, 109))
USERS = ('u0', 'u1', 'u2')


def summed(rows, held_out=(), split=ExampleSplit()):  # noqa: B008  immutable
  timeline = clean.read_timeline(table(*rows))
  held = np.array([user in held_out for user in timeline.ids.to_pylist()])
  folds = folds_of(timeline.ids.to_pylist())
  return sum_values(training_rows(timeline, held, split), folds, NUM_ITEMS)


def by_hand(rows, users, before):
  sums = np.zeros((2, NUM_ITEMS, FOLDS))
  for user in users:
    for item, value, _ in history_before(rows, user, before):
      sums[:, item, fold_of(user.encode())] += value, 1
  return sums


@pytest.mark.parametrize('seed', range(3))
def test_the_sums_equal_plain_python(seed):
  rows = draw_rows(seed)
  np.testing.assert_array_equal(summed(rows), by_hand(rows, USERS, 1_000))
  some = summed(rows, ['u1'])
  np.testing.assert_array_equal(some, by_hand(rows, ['u0', 'u2'], 1_000))
  # Divided by time, all users are in the training, but not what is asked later.
  found = summed(rows, USERS, BY_TIME)
  np.testing.assert_array_equal(found, by_hand(rows, USERS, 106))


def test_what_is_held_out_changes_nothing():
  rows = draw_rows(0)
  other = lambda row: (row[0], (row[1] + 1) % NUM_ITEMS, 6 - row[2], row[3])
  changed = [other(row) if row[0] == 'u1' else row for row in rows]
  np.testing.assert_array_equal(summed(rows, ['u1']), summed(changed, ['u1']))
  later = [other(row) if row[3] >= 106 else row for row in rows]
  before = [row for row in rows if row[3] < 106]
  for some in (later, before):
    np.testing.assert_array_equal(
      summed(rows, split=BY_TIME), summed(some, split=BY_TIME)
    )
  assert (summed(rows) != summed(later)).any()


def test_the_columns_of_the_item_table():
  sums = summed(draw_rows(0))
  made = with_value_sums(pa.table({'item_index': np.arange(NUM_ITEMS)}), sums)
  assert made.column_names == ['item_index', VALUE_SUMS, VALUE_COUNTS]
  np.testing.assert_array_equal(np.stack(made[VALUE_SUMS].to_pylist()), sums[0])
  np.testing.assert_array_equal(np.stack(made[VALUE_COUNTS].to_pylist()), sums[1])
