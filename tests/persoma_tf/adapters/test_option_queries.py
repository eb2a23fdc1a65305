"""Option queries: statistics against numpy, padding, empty histories, order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf.adapters.option_queries import OptionQueries, tell_statistics
from persoma_tf.answer_template import SLOT

B, N, H, G, D = 3, 7, 6, 5, 16
LAYOUT = (9, SLOT, 8, SLOT, 7, SLOT, 8, SLOT)
SETTINGS = {
  'layout': LAYOUT,
  'num_words': 2 * G + 1,
  'num_options': G,
  'first_words': (0, 0, G, G),
  'hidden': 12,
  'width': 8,
  'num_heads': 2,
}
LENGTHS = np.array([7, 4, 0])


@functools.cache
def make(**settings):
  """(module, params, history, mask). Read only."""
  module = OptionQueries(**SETTINGS | settings)
  history = jax.random.normal(jax.random.key(0), (B, N, H))
  mask = jnp.array(np.arange(N) < LENGTHS[:, None], jnp.int32)
  init = jax.jit(lambda key: module.init(key, history, mask, D))
  return module, init(jax.random.key(1)), history, mask


def applied(module, params, history, mask, *known):
  """What the module tells; one program, instead of one for each operation."""
  apply = lambda params, x, mask, *known: module.apply(params, x, mask, D, *known)
  return jax.jit(apply)(params, history, mask, *known)


def test_statistics_equal_numpy():
  rng = np.random.default_rng(0)
  gates, values = rng.random((B, N, G)), rng.normal(size=(B, N))
  mask = np.arange(N) < LENGTHS[:, None]
  found = tell_statistics(*map(jnp.array, (gates, values, mask)))
  for row, size in enumerate(LENGTHS):
    a, v, n = gates[row, :size], values[row, :size], max(size, 1)
    count = a.sum(0)
    expected = [
      np.log(1 + count),
      np.minimum(count, 4) / 4,
      v @ a / (count + 0.1),
      np.full(G, v.sum() / n),
      count / n,
      np.full(G, np.log(1 + size) / 5),
    ]
    np.testing.assert_allclose(found[row], np.transpose(expected), rtol=1e-5, atol=1e-6)
  assert not found[2].any()


def test_padding_changes_nothing_and_gets_no_gradient():
  module, params, history, mask = make(hard=False)
  padded = jnp.concatenate([history, jnp.full((B, 5, H), jnp.nan)], axis=1)
  more = jnp.concatenate([mask, jnp.zeros((B, 5), jnp.int32)], axis=1)
  padded = jnp.where((more > 0)[..., None], padded, jnp.inf)
  apply = jax.jit(lambda x, mask: applied(module, params, x, mask))
  alone, with_padding = apply(history, mask), apply(padded, more)
  for name in ('tokens', 'slot_logits'):
    found = getattr(with_padding, name)
    np.testing.assert_allclose(found, getattr(alone, name), atol=1e-6, rtol=1e-6)
  total = lambda x: jnp.sum(applied(module, params, x, more).tokens ** 2)
  gradient = jax.jit(jax.grad(total))(jnp.where(jnp.isfinite(padded), padded, 3.0))
  kept = np.asarray(more > 0)
  assert not np.asarray(gradient)[~kept].any()
  assert np.asarray(gradient)[kept].any()


def test_an_empty_history_is_finite():
  module, params, history, _ = make()
  empty = jnp.zeros((B, N), jnp.int32)

  def total(params, history):
    soft = applied(module, params, history, empty)
    return jnp.sum(soft.tokens**2) + jnp.sum(jax.nn.softmax(soft.slot_logits) ** 2)

  of_both = jax.jit(jax.value_and_grad(total))
  for x in (history, history[:, :0]):
    value, gradient = of_both(params, x) if x.size else (0.0, {})
    assert jnp.isfinite(value)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
  soft = applied(module, params, history, empty)
  np.testing.assert_allclose(soft.tokens[0], soft.tokens[1])


def test_the_order_of_a_history_changes_nothing():
  module, params, history, mask = make()
  order = jnp.array([2, 0, 3, 1, 6, 5, 4])  # keeps the four items of the second row
  one, other = (
    applied(module, params, x, m).slot_logits
    for x, m in ((history, mask), (history[:, order], mask[:, order]))
  )
  np.testing.assert_allclose(one, other, atol=1e-5)


def test_hard_slots_are_words_with_the_gradient_of_the_mixture():
  module, params, history, mask = make()
  soft = applied(module, params, history, mask)
  words = np.asarray(params['params']['words'])
  best = np.asarray(soft.slot_logits).argmax(-1)
  for row in range(B):
    np.testing.assert_array_equal(soft.tokens[row, 1], words[best[row, 0]])
  total = lambda p, m: jnp.sum(jnp.sin(m.apply(p, history, mask, D).tokens))
  gradient = jax.jit(jax.grad(total), static_argnums=1)(params, module)['params']
  assert jnp.any(gradient['gates']['kernel'])
  mixed = module.clone(hard=False)
  tokens = applied(mixed, params, history, mask).tokens
  weights = jax.nn.softmax(soft.slot_logits)
  np.testing.assert_allclose(tokens[:, 1], weights[:, 0] @ words, rtol=1e-5)


def test_few_attended_options_are_those_with_the_largest_counts():
  """With as many as there are, nothing changes; parameters are the same."""
  module, params, history, mask = make(attended=G)
  all_of_them = applied(module.clone(attended=100), params, history, mask)
  found = applied(module, params, history, mask)
  np.testing.assert_array_equal(found.slot_logits, all_of_them.slot_logits)
  few = applied(module.clone(attended=2), params, history, mask)
  assert jnp.isfinite(few.slot_logits).all()
  assert jnp.any(few.slot_logits != found.slot_logits)


def test_known_interactions_are_read_as_those_of_a_history():
  module, params, history, mask = make()
  soft = applied(module, params, history, mask, history[:, :2])
  assert soft.categories.shape == (B, 2, G)
  assert soft.values.shape == (B, 2)
  p = jax.tree.map(np.asarray, params['params'])
  dense = lambda name, x: x @ p[name]['kernel'] + p[name]['bias']
  told = dense('gates', np.maximum(dense('item', np.asarray(history[:, :2])), 0))
  np.testing.assert_allclose(soft.categories, told[..., :-1], rtol=1e-4)
  np.testing.assert_allclose(soft.values, told[..., -1], rtol=1e-4)


@pytest.mark.parametrize('layers', [0, 2])
def test_a_user_of_another_batch_gets_the_same(layers):
  module, params, history, mask = make(num_layers=layers)
  whole = applied(module, params, history, mask).slot_logits
  alone = applied(module, params, history[1:2], mask[1:2]).slot_logits
  np.testing.assert_allclose(whole[1:2], alone, atol=1e-5)
