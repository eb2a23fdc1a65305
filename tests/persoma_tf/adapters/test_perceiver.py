"""The Perceiver: masks, order, and attention against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf.adapters.perceiver import CrossAttention, Perceiver

B, N, H = 3, 11, 12


@pytest.fixture(scope='module')
def case():
  """(apply, params, history [B, N, H], mask [B, N])."""
  module = Perceiver(num_latents=4, width=16, num_heads=2, num_layers=2)
  history = jax.random.normal(jax.random.key(0), (B, N, H))
  mask = (jnp.arange(N) < jnp.array([[N], [5], [0]])).astype(jnp.int32)
  params = module.init(jax.random.key(1), history, mask)
  return module.apply, params, history, mask


def test_shape_and_empty_history(case):
  apply, params, history, mask = case
  latents = apply(params, history, mask)
  assert latents.shape == (B, 4, 16)
  assert jnp.isfinite(latents).all()


@pytest.mark.parametrize('garbage', [1e6, jnp.nan, jnp.inf])
def test_padding_is_never_read(case, garbage):
  apply, params, history, mask = case
  dirty = jnp.where(mask[..., None] > 0, history, garbage)
  expected = apply(params, history, mask)
  np.testing.assert_allclose(apply(params, dirty, mask), expected, atol=1e-6)
  wider = jnp.pad(dirty, ((0, 0), (0, 6), (0, 0)), constant_values=garbage)
  made = apply(params, wider, jnp.pad(mask, ((0, 0), (0, 6))))
  np.testing.assert_allclose(made, expected, atol=1e-6)


def test_gradients_to_padding_are_zero(case):
  apply, params, history, mask = case
  gradient = jax.grad(lambda x: jnp.sum(apply(params, x, mask) ** 2))(history)
  assert not jnp.any(jnp.where(mask[..., None] > 0, 0.0, gradient))
  assert jnp.all(jnp.any(gradient[0] != 0, axis=-1))


def test_order_does_not_matter(case):
  apply, params, history, mask = case
  order = jax.random.permutation(jax.random.key(2), N)
  made = apply(params, history[:, order], mask[:, order])
  np.testing.assert_allclose(made, apply(params, history, mask), atol=1e-5)


def test_attention_equals_numpy():
  module = CrossAttention(num_heads=2)
  queries, keys = np.random.default_rng(0).normal(size=(2, 1, 5, 8)).astype(np.float32)
  mask = np.array([[True, True, False, True, False]])
  params = module.init(jax.random.key(0), queries, keys, mask)
  kernels = {name: np.asarray(x['kernel']) for name, x in params['params'].items()}
  out = np.zeros((5, 8))
  for head in range(2):
    q, k, v = (
      x @ kernels[name][:, head]
      for name, x in (('query', queries[0]), ('key', keys[0]), ('value', keys[0]))
    )
    scores = np.exp(q @ k[mask[0]].T / 2)
    read = scores / scores.sum(1, keepdims=True) @ v[mask[0]]
    out += read @ kernels['out'][head]
  made = module.apply(params, queries, keys, mask)[0] - params['params']['out']['bias']
  np.testing.assert_allclose(made, out, atol=1e-5)


def test_heads_must_divide_the_width():
  module = Perceiver(width=10, num_heads=4)
  with pytest.raises(ValueError, match='num_heads=4 does not divide width=10'):
    module.init(jax.random.key(0), jnp.ones((1, 2, 3)), jnp.ones((1, 2)))
