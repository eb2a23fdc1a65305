"""Interactions with known categories and values, and rows instead of vectors."""

import json

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from persoma_tf.training import batching
from persoma_tf.training.vector_rows import gather, rows_lengths
from tasks import genre_prediction

TASK = 'movielens_genre_prediction_subhistories_v1'


@pytest.fixture
def lengths(recipe):
  """Feature lengths with five known interactions in each example."""
  recipe('feature_lengths.known = 5')
  return genre_prediction.feature_lengths()


def first(lengths, seed=0):
  """The first batch of four."""
  return next(batching.training_batches(TASK, 'train', lengths, 4, seed))


def test_rows_are_the_same_examples(lengths):
  vectors, rows = first(lengths), first(rows_lengths(lengths))
  tables = genre_prediction.interaction_tables()
  made = jax.device_get(gather(rows, tables))
  assert made.keys() == vectors.keys()
  there = vectors['history_mask'] > 0
  for name, x in vectors.items():
    keep = there if name == 'history_embeddings' else slice(None)  # padding may differ
    np.testing.assert_array_equal(made[name][keep], x[keep], err_msg=name)


def test_categories_and_values_are_those_of_the_tables(lengths, folders):
  histories, embeddings = folders
  batch = first(rows_lengths(lengths))
  names = json.loads((histories / 'dataset_info.json').read_text())['genres']
  genres = pq.read_table(histories / 'items.parquet')['genres'].to_pylist()
  stars = pq.read_table(embeddings / 'ratings.parquet')['rating'].to_pylist()
  assert batch['known_rows'].shape == (4, 5, 2)
  for row, (item, rating) in enumerate(batch['known_rows'].reshape(-1, 2)):
    told = batch['known_categories'].reshape(-1, len(names))[row]
    assert {names[at] for at in np.flatnonzero(told)} == {*genres[item]}
    value = batch['known_values'].reshape(-1)[row]
    np.testing.assert_allclose(value, stars[rating] - 3, atol=1e-6)


def test_each_example_draws_its_own(lengths):
  one, same, other = (first(lengths, seed)['known_values'] for seed in (0, 0, 1))
  np.testing.assert_array_equal(one, same)
  assert (one != other).any()
  assert len({row.tobytes() for row in first(lengths)['known_embeddings']}) == 4


def test_histories_as_text_have_none(recipe):
  recipe('feature_lengths.known = 5', 'history_limits.text_tokens = 100')
  assert 'known_values' not in genre_prediction.feature_lengths()
