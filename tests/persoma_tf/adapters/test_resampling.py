"""Pooling and sums against numpy; settings that are refused."""

import jax
import numpy as np
import pytest

from persoma_tf.adapters.resampling import GatedSums, Resample


def test_pool_equals_numpy():
  module = Resample('pool', num_tokens=3, num_heads=1)
  x = np.random.default_rng(0).normal(size=(3, 8, 4)).astype(np.float32)
  lengths = [8, 2, 0]
  mask = np.arange(8) < np.array(lengths)[:, None]
  params = module.init(jax.random.key(0), x, mask)
  dense = params['params']['pooled']
  for row, length in enumerate(lengths):
    pooled = np.zeros((3, 5))
    for segment in range(3):
      rows = [i for i in range(length) if i * 3 // length == segment]
      pooled[segment, :4] = x[row, rows].mean(0) if rows else 0
      pooled[segment, 4] = np.log1p(len(rows))
    y = pooled @ np.asarray(dense['kernel']) + np.asarray(dense['bias'])
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(module.apply(params, x, mask)[0][row], y, atol=1e-4)


def test_sums_equal_numpy():
  """Of the gates: log(1 + count) and mean; twice the items, twice the counts."""
  module = GatedSums(num_tokens=3, num_gates=2)
  x = np.random.default_rng(0).normal(size=(3, 8, 4)).astype(np.float32)
  lengths = [8, 2, 0]
  mask = np.arange(8) < np.array(lengths)[:, None]
  params = module.init(jax.random.key(0), x, mask)
  p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params['params'])
  found = module.apply(params, x, mask)
  for row, length in enumerate(lengths):
    for latent in range(3):
      counts, means = np.zeros(2), np.zeros(2)
      for item in x[row, :length]:
        opened = item @ p['gates']['kernel'][:, latent] + p['gates']['bias'][latent]
        gate = 1 / (1 + np.exp(-opened))
        value = item @ p['values']['kernel'][:, latent] + p['values']['bias'][latent]
        counts, means = counts + gate, means + gate * value
      told = np.concatenate([np.log(1 + counts), means / (counts + 0.1)])
      y = told @ p['told']['kernel'] + p['told']['bias']
      np.testing.assert_allclose(found[row, latent], y, atol=1e-5)


@pytest.mark.parametrize('kind', ['pool', 'queries', 'latents'])
def test_sums_are_added_to_the_latents(kind):
  x = np.random.default_rng(1).normal(size=(2, 4, 8)).astype(np.float32)
  mask = np.ones((2, 4), bool)
  module = Resample(kind, num_tokens=2, num_heads=2, sums=True)
  params = module.init(jax.random.key(0), x, mask)['params']
  found = module.apply({'params': params}, x, mask)[0]
  told = jax.tree.map(np.zeros_like, params['sums']['told'])
  silent = {**params, 'sums': {**params['sums'], 'told': told}}
  without = {name: leaf for name, leaf in params.items() if name != 'sums'}
  plain = module.clone(sums=False).apply({'params': without}, x, mask)[0]
  np.testing.assert_array_equal(module.apply({'params': silent}, x, mask)[0], plain)
  assert not np.allclose(found, plain, atol=0.1)


def test_single_items_have_no_sums():
  module, x = Resample('none', 3, 1, sums=True), np.ones((1, 2, 4), np.float32)
  with pytest.raises(ValueError, match='sums=True adds sums over the interactions'):
    module.init(jax.random.key(0), x, np.ones((1, 2), bool))


def test_unknown_kind():
  module, x = Resample('mean', 3, 1), np.ones((1, 2, 4), np.float32)
  with pytest.raises(ValueError, match="resampling='mean'; expected one of"):
    module.init(jax.random.key(0), x, np.ones((1, 2), bool))
