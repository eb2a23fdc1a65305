"""Rows of tables become vectors, as numpy indexes them."""

import jax
import numpy as np

from persoma_tf.training.vector_rows import gather, rows_lengths


def test_vectors_are_rows_side_by_side():
  rng = np.random.default_rng(0)
  tables = rng.normal(size=(5, 3)), rng.normal(size=(2, 4))
  rows = np.stack([rng.integers(5, size=(2, 6)), rng.integers(2, size=(2, 6))], axis=-1)
  batch = {'history_rows': rows, 'history_embeddings': np.zeros((2, 0, 1)), 'other': 1}
  made = jax.jit(gather)(batch, tables)
  assert made.keys() == {'history_embeddings', 'other'}
  expected = np.concatenate([tables[0][rows[..., 0]], tables[1][rows[..., 1]]], axis=-1)
  np.testing.assert_allclose(made['history_embeddings'], expected, rtol=1e-6)


def test_a_batch_with_vectors_stays():
  batch = {'history_embeddings': np.ones((1, 2, 3))}
  assert gather(batch, ()) == batch


def test_lengths():
  lengths = {'history_embeddings': 9, 'known_embeddings': 2, 'targets': 5}
  assert rows_lengths(lengths) == {
    'history_embeddings': 0,
    'history_rows': 9,
    'known_embeddings': 0,
    'known_rows': 2,
    'targets': 5,
  }
