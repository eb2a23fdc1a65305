"""Users to splits and shards."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.histories.split import Split

IDS = pa.array([str(user) for user in range(20_000)])


def splits(split: Split, ids: pa.Array = IDS) -> np.ndarray:
  names = np.array([name.split('-')[0] for name in split.shard_names()])
  return names[split.assign(ids)]


def test_shares():
  made = splits(Split(0.7, 0.1, 3, seed=0))
  for name, share in {'train': 0.7, 'validation': 0.1, 'test': 0.2}.items():
    assert abs(np.mean(made == name) - share) < 0.015


def test_names_and_even_shards():
  split = Split(0.8, 0.1, 8, seed=0)
  assert split.shards == {'train': 8, 'validation': 1, 'test': 1}
  assert split.shard_names()[0] == 'train-00000-of-00008'
  counts = np.bincount(split.assign(IDS), minlength=10)
  assert np.all(np.abs(counts - 2000) < 250)


def test_a_user_stays_whatever_the_others_and_the_shards():
  one, many = Split(0.8, 0.1, 1, seed=0), Split(0.8, 0.1, 16, seed=0)
  np.testing.assert_array_equal(splits(one), splits(many))
  np.testing.assert_array_equal(splits(one)[::2], splits(one, IDS[::2]))
  assert not np.array_equal(splits(one), splits(Split(0.8, 0.1, 1, seed=1)))


@pytest.mark.parametrize(('train', 'validation'), [(1.0, 0.0), (0.9, 0.1)])
def test_empty_splits_get_nobody(train, validation):
  split = Split(train, validation, 2, seed=0)
  assert 'test' not in splits(split)
  assert (validation > 0) == ('validation' in splits(split))


@pytest.mark.parametrize(
  'values',
  [
    (0.0, 0.5, 1),
    (0.8, 0.3, 1),
    (0.8, -0.1, 1),
    (0.8, 0.1, 0),
    (1e-9, 0.1, 1),  # a thousand million shards of the test split
    (5e-324, 0.1, 1),
    (0.8, 0.1, 10**9),
  ],
)
def test_wrong_settings(values):
  with pytest.raises(ValueError, match='expected'):
    Split(*values, seed=0)
