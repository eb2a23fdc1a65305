"""Pooled vectors of users against pandas, their columns against scikit-learn."""

import numpy as np
import pandas as pd
import pytest

from tasks.baselines import UserSamples, pool_users, standardize_columns

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(20, 3)).astype(np.float32)


def draw(lengths) -> UserSamples:
  """Users with so many items each, and without labels."""
  items = [RNG.choice(20, length, replace=False) for length in lengths]
  ratings = [(RNG.integers(1, 11, n) / 2).astype(np.float32) for n in lengths]
  return UserSamples(items, ratings, np.zeros((len(lengths), 4), bool))


def test_pooled_vectors_equal_pandas():
  users = draw([5, 1, 12])
  rows = [
    {'user': user, 'item': item, 'rating': float(rating)}
    for user, (items, ratings) in enumerate(
      zip(users.items, users.ratings, strict=True)
    )
    for item, rating in zip(items, ratings, strict=True)
  ]
  table = pd.DataFrame(rows)
  means = table.groupby('user').rating.transform('mean')
  columns = pd.DataFrame(VECTORS.astype(float)).loc[table.item].reset_index(drop=True)
  weighted = columns.mul(table.rating - means, axis=0)
  mean = lambda values: values.groupby(table.user).mean().to_numpy()
  wanted = [mean(columns), mean(weighted), mean(table.rating)[:, None]]
  np.testing.assert_allclose(pool_users(VECTORS, users), np.hstack(wanted), atol=1e-12)


def test_users_without_items_and_nobody():
  assert not pool_users(VECTORS, draw([0, 0])).any()
  assert pool_users(VECTORS, draw([])).shape == (0, 7)


def test_vectors_of_other_items_are_not_read():
  users = draw([4])
  vectors = np.full_like(VECTORS, np.nan)
  vectors[users.items[0]] = VECTORS[users.items[0]]
  np.testing.assert_array_equal(pool_users(vectors, users), pool_users(VECTORS, users))


def test_columns_equal_scikit_learn():
  library = pytest.importorskip('sklearn.preprocessing')
  train, other = RNG.normal(2, 3, (30, 5)), RNG.normal(size=(4, 5))
  train[:, 2] = 0.1  # constant; its deviation is a rounding
  scaler = library.StandardScaler().fit(train)
  made = standardize_columns(train, other, other[:0])
  for found, values in zip(made, (train, other), strict=False):
    np.testing.assert_allclose(found, scaler.transform(values), atol=1e-12)
  assert made[2].shape == (0, 5)


@pytest.mark.filterwarnings('error')
def test_columns_without_training_users():
  other = np.ones((2, 3))
  empty, made = standardize_columns(other[:0], other)
  assert empty.shape == (0, 3)
  np.testing.assert_array_equal(made, other)
  assert not any(x.any() for x in standardize_columns(np.zeros((3, 2)), np.zeros(2)))
