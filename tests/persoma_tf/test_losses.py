"""Losses of known interactions, and of a decoder that is taught with the label."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf.adapters.option_queries import OptionQueries
from persoma_tf.answer_template import SLOT
from persoma_tf.losses import mean_losses
from persoma_tf.soft_prompt import SoftPrompt
from tests.persoma_tf import small_model

G = 3
DRAFT = OptionQueries(
  layout=(5, SLOT, 6, SLOT),
  num_words=2 * G + 1,
  num_options=G,
  first_words=(0, G),
  hidden=8,
  width=8,
  num_heads=2,
)


@pytest.fixture(scope='module')
def case():
  """(model, params, batch) of a draft without user tokens."""
  model, params, batch = small_model.make()
  rng = np.random.default_rng(0)
  batch['known_embeddings'] = rng.normal(size=(3, 4, small_model.H)).astype(np.float32)
  batch['known_categories'] = rng.integers(0, 2, (3, 4, G)).astype(np.float32)
  batch['known_values'] = rng.normal(size=(3, 4)).astype(np.float32)
  batch['known_values'][0, 1] = np.nan
  batch['answer_slots'] = np.array([[0, 4], [1, 6], [6, 5]], np.int32)
  adapter = SoftPrompt(None, None, small_model.CONFIG.d_model, draft=DRAFT)
  arguments = batch['history_embeddings'], batch['history_mask']
  made = adapter.init(jax.random.key(0), *arguments)['params']
  return model.clone(adapter=adapter), {**params, 'adapter': made}, batch


def test_losses_of_known_interactions_equal_numpy(case):
  model, params, batch = case
  soft = model.apply(
    {'params': params},
    batch['history_embeddings'],
    batch['history_mask'],
    batch['known_embeddings'],
    method='soft_prompt',
  )
  losses = mean_losses(model, params, batch, lm=False)
  assert losses.keys() == {'slot_loss', 'category_loss', 'value_loss'}
  p = 1 / (1 + np.exp(-np.asarray(soft.categories, np.float64)))
  y = batch['known_categories']
  expected = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(-1).mean()
  np.testing.assert_allclose(losses['category_loss'], expected, rtol=1e-5)
  error = np.nanmean((np.asarray(soft.values) - batch['known_values']) ** 2)
  np.testing.assert_allclose(losses['value_loss'], error, rtol=1e-5)


def test_without_known_interactions_their_losses_are_left_out(case):
  model, params, batch = case
  plain = {name: x for name, x in batch.items() if not name.startswith('known')}
  assert mean_losses(model, params, plain, lm=False).keys() == {'slot_loss'}


def test_a_taught_decoder_reads_the_label_whatever_the_history_says(case):
  model, params, batch = case
  call = lambda batch, teach: mean_losses(
    model, params, batch, history=False, teach=teach
  )['lm_loss']
  other = {**batch, 'history_embeddings': -3 * batch['history_embeddings']}
  assert call(batch, True) == call(other, True)
  words = jax.random.normal(jax.random.key(1), (2 * G + 1, small_model.CONFIG.d_model))
  draft = {**params['adapter']['draft'], 'words': words}
  soft = model.adapter.apply(
    {'params': {**params['adapter'], 'draft': draft}},
    batch['history_embeddings'],
    batch['history_mask'],
    None,
    jnp.array(batch['answer_slots']),
  )
  size = lambda x: x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True))
  np.testing.assert_allclose(
    soft.tokens[:, 1], size(words)[batch['answer_slots'][:, 0]], rtol=1e-4
  )
