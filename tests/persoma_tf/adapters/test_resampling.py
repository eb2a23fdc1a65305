"""Pooling against numpy; unknown kinds."""

import jax
import numpy as np
import pytest

from persoma_tf.adapters.resampling import Resample


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


def test_unknown_kind():
  module, x = Resample('mean', 3, 1), np.ones((1, 2, 4), np.float32)
  with pytest.raises(ValueError, match="resampling='mean'; expected one of"):
    module.init(jax.random.key(0), x, np.ones((1, 2), bool))
