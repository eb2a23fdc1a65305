"""Losses of known interactions, and of a decoder that is taught with the label."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from persoma_tf.adapters.mlp import Mlp
from persoma_tf.adapters.option_queries import OptionQueries
from persoma_tf.adapters.perceiver import Perceiver
from persoma_tf.adapters.transformer import Transformer
from persoma_tf.answer_template import SLOT
from persoma_tf.losses import mean_losses
from persoma_tf.soft_prompt import LinearReadout, SoftPrompt
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
  made = jax.jit(adapter.init)(jax.random.key(0), *arguments)['params']
  return model.clone(adapter=adapter), {**params, 'adapter': made}, batch


def test_losses_of_known_interactions_equal_numpy(case):
  model, params, batch = case
  apply = lambda *args: model.apply(*args, method='soft_prompt')
  names = ('history_embeddings', 'history_mask', 'known_embeddings')
  soft = jax.jit(apply)({'params': params}, *(batch[name] for name in names))
  losses = jax.jit(lambda p: mean_losses(model, p, batch, lm=False))(params)
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
  losses = jax.eval_shape(lambda p: mean_losses(model, p, plain, lm=False), params)
  assert losses.keys() == {'slot_loss'}


_SMALL = {'num_layers': 1, 'width': 8, 'num_heads': 2, 'num_tokens': 2}
# adapter -> what learns of single interactions, under 'adapter/'
LEARN = {
  Perceiver(**_SMALL): {'resampler/items', 'known'},
  Transformer(**_SMALL): {'resampler/items', 'known'},
  Mlp(**_SMALL): {'resampler/items', 'resampler/feed_forward_0', 'known'},
}


def told(case, resampler, draft=None, num_categories=G):
  """(model, params, batch) of a model with user tokens."""
  model, params, batch = case
  adapter = SoftPrompt(
    *(resampler, LinearReadout(), small_model.CONFIG.d_model),
    draft=draft,
    num_categories=num_categories,
  )
  inputs = batch['history_embeddings'], batch['history_mask']
  made = jax.jit(adapter.init)(jax.random.key(0), *inputs)['params']
  return model.clone(adapter=adapter), {**params, 'adapter': made}, batch


@pytest.mark.parametrize('resampler', LEARN, ids=lambda x: type(x).__name__)
def test_item_supervision_trains_what_reads_single_interactions(case, resampler):
  """And nothing else of the prompt; the decoder is not there."""
  model, params, batch = told(case, resampler)
  names = {'category_loss', 'value_loss'}

  def loss(adapter):
    found = mean_losses(model, {'adapter': adapter}, batch, lm=False)
    assert found.keys() == names
    return sum(found.values())

  gradient = jax.jit(jax.grad(loss))(params['adapter'])
  gradient = traverse_util.flatten_dict(gradient, sep='/')
  moved = {path for path, x in gradient.items() if jnp.any(x)}
  learn = tuple(f'{part}/' for part in LEARN[resampler])
  assert moved == {path for path in gradient if path.startswith(learn)}


def test_a_head_equals_numpy(case):
  model, params, batch = told(case, Perceiver(**_SMALL))
  soft = jax.jit(model.adapter.apply)(
    {'params': params['adapter']},
    *(batch['history_embeddings'], batch['history_mask'], batch['known_embeddings']),
  )
  p = jax.tree.map(np.asarray, params['adapter'])
  dense = lambda layer, x: x @ layer['kernel'] + layer['bias']
  items = dense(p['resampler']['items']['in'], batch['known_embeddings'])
  items -= items.mean(-1, keepdims=True)
  items /= np.sqrt((items**2).mean(-1, keepdims=True) + 1e-6)
  found = dense(p['known'], items)
  np.testing.assert_allclose(soft.categories, found[..., :G], atol=1e-4)
  np.testing.assert_allclose(soft.values, found[..., G], atol=1e-4)


def test_losses_of_user_tokens_and_draft_are_summed(case):
  model, params, batch = told(case, Perceiver(**_SMALL), DRAFT)
  losses = lambda model: jax.jit(
    lambda params: mean_losses(model, params, batch, lm=False)
  )(params)
  both = losses(model)
  without = model.clone(adapter=model.adapter.clone(num_categories=0))
  draft = losses(without)
  user = model.clone(adapter=model.adapter.clone(draft=None))
  tokens = losses(user)
  for name in ('category_loss', 'value_loss'):
    np.testing.assert_allclose(both[name], draft[name] + tokens[name], rtol=1e-5)
  assert both['slot_loss'] == draft['slot_loss']


def test_without_a_number_of_categories_there_is_no_head(case):
  model, params, batch = told(case, Perceiver(**_SMALL), num_categories=0)
  assert 'known' not in params['adapter']
  assert mean_losses(model, params, batch, lm=False) == {}


def test_another_number_of_categories_than_the_data_have(case):
  model, params, batch = told(case, Perceiver(**_SMALL), num_categories=G + 1)
  match = f'build.num_categories={G + 1}, but the interactions of the data have {G} '
  with pytest.raises(ValueError, match=match):
    mean_losses(model, params, batch, lm=False)


def test_a_taught_decoder_reads_the_label_whatever_the_history_says(case):
  model, params, batch = case
  loss = functools.partial(mean_losses, model, params, history=False, teach=True)
  call = jax.jit(lambda batch: loss(batch=batch)['lm_loss'])
  other = {**batch, 'history_embeddings': -3 * batch['history_embeddings']}
  assert call(batch) == call(other)
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
