"""Value regression: the draft against numpy, padding, empty histories, what is read."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from persoma_tf.adapters.value_regression import (
  ValueRegression,
  is_before,
  predict_deviations,
)
from persoma_tf.answer_template import SLOT
from persoma_tf.training.initial_adapter import principal_components
from tests.persoma_tf.adapters.hard_slot import check_hard_slot

B, N, H, ITEM, D = 3, 7, 8, 6, 16
SETTINGS = {
  'layout': (9, 8, SLOT),
  'num_words': 3,
  'num_components': 3,
  'num_categories': 2,
  'width': 5,
}
LENGTHS = np.array([7, 4, 0])
# The last two of the item's components are its mean value and a number.
# Behind them may be a factor.
every = pytest.mark.parametrize(('statistics', 'factors'), [(0, 0), (2, 0), (2, 1)])


@functools.cache
def make(statistics=2, factors=0, **settings):
  """(module, params, history, mask, asked). Read only."""
  told = {'num_statistics': statistics, 'num_factors': factors}
  module = ValueRegression(**told, **SETTINGS | settings)
  history = jax.random.normal(jax.random.key(0), (B, N, H))
  mask = jnp.array(np.arange(N) < LENGTHS[:, None], jnp.int32)
  asked = jax.random.normal(jax.random.key(2), (B, 1, ITEM))
  init = jax.jit(lambda key: module.init(key, history, mask, D, asked=asked))
  params = init(jax.random.key(1))
  # Layers that start at 0 would hide what is before them.
  draw = lambda x: jax.random.normal(jax.random.key(x.size), x.shape)
  for name in ('correction', 'slots'):
    params['params'][name] = jax.tree.map(draw, params['params'][name])
  scalars = (
    'overall',
    'mean_weight',
    'own',
    'of_categories',
    'of_all',
    'decay',
    'penalty',
    'of_factors',
  )
  for place, name in enumerate(scalars):
    if name in params['params']:
      params['params'][name] = jnp.float32(0.02 * place - 0.05)
  shape = params['params']['components'].shape
  params['params']['components'] = jax.random.normal(jax.random.key(9), shape)
  return module, params, history, mask, asked


@functools.partial(jax.jit, static_argnums=0)
def applied(module, params, history, mask, asked, known=None, words=None):
  """What the module tells; one program, instead of one for each operation."""
  return module.apply(params, history, mask, D, known, words, asked)


def test_a_regression_equals_scikit_learn():
  rng = np.random.default_rng(0)
  components, deviations = rng.normal(size=(B, N, 3)), rng.normal(size=(B, N))
  weights = rng.random((B, 2, N)) * (np.arange(N) < LENGTHS[:, None])[:, None]
  asked = rng.normal(size=(B, 2, 3))
  found = predict_deviations(
    *map(jnp.array, (components, deviations, weights, asked)), 0.7
  )
  for row, at in np.ndindex(2, 2):
    model = Ridge(0.7, fit_intercept=False)
    model.fit(components[row], deviations[row], weights[row, at])
    expected = model.predict(asked[row, at : at + 1])
    np.testing.assert_allclose(found[row, at], expected[0], rtol=2e-4, atol=1e-6)
  assert not found[2].any()


def test_only_what_was_before_the_newest_interaction_with_an_item():
  items = np.random.default_rng(0).normal(size=(1, 6, 4)).astype(np.float32)
  items[0, 4] = items[0, 1]
  asked = np.stack([items[0, 1], items[0, 0], items[0, 5], items[0, 0] + 1])[None]
  expected = [[0, 0, 1, 1, 0, 1], [0, 1, 1, 1, 1, 1], [0] * 6, [1] * 6]
  np.testing.assert_array_equal(is_before(items, asked)[0], np.array(expected) > 0)


@every
def test_the_draft_equals_numpy(statistics, factors):
  """The whole forward pass, written again."""
  module, params, history, mask, asked = make(statistics, factors)
  p = jax.tree.map(np.asarray, params['params'])
  dense = lambda name, x: x @ p[name]['kernel'] + p[name].get('bias', 0)
  relu = lambda x: np.maximum(x, 0)
  positive = lambda name, start: start * np.exp(10 * p[name])
  texts = ITEM - statistics - factors
  mean = lambda x: positive('mean_weight', 1) * x[:, texts] if statistics else 0
  expect = lambda x: 10 * p['overall'] + mean(x) + np.zeros(len(x))

  def scaled(x):
    scales = [positive('own', 0.2)] * 3 + [positive('of_categories', 0.2)] * 2
    own = x[:, :texts] @ p['components'] * np.sqrt(scales)
    parts = [own, np.full((len(x), 1), positive('of_all', 0.2) ** 0.5)]
    if factors:
      parts.append(x[:, ITEM - factors : ITEM] * positive('of_factors', 0.4) ** 0.5)
    return np.hstack(parts)

  found = applied(module, params, history, mask, asked)
  for row, size in enumerate(LENGTHS):
    x, item = np.asarray(history[row, :size]), np.asarray(asked[row])
    deviations = dense('value', x)[:, 0] - expect(x)
    weights = np.exp(-positive('decay', 0.03) * np.arange(size))
    own, penalty = scaled(x), positive('penalty', 0.9) * np.eye(6 + factors)
    coefficients = np.linalg.solve(
      own.T * weights @ own + penalty, own.T * weights @ deviations
    )
    start, expected = (scaled(item) @ coefficients)[0], expect(item)[0]
    told = [expected, start, deviations.sum() / (size + 1), np.log1p(size) / 5]
    told = np.array([*told, *item[0, texts : texts + statistics]])
    y = relu(dense('middle', relu(dense('in', told))))
    guessed = expected + start + dense('correction', y)[0]
    logits = 10 * dense('slots', np.array([guessed, *told]))
    np.testing.assert_allclose(found.slot_logits[row, 0], logits, rtol=1e-3, atol=1e-3)
    odds = np.exp(logits - logits.max())
    mixture = odds / odds.sum() @ p['words']
    np.testing.assert_allclose(found.tokens[row, 2], mixture, atol=1e-4)


@every
def test_padding_changes_nothing_and_gets_no_gradient(statistics, factors):
  module, params, history, mask, asked = make(statistics, factors)
  known = history[:, :2]
  padded = jnp.concatenate([history, jnp.full((B, 5, H), jnp.nan)], axis=1)
  more = jnp.concatenate([mask, jnp.zeros((B, 5), jnp.int32)], axis=1)
  padded = jnp.where((more > 0)[..., None], padded, jnp.inf)
  apply = lambda x, mask: applied(module, params, x, mask, asked, known)
  alone, with_padding = apply(history, mask), apply(padded, more)
  for name in ('tokens', 'slot_logits', 'values'):
    found = getattr(with_padding, name)
    np.testing.assert_allclose(found, getattr(alone, name), atol=1e-4, rtol=1e-4)
  total = lambda x: jnp.sum(apply(x, more).values ** 2)
  gradient = np.asarray(
    jax.jit(jax.grad(total))(jnp.where(jnp.isfinite(padded), padded, 3.0))
  )
  kept = np.asarray(more > 0)
  assert not gradient[~kept].any()
  assert gradient[kept].any()


@every
def test_an_empty_history_is_finite(statistics, factors):
  module, params, history, _, asked = make(statistics, factors)
  empty = jnp.zeros((B, N), jnp.int32)

  def total(params):
    soft = applied(module, params, history, empty, asked, history[:, :2])
    return jnp.sum(soft.slot_logits**2) + soft.values.sum()

  value, gradient = jax.jit(jax.value_and_grad(total))(params)
  assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((value, gradient)))
  none = applied(module, params, history[:, :0], empty[:, :0], asked)
  np.testing.assert_allclose(
    none.slot_logits,
    applied(module, params, history, empty, asked).slot_logits,
    rtol=1e-5,
  )


def test_a_known_interaction_is_told_from_those_before_it():
  """As if it were asked about at its time."""
  module, params, history, mask, asked = make()
  known = history[:, 2:3]
  told = applied(module, params, history, mask, asked, known).values[:2, 1]
  other = history.at[:, :3, ITEM:].add(9.0)  # other values of newer interactions, too
  again = applied(module, params, other, mask, asked, known).values[:2, 1]
  np.testing.assert_allclose(told, again, atol=1e-5)
  asked = known[..., :ITEM]
  late = applied(module, params, history[:, 3:], mask[:, 3:], asked, known)
  np.testing.assert_allclose(late.values[:2, 1], told, atol=1e-5)


def test_a_hard_slot_is_the_best_word_or_that_which_is_given():
  check_hard_slot(make(hard=True), applied)


def test_a_question_without_an_item_is_refused():
  module, params, history, mask, _ = make()
  with pytest.raises(ValueError, match='the examples have no asked_embeddings'):
    module.apply(params, history, mask, D)


def test_what_trains():
  """Answers train the last layer; values all but the components and that layer."""
  module, params, history, mask, asked = make()
  apply = lambda p: applied(module, p, history, mask, asked, history[:, :2])
  nonzero = lambda tree: any(map(jnp.any, jax.tree.leaves(tree)))

  def trained(of):
    total = lambda p: jnp.sum(jnp.sin(of(apply(p))))
    gradient = jax.jit(jax.grad(total))(params)['params']
    return {name for name, tree in gradient.items() if nonzero(tree)}

  assert trained(lambda soft: soft.slot_logits) == {'slots'}
  rest = {'components', 'slots', 'words', 'template'}
  assert trained(lambda soft: soft.values) == params['params'].keys() - rest


def test_principal_components_equal_scikit_learn():
  vectors = np.random.default_rng(0).normal(size=(50, 6)) * np.arange(1, 7)
  vectors -= vectors.mean(0)
  found = principal_components(vectors[:, :4], 6)
  expected = PCA(4).fit(vectors[:, :4]).transform(vectors[:, :4])
  scores = vectors[:, :4] @ found
  assert not scores[:, 4:].any()
  np.testing.assert_allclose(np.linalg.norm(scores, axis=1).mean(), 1)
  scores *= np.linalg.norm(expected, axis=1).mean()
  np.testing.assert_allclose(np.abs(scores[:, :4]), np.abs(expected), rtol=1e-6)
