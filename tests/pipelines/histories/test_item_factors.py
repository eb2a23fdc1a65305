"""Factors of items: numpy's decomposition, folds, and what cannot be factorized."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.histories.clean import RatingColumns
from pipelines.histories.item_factors import (
  UserItems,
  collect_items,
  factorize,
  with_factors,
)
from tasks.schema import FACTORS, ITEM_FACTORS
from tasks.user_folds import FOLDS

ITEMS = 50


def drawn(seed, users=60):
  """(fold of each user, [U, I] bool which items a user has)."""
  rng = np.random.default_rng(seed)
  taste = rng.normal(size=(users, 3)) @ rng.normal(size=(3, ITEMS))
  return rng.integers(0, FOLDS, users), taste + rng.normal(size=taste.shape) > 1


def packed(folds, has):
  users, items = np.nonzero(has)
  kept = np.unique(users)
  return UserItems(folds[kept], has[kept].sum(axis=1), items)


def by_hand(has):
  """The products of all items' factors, by a decomposition of the whole matrix."""
  users, items = has.sum(axis=1, keepdims=True), has.sum(axis=0, keepdims=True)
  matrix = has / np.sqrt(np.maximum(users, 1) * np.maximum(items, 1))
  _, sizes, factors = np.linalg.svd(matrix)
  factors = factors[:FACTORS].T * sizes[:FACTORS]
  length = (factors[items[0] > 0] ** 2).sum(axis=1).mean()
  return factors @ factors.T / length


@pytest.mark.parametrize('seed', range(2))
def test_products_equal_numpy(seed):
  folds, has = drawn(seed)
  has[:, 7] = False  # an item that nobody has
  halves = packed(folds[:25], has[:25]), packed(folds[25:], has[25:])
  found = factorize(halves, ITEMS)
  assert found.shape == (FOLDS, ITEMS, FACTORS)
  assert found.dtype == np.float32
  for fold, factors in enumerate(found):
    expected = by_hand(has[folds != fold])
    np.testing.assert_allclose(factors @ factors.T, expected, atol=1e-4)
  assert not found[:, 7].any()
  np.testing.assert_array_equal(factorize(halves, ITEMS), found)


def test_nobody_is_told_of_their_own_items():
  folds, has = drawn(0)
  found = factorize([packed(folds, has)], ITEMS)
  has[folds == 2] = ~has[folds == 2]
  changed = factorize([packed(folds, has)], ITEMS)
  np.testing.assert_array_equal(changed[2], found[2])
  assert (changed[3] != found[3]).any()


def test_items_of_a_shard():
  """Of each user; only some of too many."""
  rows = [(0, 5), (2, 1), (2, 4), (2, 0), (3, 5)]
  users, items = np.array(rows).T
  empty = np.zeros(len(rows))
  columns = {'user': users, 'item': items}
  others = {name: empty for name in RatingColumns._fields if name not in columns}
  ratings = RatingColumns(**columns, **others)
  found = collect_items(ratings, np.array([4, 0, 1, 3]), 10)
  assert [x.tolist() for x in found] == [[4, 1, 3], [1, 3, 1], [5, 1, 4, 0, 5]]
  some = collect_items(ratings, np.array([4, 0, 1, 3]), 2)
  assert len(some.folds) == 2
  assert some.counts.sum() == len(some.items)
  assert {*some.folds.tolist()} < {4, 1, 3}


@pytest.mark.parametrize('users', [0, 1, 2])
def test_too_few_users_tell_little(users):
  has = np.zeros((users, ITEMS), bool)
  has[:, :3] = True
  found = factorize([packed(np.zeros(users, int), has)], ITEMS)
  assert np.isfinite(found).all()
  assert not found[0].any()
  assert found[1].any() == (users == 2)


def test_the_column_of_the_item_table():
  folds, has = drawn(1)
  factors = factorize([packed(folds, has)], ITEMS)
  made = with_factors(pa.table({'item_index': np.arange(ITEMS)}), factors)
  told = np.array(made[ITEM_FACTORS].to_pylist()).reshape(ITEMS, FOLDS, FACTORS)
  np.testing.assert_array_equal(told.transpose(1, 0, 2), factors)
