"""Asked item: statistics against numpy, padding, empty histories, what is left out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf.adapters.asked_item import AskedItem, tell_likeness
from persoma_tf.answer_template import SLOT

B, N, H, WIDE, G, D, HEADS = 3, 7, 6, 4, 5, 16, 2
SETTINGS = {
  'layout': (9, 8, SLOT),
  'num_words': 3,
  'num_categories': G,
  'num_heads': HEADS,
  'head_width': 3,
  'hidden': 12,
  'width': 8,
}
LENGTHS = np.array([7, 4, 0])


def make(**settings):
  """(module, params, history, mask, asked)."""
  module = AskedItem(**SETTINGS | settings)
  history = jax.random.normal(jax.random.key(0), (B, N, H))
  mask = jnp.array(np.arange(N) < LENGTHS[:, None], jnp.int32)
  asked = jax.random.normal(jax.random.key(2), (B, 1, WIDE))
  params = module.init(jax.random.key(1), history, mask, D, asked=asked)
  return module, params, history, mask, asked


def test_statistics_equal_numpy():
  rng = np.random.default_rng(0)
  gates, values = rng.random((B, 2, N, HEADS)), rng.normal(size=(B, N))
  deviations = rng.normal(size=(B, N))
  shown = np.repeat(np.arange(N) < LENGTHS[:, None, None], 2, axis=1)
  shown[:, 1, 2] = False
  found = tell_likeness(*map(jnp.array, (gates, values, deviations, shown)))
  for row, asked in np.ndindex(B, 2):
    keep = shown[row, asked]
    a, v, d = gates[row, asked][keep], values[row][keep], deviations[row][keep]
    count = a.sum(0)
    expected = [*np.log(1 + count), *(a.T @ d / (count + 1))]
    expected += [v.sum() / (len(v) + 1), d.sum() / (len(v) + 1), np.log(1 + len(v)) / 5]
    np.testing.assert_allclose(found[row, asked], expected, rtol=1e-5, atol=1e-6)
  assert not found[2].any()


def test_the_draft_equals_numpy():
  """The whole forward pass, written again."""
  module, params, history, mask, asked = make()
  p = jax.tree.map(np.asarray, params['params'])
  dense = lambda name, x: x @ p[name]['kernel'] + p[name].get('bias', 0)
  relu = lambda x: np.maximum(x, 0)
  about = lambda x: relu(dense('item', x))
  project = lambda x: np.einsum('ni,ihd->nhd', x, p['likeness']['kernel'])
  unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
  found = module.apply(params, history, mask, D, asked=asked)
  for row, size in enumerate(LENGTHS):
    x, item = np.asarray(history[row, :size]), np.asarray(asked[row])
    values = dense('value', x)[:, 0]
    deviations = values - dense('expected', about(x[:, :WIDE]))[:, 0]
    likeness = np.sum(unit(project(x[:, :WIDE])) * unit(project(item)), axis=-1)
    gates = 1 / (1 + np.exp(-p['scale'] * (likeness - p['threshold'])))
    count = gates.sum(0)
    told = [*np.log1p(count), *(deviations @ gates / (count + 1))]
    told += [values.sum() / (size + 1), deviations.sum() / (size + 1)]
    told += [np.log1p(size) / 5, dense('expected', about(item))[0, 0]]
    y = relu(dense('middle', relu(dense('in', np.array(told)))))
    guessed = told[-1] + told[-3] + dense('guessed', y)[0]
    logits = dense('slots', np.append(y, guessed))
    np.testing.assert_allclose(found.slot_logits[row, 0], logits, rtol=1e-4, atol=1e-5)
    words = p['words'][logits.argmax()]
    np.testing.assert_allclose(found.tokens[row, 2], words, atol=1e-6)


def test_padding_changes_nothing_and_gets_no_gradient():
  module, params, history, mask, asked = make(hard=False, answers_train_all=True)
  known = history[:, :2]
  padded = jnp.concatenate([history, jnp.full((B, 5, H), jnp.nan)], axis=1)
  more = jnp.concatenate([mask, jnp.zeros((B, 5), jnp.int32)], axis=1)
  padded = jnp.where((more > 0)[..., None], padded, jnp.inf)
  apply = lambda x, mask: module.apply(params, x, mask, D, known, None, asked)
  alone, with_padding = apply(history, mask), apply(padded, more)
  for name in ('tokens', 'slot_logits', 'values', 'categories'):
    found = getattr(with_padding, name)
    np.testing.assert_allclose(found, getattr(alone, name), atol=1e-5, rtol=1e-5)
  total = lambda x: jnp.sum(apply(x, more).tokens ** 2)
  gradient = np.asarray(jax.grad(total)(jnp.where(jnp.isfinite(padded), padded, 3.0)))
  kept = np.asarray(more > 0)
  assert not gradient[~kept].any()
  assert gradient[kept].any()


def test_an_empty_history_is_finite():
  module, params, history, _, asked = make()
  empty = jnp.zeros((B, N), jnp.int32)

  def total(params, history, mask):
    soft = module.apply(params, history, mask, D, history[:, :2], None, asked)
    return jnp.sum(soft.tokens**2) + jnp.sum(soft.slot_logits**2 + soft.values.sum())

  for x, mask in ((history, empty), (history[:, :0], empty[:, :0])):
    if x.size:
      value, gradient = jax.value_and_grad(total)(params, x, mask)
      assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    else:
      value = module.apply(params, x, mask, D, asked=asked).tokens.sum()
    assert jnp.isfinite(value)


def test_the_order_of_a_history_changes_nothing():
  module, params, history, mask, asked = make()
  order = jnp.array([2, 0, 3, 1, 6, 5, 4])  # keeps the four items of the second row
  one, other = (
    module.apply(params, x, m, D, asked=asked).slot_logits
    for x, m in ((history, mask), (history[:, order], mask[:, order]))
  )
  np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_known_interaction_is_told_from_the_others():
  """Its own value cannot be seen; without it the answer about its item is the same."""
  module, params, history, mask, asked = make()
  known = history[:, 3:4]
  told = lambda history, mask: (
    module.apply(params, history, mask, D, known, None, asked).values
  )
  whole, without = told(history, mask), told(history, mask.at[:, 3].set(0))
  np.testing.assert_allclose(whole[:2], without[:2], atol=1e-5)
  other = history.at[:, 3, WIDE:].add(9.0)  # another value of the same item
  np.testing.assert_allclose(told(other, mask)[:2], whole[:2], atol=1e-5)
  # The asked item itself may be in the history.
  asked = history[:, 3:4, :WIDE]
  apply = lambda x: module.apply(params, x, mask, D, asked=asked).slot_logits[:2]
  assert jnp.any(jnp.abs(apply(other) - apply(history)) > 1e-4)


def test_what_is_told_of_known_interactions():
  module, params, history, mask, asked = make()
  known = history[:, :2]
  soft = module.apply(params, history, mask, D, known, None, asked)
  assert soft.categories.shape == (B, 2, G)
  assert soft.values.shape == (B, 6)
  p = jax.tree.map(np.asarray, params['params'])
  dense = lambda name, x: x @ p[name]['kernel'] + p[name]['bias']
  about = np.maximum(dense('item', np.asarray(known[..., :WIDE])), 0)
  read, expected = soft.values[:, :2], soft.values[:, 2:4]
  np.testing.assert_allclose(read, dense('value', known)[..., 0], rtol=1e-4)
  np.testing.assert_allclose(expected, dense('expected', about)[..., 0], rtol=1e-4)
  np.testing.assert_allclose(soft.categories, dense('categories', about), rtol=1e-3)
  alone = module.apply(params, history, mask, D, asked=asked)
  np.testing.assert_allclose(soft.slot_logits, alone.slot_logits, atol=1e-5)
  assert alone.values is None
  _, without, *_ = make(num_categories=0)
  assert 'categories' not in without['params']


def test_words_that_are_given():
  module, params, history, mask, asked = make()
  words = jnp.array([[2], [0], [1]])
  soft = module.apply(params, history, mask, D, None, words, asked)
  np.testing.assert_array_equal(
    soft.tokens[:, 2], params['params']['words'][words[:, 0]]
  )


def test_a_question_without_an_item_is_refused():
  module, params, history, mask, _ = make()
  with pytest.raises(ValueError, match='the examples have no asked_embeddings'):
    module.apply(params, history, mask, D)


@pytest.mark.parametrize('everything', [True, False])
def test_what_answers_train(everything):
  module, params, history, mask, asked = make(answers_train_all=everything)
  apply = lambda p: module.apply(p, history, mask, D, asked=asked).slot_logits
  gradient = jax.grad(lambda p: jnp.sum(jnp.sin(apply(p))))(params)['params']
  nonzero = lambda tree: any(map(jnp.any, jax.tree.leaves(tree)))
  trained = {name for name, tree in gradient.items() if nonzero(tree)}
  assert 'slots' in trained
  assert ('item' in trained) == ('value' in trained) == everything
