"""Shards to histories: order, cleaning and counts."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from pipelines.events import shuffle
from pipelines.histories import history_records
from pipelines.histories.history_settings import HistorySettings
from pipelines.histories.make_histories import make_histories
from pipelines.items.item_table import ItemFacts
from tasks.labels import LabelRule

ITEMS = ItemFacts(('A', 'B'), sparse.csr_array([[1.0, 0], [0, 1], [1, 1]]))
SETTINGS = HistorySettings('recency', 10, 1, 0, LabelRule(min_count=1))


def table(*rows: tuple) -> pa.Table:
  """Rows (user, item, rating, time), and perhaps the row of a text."""
  user, item, rating, time, *text = zip(*rows, strict=True) if rows else ([],) * 4
  columns = [
    pa.array(user, pa.string()).dictionary_encode(),
    pa.array(item, pa.int32()),
    pa.array(rating, pa.float32()),
    pa.array(time, pa.int64()),
    *(pa.array(rows, pa.int32()) for rows in text),
  ]
  schema = shuffle.RATINGS_AND_TEXTS if text else shuffle.RATINGS
  return pa.Table.from_batches([pa.record_batch(columns, schema=schema)])


def decoded(made) -> dict[str, dict]:
  read = map(history_records.decode_example, made.records.to_pylist())
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


def test_texts_stay_with_their_events():
  rows = [
    ('a', 0, 4, 5, 7),
    ('a', 0, 4, 5, 7),  # duplicate
    ('a', 0, 4, 5, 2),  # same second, same rating: an earlier text
    ('a', 0, 4, 3, 9),  # older
    ('a', 1, 5, 1, 0),
    ('b', 1, 5, 1, 8),
  ]
  for order in (rows, rows[::-1]):
    made = make_histories(table(*order), ITEMS, SETTINGS)
    assert made.statistics.dropped['duplicate'] == 1
    assert made.statistics.dropped['superseded'] == 2
    texts = {name: x['history_texts'].tolist() for name, x in decoded(made).items()}
    assert texts == {'a': [7, 0], 'b': [8]}
  plain = make_histories(table(*(row[:4] for row in rows)), ITEMS, SETTINGS)
  assert 'history_texts' not in decoded(plain)['a']


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


def test_one_user_with_half_a_million_ratings_among_many_with_few():
  rng = np.random.default_rng(0)
  num_items, few = 500_000, rng.zipf(1.7, 2_000).clip(max=1_000)
  items = np.concatenate(
    [np.arange(num_items), *(rng.choice(num_items, n, replace=False) for n in few)]
  )
  user = np.repeat(np.arange(len(few) + 1), [num_items, *few])
  names = pa.array([f'{number:04d}' for number in range(len(few) + 1)])
  shuffled = rng.permutation(len(items))
  time = rng.integers(0, 10**9, len(items))
  rating = rng.integers(1, 11, len(items)).astype(np.float32) / 2
  columns = [item.astype(np.int32) for item in (user, items)]
  columns = [columns[0], columns[1], rating, time]
  columns = [pa.array(column[shuffled]) for column in columns]
  users = pa.DictionaryArray.from_arrays(columns[0], names)
  batch = pa.record_batch([users, *columns[1:]], schema=shuffle.RATINGS)
  genre = np.arange(num_items) % 3
  facts = ItemFacts(tuple('ABC'), sparse.csr_array(np.eye(3)[genre]))
  settings = HistorySettings('genre_balanced', 50, 1, 0, LabelRule())
  made = make_histories(pa.Table.from_batches([batch]), facts, settings)
  found = decoded(made)
  assert len(found) == len(few) + 1
  assert [history['history_total'] for history in found.values()] == [num_items, *few]
  largest = found['0000']
  assert len(largest['history_items']) == 50
  assert set(np.bincount(genre[largest['history_items']])) == {16, 17}
  one = found[names[int(np.argmax(few)) + 1].as_py()]
  mine = user == int(np.argmax(few)) + 1
  newest = {int(x): float(y) for x, y in zip(items[mine], rating[mine], strict=True)}
  for item, stars in zip(one['history_items'], one['history_ratings'], strict=True):
    assert newest[int(item)] == stars
