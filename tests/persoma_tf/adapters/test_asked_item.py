"""Asked item: statistics against numpy, padding, empty histories, what is left out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf.adapters.asked_item import (
  AskedItem,
  tell_likeness,
)
from persoma_tf.answer_template import SLOT
from tests.persoma_tf.adapters.hard_slot import check_hard_slot

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
# The last of the item's components is its mean value.
TOLD = {'num_statistics': 1}
both = pytest.mark.parametrize('settings', [{}, TOLD], ids=['alone', 'with_its_mean'])
# Behind it, or without it, are factors.
FACTORED = [TOLD | {'num_factors': 2}, {'num_factors': 3}]
every = pytest.mark.parametrize('settings', [{}, TOLD, *FACTORED], ids=str)


@functools.cache
def make(**settings):
  """(module, params, history, mask, asked). Read only."""
  module = AskedItem(**SETTINGS | settings)
  history = jax.random.normal(jax.random.key(0), (B, N, H))
  mask = jnp.array(np.arange(N) < LENGTHS[:, None], jnp.int32)
  asked = jax.random.normal(jax.random.key(2), (B, 1, WIDE))
  init = jax.jit(lambda key: module.init(key, history, mask, D, asked=asked))
  return module, init(jax.random.key(1)), history, mask, asked


@functools.partial(jax.jit, static_argnums=0)
def applied(module, params, history, mask, asked, known=None, words=None):
  """What the module tells; one program, instead of one for each operation."""
  return module.apply(params, history, mask, D, known, words, asked)


def test_statistics_equal_numpy():
  rng = np.random.default_rng(0)
  gates, values = rng.random((B, 2, N, HEADS)), rng.normal(size=(B, N))
  deviations = rng.normal(size=(B, N))
  shown = np.repeat(np.arange(N) < LENGTHS[:, None, None], 2, axis=1)
  shown[:, 1, 2] = False
  found = jax.jit(tell_likeness)(*map(jnp.array, (gates, values, deviations, shown)))
  for row, asked in np.ndindex(B, 2):
    keep = shown[row, asked]
    a, v, d = gates[row, asked][keep], values[row][keep], deviations[row][keep]
    count = a.sum(0)
    expected = [*np.log(1 + count), *(a.T @ d / (count + 1))]
    expected += [v.sum() / (len(v) + 1), d.sum() / (len(v) + 1), np.log(1 + len(v)) / 5]
    np.testing.assert_allclose(found[row, asked], expected, rtol=1e-5, atol=1e-6)
  assert not found[2].any()


@every
def test_the_draft_equals_numpy(settings):
  """The whole forward pass, written again."""
  module, params, history, mask, asked = make(**settings)
  texts = WIDE - sum(settings.values())  # the rest are the mean and factors
  has_mean, factors = 'num_statistics' in settings, settings.get('num_factors', 0)
  p = jax.tree.map(np.asarray, params['params'])
  dense = lambda name, x: x @ p[name]['kernel'] + p[name].get('bias', 0)
  relu = lambda x: np.maximum(x, 0)
  about = lambda x: relu(dense('item', x))
  project = lambda x: np.einsum('ni,ihd->nhd', x, p['likeness']['kernel'])
  unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
  mean = lambda x: p['mean_weight'] * x[:, texts] if has_mean else 0.0
  expect = lambda x: dense('expected', about(x[:, :texts]))[:, 0] + mean(x)
  found = applied(module, params, history, mask, asked)
  for row, size in enumerate(LENGTHS):
    x, item = np.asarray(history[row, :size]), np.asarray(asked[row])
    values = dense('value', x)[:, 0]
    deviations = values - expect(x)
    alike = (unit(project(y[:, :texts])) for y in (x, item))
    likeness = np.prod([*np.broadcast_arrays(*alike)], axis=0).sum(axis=-1)
    gates = 1 / (1 + np.exp(-p['scale'] * (likeness - p['threshold'])))
    count = gates.sum(0)
    told = [*np.log1p(count), *(deviations @ gates / (count + 1))]
    told += [values.sum() / (size + 1), deviations.sum() / (size + 1)]
    told += [np.log1p(size) / 5, expect(item)[0]]
    start = told[-3]
    if has_mean:
      told.append(item[0, texts])
    if factors:
      products = x[:, WIDE - factors : WIDE] @ item[0, WIDE - factors :]
      for rate in np.exp(p['forgetting']):
        summed = sum(y * np.exp(-rate * age) for age, y in enumerate(products))
        told.append(np.arcsinh(summed))
    y = relu(dense('middle', relu(dense('in', np.array(told)))))
    guessed = expect(item)[0] + start + dense('guessed', y)[0]
    logits = dense('slots', np.append(y, guessed))
    np.testing.assert_allclose(found.slot_logits[row, 0], logits, rtol=1e-4, atol=1e-5)
    odds = np.exp(logits - logits.max())
    mixture = odds / odds.sum() @ p['words']
    np.testing.assert_allclose(found.tokens[row, 2], mixture, atol=1e-4)


@every
def test_padding_changes_nothing_and_gets_no_gradient(settings):
  module, params, history, mask, asked = make(answers_train_all=True, **settings)
  known = history[:, :2]
  padded = jnp.concatenate([history, jnp.full((B, 5, H), jnp.nan)], axis=1)
  more = jnp.concatenate([mask, jnp.zeros((B, 5), jnp.int32)], axis=1)
  padded = jnp.where((more > 0)[..., None], padded, jnp.inf)
  apply = lambda x, mask: applied(module, params, x, mask, asked, known)
  alone, with_padding = apply(history, mask), apply(padded, more)
  for name in ('tokens', 'slot_logits', 'values', 'categories'):
    found = getattr(with_padding, name)
    np.testing.assert_allclose(found, getattr(alone, name), atol=1e-5, rtol=1e-5)
  total = lambda x: jnp.sum(apply(x, more).tokens ** 2)
  gradient = np.asarray(
    jax.jit(jax.grad(total))(jnp.where(jnp.isfinite(padded), padded, 3.0))
  )
  kept = np.asarray(more > 0)
  assert not gradient[~kept].any()
  assert gradient[kept].any()


@every
def test_an_empty_history_is_finite(settings):
  module, params, history, _, asked = make(**settings)
  empty = jnp.zeros((B, N), jnp.int32)

  def total(params, history, mask):
    soft = applied(module, params, history, mask, asked, history[:, :2])
    return jnp.sum(soft.tokens**2) + jnp.sum(soft.slot_logits**2 + soft.values.sum())

  for x, mask in ((history, empty), (history[:, :0], empty[:, :0])):
    if x.size:
      value, gradient = jax.jit(jax.value_and_grad(total))(params, x, mask)
      assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    else:
      value = applied(module, params, x, mask, asked).tokens.sum()
    assert jnp.isfinite(value)


@both
def test_the_order_of_a_history_changes_nothing(settings):
  module, params, history, mask, asked = make(**settings)
  order = jnp.array([2, 0, 3, 1, 6, 5, 4])  # keeps the four items of the second row
  one, other = (
    applied(module, params, x, m, asked).slot_logits
    for x, m in ((history, mask), (history[:, order], mask[:, order]))
  )
  np.testing.assert_allclose(one, other, atol=1e-5)


@both
def test_a_known_interaction_is_told_from_the_others(settings):
  """Its own value cannot be seen; without it the answer about its item is the same."""
  module, params, history, mask, asked = make(**settings)
  known = history[:, 3:4]
  told = lambda history, mask: (
    applied(module, params, history, mask, asked, known).values
  )
  whole, without = told(history, mask), told(history, mask.at[:, 3].set(0))
  np.testing.assert_allclose(whole[:2], without[:2], atol=1e-5)
  other = history.at[:, 3, WIDE:].add(9.0)  # another value of the same item
  np.testing.assert_allclose(told(other, mask)[:2], whole[:2], atol=1e-5)
  # The asked item itself may be in the history.
  asked = history[:, 3:4, :WIDE]
  apply = lambda x: applied(module, params, x, mask, asked).slot_logits[:2]
  assert jnp.any(jnp.abs(apply(other) - apply(history)) > 1e-4)


def test_what_is_told_of_known_interactions():
  module, params, history, mask, asked = make()
  known = history[:, :2]
  soft = applied(module, params, history, mask, asked, known)
  assert soft.categories.shape == (B, 2, G)
  assert soft.values.shape == (B, 6)
  p = jax.tree.map(np.asarray, params['params'])
  dense = lambda name, x: x @ p[name]['kernel'] + p[name]['bias']
  about = np.maximum(dense('item', np.asarray(known[..., :WIDE])), 0)
  read, expected = soft.values[:, :2], soft.values[:, 2:4]
  np.testing.assert_allclose(read, dense('value', known)[..., 0], rtol=1e-4)
  np.testing.assert_allclose(expected, dense('expected', about)[..., 0], rtol=1e-4)
  np.testing.assert_allclose(soft.categories, dense('categories', about), rtol=1e-3)
  alone = applied(module, params, history, mask, asked)
  np.testing.assert_allclose(soft.slot_logits, alone.slot_logits, atol=1e-5)
  assert alone.values is None
  _, without, *_ = make(num_categories=0)
  assert 'categories' not in without['params']


def test_a_hard_slot_is_the_best_word_or_that_which_is_given():
  check_hard_slot(make(hard=True), applied)


def test_a_question_without_an_item_is_refused():
  module, params, history, mask, _ = make()
  with pytest.raises(ValueError, match='the examples have no asked_embeddings'):
    module.apply(params, history, mask, D)


@pytest.mark.parametrize('everything', [True, False])
def test_what_answers_train(everything):
  module, params, history, mask, asked = make(answers_train_all=everything)
  apply = lambda p: applied(module, p, history, mask, asked).slot_logits
  gradient = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(apply(p)))))(params)['params']
  nonzero = lambda tree: any(map(jnp.any, jax.tree.leaves(tree)))
  trained = {name for name, tree in gradient.items() if nonzero(tree)}
  assert 'slots' in trained
  assert ('item' in trained) == ('value' in trained) == everything


def ranked(*present):
  """(module, params, history, mask, candidates [B, 3, WIDE], present [B, 3])."""
  module = AskedItem(**SETTINGS | {'ranks': True, 'num_categories': 0})
  _, _, history, mask, _ = make()
  asked = jax.random.normal(jax.random.key(3), (B, 3, WIDE))
  present = jnp.array([present] * B)
  given = history, mask, D, None, None, asked, present
  return (
    module,
    jax.jit(lambda key: module.init(key, *given))(jax.random.key(1)),
    *given,
  )


def test_each_candidate_is_scored_on_its_own():
  module, params, *given, asked, present = ranked(1, 1, 1)
  apply = jax.jit(lambda *last: module.apply(params, *given, *last).slot_logits[:, 0])
  logits = apply(asked, present)
  turned = apply(asked[:, [2, 0, 1]], present)
  np.testing.assert_allclose(turned, logits[:, [2, 0, 1]], rtol=1e-5, atol=1e-6)
  other = apply(asked.at[:, 2].set(5.0), present)
  np.testing.assert_allclose(other[:, :2], logits[:, :2], rtol=1e-5, atol=1e-6)
  assert not np.allclose(other[:, 2], logits[:, 2])


def test_padding_is_no_candidate():
  module, params, *given, asked, _ = ranked(1, 1, 0)
  some = jnp.array([[1, 1, 0]] * B)
  apply = jax.jit(lambda *last: module.apply(params, *given, *last).slot_logits)
  odds = jax.nn.softmax(apply(asked, some)[:, 0])
  assert not np.asarray(odds[:, 2]).any()
  np.testing.assert_allclose(odds.sum(axis=1), 1, rtol=1e-6)
