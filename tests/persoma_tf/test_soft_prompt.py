"""Readouts and scaling."""

import jax
import jax.numpy as jnp
import numpy as np

from persoma_tf.adapters.mlp import Mlp
from persoma_tf.adapters.perceiver import Perceiver
from persoma_tf.soft_prompt import (
  SLOT,
  LinearReadout,
  SoftPrompt,
  Standardize,
  TemplateReadout,
  scale_to,
)

LATENTS = jax.random.normal(jax.random.key(0), (2, 3, 8))
ALL = jnp.ones((2, 3), bool)


def test_scale():
  tokens = scale_to(jax.random.normal(jax.random.key(1), (2, 4, 16)) * 9, 0.1)
  np.testing.assert_allclose(jnp.sqrt(jnp.mean(tokens**2, -1)), 0.1, rtol=1e-5)
  assert jnp.isfinite(scale_to(jnp.zeros((1, 2, 4)), 0.1)).all()


def test_standardize_is_not_trained():
  module = Standardize()
  params = {'params': {'mean': jnp.array([1.0, 2.0]), 'scale': jnp.array([2.0, 4.0])}}
  x = jnp.array([[3.0, 2.0]])
  np.testing.assert_allclose(module.apply(params, x), [[1.0, 0.0]])
  gradient = jax.grad(lambda p: jnp.sum(module.apply(p, x) ** 2))(params)
  assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_template_readout_equals_numpy():
  """Fixed tokens stand where the layout says, slots are mixtures of the words."""
  module = TemplateReadout(layout=(7, SLOT, 8, SLOT, 9), num_words=5, hidden=6)
  params = module.init(jax.random.key(2), LATENTS, ALL, 4)
  soft = module.apply(params, LATENTS, ALL, 4)
  assert soft.tokens.shape == (2, 5, 4)
  assert soft.slot_logits.shape == (2, 2, 5)
  fixed, words = (np.asarray(params['params'][name]) for name in ('template', 'words'))
  assert fixed.shape == (3, 4)
  weights = np.exp(np.asarray(soft.slot_logits, np.float64))
  mixed = weights / weights.sum(-1, keepdims=True) @ words
  for row in range(2):
    expected = [fixed[0], mixed[row, 0], fixed[1], mixed[row, 1], fixed[2]]
    np.testing.assert_allclose(soft.tokens[row], expected, atol=1e-5)


def test_soft_prompt():
  resampler = Perceiver(num_tokens=3, width=8, num_heads=2)
  module = SoftPrompt(resampler, LinearReadout(), width=16, num_statistics=4)
  history, mask = jnp.ones((2, 5, 6)), jnp.ones((2, 5), jnp.int32)
  params = module.init(jax.random.key(0), history, mask)
  soft = module.apply(params, history, mask)
  assert soft.tokens.shape == (2, 3, 16)
  assert soft.statistics.shape == (2, 4)
  assert soft.slot_logits is None
  np.testing.assert_allclose(jnp.sqrt(jnp.mean(soft.tokens**2, -1)), 1, rtol=1e-5)


def test_task_tokens_stand_before_the_soft_prompt():
  resampler = Mlp(num_layers=1, width=8, resampling='none')
  module = SoftPrompt(resampler, LinearReadout(), width=16, num_task_tokens=2)
  history, mask = jnp.ones((2, 5, 6)), jnp.array([[1] * 5, [1, 1, 0, 0, 0]])
  params = module.init(jax.random.key(0), history, mask)
  soft = module.apply(params, history, mask)
  assert soft.tokens.shape == (2, 7, 16)
  task = params['params']['task_tokens']
  np.testing.assert_allclose(soft.tokens[:, :2], jnp.stack([task, task]))
  np.testing.assert_array_equal(soft.mask[1], [1, 1, 1, 1, 0, 0, 0])


def test_task_tokens_alone_read_no_history():
  module = SoftPrompt(None, None, width=16, num_task_tokens=3)
  history, mask = jnp.ones((2, 0, 1)), jnp.ones((2, 0), jnp.int32)
  params = module.init(jax.random.key(0), history, mask)
  assert params['params'].keys() == {'task_tokens'}
  assert module.apply(params, history, mask).tokens.shape == (2, 3, 16)
