"""Attention against numpy, in chunks and whole."""

import jax
import numpy as np
import pytest

from persoma_tf.adapters import adapter_layers


def reference(params, queries, keys, mask):
  """One row's attention in float64, head by head."""
  kernels = {name: np.asarray(x['kernel'], np.float64) for name, x in params.items()}
  out = np.zeros(queries.shape) + np.asarray(params['out']['bias'])
  for head in range(kernels['query'].shape[1]):
    q, k, v = (
      x @ kernels[name][:, head]
      for name, x in (('query', queries), ('key', keys), ('value', keys))
    )
    scores = np.exp(q @ k[mask].T / np.sqrt(q.shape[-1]))
    out += scores / scores.sum(1, keepdims=True) @ v[mask] @ kernels['out'][head]
  return out


@pytest.mark.parametrize('chunk', [256, 2])
def test_attention_equals_numpy(monkeypatch, chunk):
  monkeypatch.setattr(adapter_layers, 'QUERY_CHUNK', chunk)
  module = adapter_layers.Attention(num_heads=2)
  rng = np.random.default_rng(0)
  queries, keys = rng.normal(size=(2, 2, 5, 8)).astype(np.float32)
  mask = np.array([[1, 1, 0, 1, 0], [0, 0, 0, 1, 1]], bool)
  params = module.init(jax.random.key(0), queries, keys, mask)
  made = module.apply(params, queries, keys, mask)
  for row in range(2):
    expected = reference(params['params'], queries[row], keys[row], mask[row])
    np.testing.assert_allclose(made[row], expected, atol=1e-5)


def test_chunks_change_no_gradient(monkeypatch):
  module = adapter_layers.Attention(num_heads=2)
  rng = np.random.default_rng(1)
  queries, keys = rng.normal(size=(2, 2, 7, 8)).astype(np.float32)
  mask = np.ones((2, 7), bool)
  params = module.init(jax.random.key(0), queries, keys, mask)
  gradient = jax.grad(lambda q: (module.apply(params, q, keys, mask) ** 2).sum())
  whole = gradient(queries)
  monkeypatch.setattr(adapter_layers, 'QUERY_CHUNK', 3)
  np.testing.assert_allclose(gradient(queries), whole, atol=1e-5)


def test_heads_must_divide_the_width():
  module, x = adapter_layers.Attention(num_heads=4), np.ones((1, 2, 10), np.float32)
  with pytest.raises(ValueError, match='num_heads=4 does not divide width=10'):
    module.init(jax.random.key(0), x, x, np.ones((1, 2), bool))
