"""Shards to histories: order, cleaning and counts."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from pipelines import schema
from pipelines.transforms.histories import HistorySettings, make_histories
from pipelines.transforms.sample import ItemFacts
from tasks.labels import LabelRule

ITEMS = ItemFacts(('A', 'B'), sparse.csr_array([[1.0, 0], [0, 1], [1, 1]]))
SETTINGS = HistorySettings('recency', 10, 1, 0, LabelRule(min_count=1))


def table(*rows: tuple[str, int, float, int]) -> pa.Table:
  user, item, rating, time = zip(*rows, strict=True) if rows else ([], [], [], [])
  columns = [
    pa.array(user, pa.string()).dictionary_encode(),
    pa.array(item, pa.int32()),
    pa.array(rating, pa.float32()),
    pa.array(time, pa.int64()),
  ]
  batch = pa.record_batch(columns, schema=schema.RATINGS)
  return pa.Table.from_batches([batch])


def decoded(made) -> dict[str, dict]:
  read = map(schema.decode_example, made.records.to_pylist())
  return {history['user_id']: history for history in read}


def test_newest_first_and_users_in_order():
  made = make_histories(
    table(('b', 0, 4, 5), ('a', 1, 2, 5), ('b', 1, 1, 9), ('b', 2, 3, 9)),
    ITEMS,
    SETTINGS,
  )
  histories = decoded(made)
  assert list(histories) == ['a', 'b']
  assert histories['b']['history_items'].tolist() == [1, 2, 0]
  assert histories['b']['history_ratings'].tolist() == [1, 3, 4]
  assert histories['b']['history_timestamps'].tolist() == [9, 9, 5]
  assert histories['b']['history_total'] == 3
  assert histories['a']['disliked'] == ['B']
  assert made.statistics.num_ratings.tolist() == [1, 2, 1]
  assert made.statistics.rating_values == [1, 2, 3, 4]


def test_rows_that_are_dropped():
  again = [
    ('a', 0, 4, 5),
    ('a', 0, 4, 5),  # duplicate
    ('a', 0, 2, 3),  # older
    ('a', 0, 3, 5),  # same second, lower
    ('a', 0, 2, 3),  # duplicate of an older one
    ('a', 1, 5, 1),
    ('b', 1, 5, 1),
  ]
  made = make_histories(table(*again), ITEMS, SETTINGS)
  assert made.statistics.dropped == {
    'duplicate': 2,
    'superseded': 2,
    'user_below_min_history': 0,
  }
  assert made.statistics.rows_kept == 3
  assert decoded(made)['a']['history_ratings'].tolist() == [4, 5]


def test_min_history_counts_what_is_left_after_cleaning():
  rows = [('a', 0, 4, 5), ('a', 0, 4, 5), ('b', 0, 4, 5), ('b', 1, 4, 5)]
  settings = HistorySettings('recency', 10, 2, 0, LabelRule())
  made = make_histories(table(*rows), ITEMS, settings)
  assert list(decoded(made)) == ['b']
  assert made.statistics.dropped['user_below_min_history'] == 1
  assert made.statistics.num_ratings.tolist() == [1, 1, 0]


@pytest.mark.parametrize('sampler', ['recency', 'random'])
def test_the_order_of_rows_does_not_matter(sampler):
  rng = np.random.default_rng(0)
  rows = [
    (f'u{rng.integers(9)}', rng.integers(3), rng.integers(1, 6), rng.integers(4))
    for _ in range(200)
  ]
  settings = HistorySettings(sampler, 2, 1, 0, LabelRule())
  made = make_histories(table(*rows), ITEMS, settings)
  for seed in range(5):
    order = np.random.default_rng(seed).permutation(200)
    other = make_histories(table(*(rows[row] for row in order)), ITEMS, settings)
    assert other.records == made.records
    assert other.statistics.dropped == made.statistics.dropped


def test_labels_come_from_the_whole_history():
  rows = [('a', 0, 5, 1), ('a', 1, 1, 9)]
  settings = HistorySettings('recency', 1, 1, 0, LabelRule(min_count=1))
  (history,) = decoded(make_histories(table(*rows), ITEMS, settings)).values()
  assert history['history_items'].tolist() == [1]
  assert (history['liked'], history['disliked']) == (['A'], ['B'])
  assert history['history_total'] == 2


def test_nobody():
  made = make_histories(table(), ITEMS, SETTINGS)
  assert len(made.records) == 0
  assert made.statistics.num_ratings.tolist() == [0, 0, 0]
  assert made.statistics.rating_values == []
