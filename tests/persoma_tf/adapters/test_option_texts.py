"""Queries from texts: cosine against numpy, other options, what is not trained."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from persoma_tf.adapters.option_queries import OptionQueries
from persoma_tf.adapters.option_texts import TextGates, with_options
from persoma_tf.training.stages import Stage, make_optimizer
from tests.persoma_tf.adapters.test_option_queries import B, D, G, H, N, applied, make

TEXT = 4  # H', the first components of an interaction's vector


def draft():
  """(module, params, history, mask) of a draft whose queries are made from texts."""
  module, params, history, mask = make(text_width=TEXT)
  return module, params['params'], history, mask


def test_gates_are_cosines_with_a_scale_and_a_threshold():
  gates = TextGates(G, TEXT)
  x = jax.random.normal(jax.random.key(0), (B, N, H))
  params = gates.init(jax.random.key(1), x)['params']
  rng = np.random.default_rng(0)
  params |= {'vectors': rng.normal(size=(G, TEXT)), 'centre': rng.normal(size=TEXT)}
  found = gates.apply({'params': params}, x)
  texts, queries = np.asarray(x)[..., :TEXT], params['vectors'] - params['centre']
  cosine = np.einsum('bnh,gh->bng', texts, queries)
  cosine /= np.linalg.norm(texts, axis=-1)[..., None] * np.linalg.norm(queries, axis=-1)
  np.testing.assert_allclose(found, 15 * (cosine - 0.3), rtol=1e-4, atol=1e-5)
  with pytest.raises(ValueError, match='have 3 components, those of the texts'):
    gates.init(jax.random.key(1), x[..., :3])


def test_other_options_are_asked_with_the_same_parameters():
  """The same options in another order get the same logits, in this order."""
  module, params, history, mask = draft()
  slots = applied(module, {'params': params}, history, mask).slot_logits
  order = np.array([3, 0, 4, 1, 2])
  asked = with_options(params, params['text_gates']['vectors'][order], params['words'])
  turned = applied(module, {'params': asked}, history, mask).slot_logits
  np.testing.assert_allclose(turned[:, :2, :G], slots[:, :2, order], atol=1e-5)
  few = module.clone(num_options=2, num_words=5, first_words=(0, 0, 2, 2))
  vectors, words = np.ones((2, TEXT)), np.ones((5, D))
  given = {'params': with_options(params, vectors, words)}
  found = applied(few, given, history, mask)
  assert found.slot_logits.shape == (B, 4, 5)
  assert jnp.isfinite(found.slot_logits).all()
  assert 'names' not in params


def test_learned_queries_cannot_be_asked_for_other_options():
  _, params, *_ = make()
  with pytest.raises(ValueError, match='the queries of this model are learned'):
    with_options(params['params'], np.ones((2, TEXT)), np.ones((5, D)))


def test_training_leaves_the_vectors_of_options_as_they_are():
  module, params, history, mask = draft()
  optimizer = make_optimizer(
    Stage(name='x', steps=3, batch_size=1, learning_rate=0.1, warmup_steps=0)
  )

  def total(params):
    slots = module.apply({'params': params}, history, mask, D).slot_logits
    return jnp.sum(jax.nn.softmax(slots) ** 2)

  @jax.jit
  def step(params):
    gradient = jax.grad(total)(params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    return optax.apply_updates(params, updates)

  after = step(params)['text_gates']
  before = params['text_gates']
  for name in ('vectors', 'centre'):
    np.testing.assert_array_equal(after[name], before[name])
  for name in ('scale', 'threshold'):
    assert after[name] != before[name]


def test_padding_and_empty_histories_are_finite():
  module, params, history, mask = draft()
  padded = jnp.where((mask > 0)[..., None], history, jnp.nan)
  one, other = (
    applied(module, {'params': params}, x, mask).slot_logits for x in (history, padded)
  )
  np.testing.assert_allclose(one, other, atol=1e-6)
  assert isinstance(module, OptionQueries)
  assert jnp.isfinite(one).all()
