"""What users are told of items: plain Python, and nothing of themselves."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from persoma_tf.training import batching
from persoma_tf.training.vector_rows import gather, rows_lengths
from pipelines.histories.item_factors import with_factors
from tasks import choice_prediction, genre_prediction, item_statistics, item_vectors
from tasks.history_columns import HistoryColumns
from tasks.schema import FACTORS, VALUE_COUNTS, VALUE_SUMS
from tasks.user_folds import FOLDS, fold_of, folds_of

ITEMS = 6


def summed(events):
  """(sums, counts) of (user, item, value)."""
  sums, counts = np.zeros((2, ITEMS, FOLDS))
  for user, item, value in events:
    sums[item, fold_of(user.encode())] += value
    counts[item, fold_of(user.encode())] += 1
  return sums, counts


def drawn(seed):
  rng = np.random.default_rng(seed)
  return [
    (f'u{user}', item, float(rng.integers(1, 6)))
    for user in range(20)
    for item in rng.choice(ITEMS - 1, 3, replace=False).tolist()
  ]


def by_hand(events, user):
  """Statistics [I, 2] that a user is told, from the values of the users of others."""
  others = [x for x in events if fold_of(x[0].encode()) != fold_of(user.encode())]
  overall = np.mean([value for *_, value in others])
  told = []
  for item in range(ITEMS):
    own = [value for _, other, value in others if other == item]
    mean = (sum(own) + 5 * overall) / (len(own) + 5)
    told.append(((mean - overall) * 4.5 / 4, np.log(1 + len(own)) / 5))
  return np.array(told)


@pytest.mark.parametrize('seed', range(3))
def test_the_statistics_equal_plain_python(seed):
  events = drawn(seed)
  told = item_statistics.told_statistics(*summed(events), (1.0, 5.0))
  assert told.shape == (FOLDS, ITEMS, 2)
  for user in ('u0', 'u7', 'somebody else'):
    found = told[fold_of(user.encode())]
    np.testing.assert_allclose(found, by_hand(events, user), atol=1e-6)
    assert not found[ITEMS - 1].any()  # of this item nothing is known


def test_no_user_is_told_what_their_own_values_decide():
  """Whatever a user does, what they are told stays, to the bit; others are told."""
  events, scale = drawn(0), (1.0, 5.0)
  before = item_statistics.told_statistics(*summed(events), scale)
  for user in {user for user, *_ in events}:
    fold = fold_of(user.encode())
    changed = [x for x in events if x[0] != user] + [(user, 0, 1.0), (user, 5, 5.0)]
    after = item_statistics.told_statistics(*summed(changed), scale)
    np.testing.assert_array_equal(after[fold], before[fold])
    assert (after[(fold + 1) % FOLDS] != before[(fold + 1) % FOLDS]).any()


def test_without_any_values_nothing_is_told():
  nothing = np.zeros((ITEMS, FOLDS))
  assert not item_statistics.told_statistics(nothing, nothing, (1.0, 5.0)).any()


def test_folds():
  users = [f'u{number}' for number in range(1_000)]
  found = folds_of(users)
  assert found.tolist() == [fold_of(user.encode()) for user in users]
  assert np.bincount(found, minlength=FOLDS).min() > 150
  assert folds_of([]).shape == (0,)


@pytest.fixture
def told(choice_recipe, choice_folder):
  """Statistics [FOLDS, I, 2] of a recipe that reads them."""
  settings = ('statistics = True', 'factors = False')
  choice_recipe(*(f'interaction_vectors.item_{x}' for x in settings))
  return item_statistics.load_statistics(f'{choice_folder[0]}/histories')


def test_the_vectors_of_examples_end_with_what_their_user_is_told(told, choice_folder):
  lengths = rows_lengths(choice_prediction.choice_lengths(known=3))
  batch = next(batching.training_batches('choice_v1', 'train', lengths, 8, 0))
  vectors = item_statistics.interaction_vectors()
  plain = item_vectors.load_item_vectors(f'{choice_folder[0]}/embeddings')
  unit, width = plain.tables[0].std(axis=0).mean(), plain.tables[0].shape[1]
  made = gather(batch, genre_prediction.interaction_tables())
  folds = set()
  for row in range(8):
    item = batch['asked_rows'][row, 0, 0]
    fold, of_table = divmod(batch['asked_rows'][row, 0, 1], len(plain.tables[0]))
    folds.add(int(fold))
    assert of_table == item
    np.testing.assert_allclose(
      made['asked_embeddings'][row, 0],
      [*plain.tables[0][item], *(unit * told[fold, item])],
      rtol=1e-6,
    )
    for name in ('history', 'known'):
      there = batch[f'{name}_rows'][row]
      if name == 'history':
        there = there[batch['history_mask'][row] > 0]
      np.testing.assert_array_equal(there[:, 1], fold * len(told[0]) + there[:, 0])
  assert len(folds) > 1
  assert made['history_embeddings'].shape[-1] == vectors.width == plain.width + 2
  assert width + 2 == made['asked_embeddings'].shape[-1]


def test_each_user_is_told_of_the_other_folds(told, choice_folder):
  vectors = item_statistics.interaction_vectors()
  example = next(x for x in choice_folder[1]['train'] if len(x['history_items']))
  user = example['user_id'].encode()
  history = HistoryColumns.of_record(example)
  made, items = vectors.gather(history, user), history.items
  asked = vectors.gather_items(items, user)
  np.testing.assert_array_equal(made[:, : asked.shape[1]], asked)
  plain = item_vectors.load_item_vectors(f'{choice_folder[0]}/embeddings')
  unit = plain.tables[0].std(axis=0).mean()
  np.testing.assert_allclose(
    asked[:, -2:], told[fold_of(user), items] * unit, rtol=1e-6
  )
  np.testing.assert_array_equal(asked[:, :-2], plain.tables[0][items])


def test_without_the_setting_vectors_are_as_before(choice_recipe, choice_folder):
  settings = ('statistics = False', 'factors = False')
  choice_recipe(*(f'interaction_vectors.item_{x}' for x in settings))
  found = item_statistics.interaction_vectors()
  assert found is item_vectors.load_item_vectors(f'{choice_folder[0]}/embeddings')


def test_factors_stand_behind_the_statistics(choice_recipe, choice_folder, monkeypatch):
  """As the histories of a ranking have them; in the order of folds, items, factors."""
  both = (f'interaction_vectors.item_{x} = True' for x in ('statistics', 'factors'))
  choice_recipe(*both)
  told = item_statistics.load_statistics(f'{choice_folder[0]}/histories')
  rng = np.random.default_rng(0)
  factors = rng.normal(size=(FOLDS, len(told[0]), FACTORS)).astype(np.float32)
  monkeypatch.setattr(item_statistics, 'load_factors', lambda folder: factors)
  item_statistics._told_of_items.cache_clear()
  vectors = item_statistics.interaction_vectors()
  item_statistics._told_of_items.cache_clear()
  assert (vectors.num_statistics, vectors.num_factors) == (2, FACTORS)
  items, user = np.array([3, 0, 5]), b'u1'
  plain = item_vectors.load_item_vectors(f'{choice_folder[0]}/embeddings')
  unit, size = plain.tables[0].std(axis=0).mean(), plain.tables[0].shape[1]
  made = vectors.gather_items(items, user)
  own = np.concatenate([told, factors], axis=-1)[fold_of(user), items]
  np.testing.assert_allclose(made[:, size:], own * unit, rtol=1e-6)
  assert vectors.width == plain.width + 2 + FACTORS


def test_factors_are_read_as_they_were_written(tmp_path):
  factors = np.random.default_rng(0).normal(size=(FOLDS, ITEMS, FACTORS))
  factors = factors.astype(np.float32)
  table = pa.table({'item_index': np.arange(ITEMS)})
  pq.write_table(with_factors(table, factors), tmp_path / 'items.parquet')
  for name in ('COMPLETED', 'dataset_info.json'):
    (tmp_path / name).write_text('{}')
  np.testing.assert_array_equal(item_statistics.load_factors(str(tmp_path)), factors)
  item_statistics.load_factors.cache_clear()
  pq.write_table(table, tmp_path / 'items.parquet')
  with pytest.raises(ValueError, match='has no item_factors, which the recipe reads'):
    item_statistics.load_factors(str(tmp_path))


def test_histories_without_sums_are_refused(told, choice_folder, tmp_path):
  items = pq.read_table(f'{choice_folder[0]}/histories/items.parquet')
  pq.write_table(
    items.drop_columns([VALUE_SUMS, VALUE_COUNTS]), tmp_path / 'items.parquet'
  )
  for name in ('COMPLETED', 'dataset_info.json'):
    path = choice_folder[0] / 'histories' / name
    (tmp_path / name).write_bytes(path.read_bytes())
  with pytest.raises(ValueError, match='has no value_sums, which the recipe reads'):
    item_statistics.load_statistics(str(tmp_path))
