"""Losses of known interactions, and of a decoder that reads labels or drafts."""

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
from persoma_tf.losses import mean_losses, option_tokens
from persoma_tf.soft_prompt import LinearReadout, SoftPrompt
from tests.persoma_tf import small_model

G = 3
_SIZES = {'hidden': 8, 'width': 8, 'num_heads': 2}
DRAFT = OptionQueries(
  layout=(5, SLOT, 6, SLOT),
  num_words=2 * G + 1,
  num_options=G,
  first_words=(0, G),
  **_SIZES,
)
# Two begin alike, and one is the beginning of another.
OPTIONS, END = [[7, 3], [7], [2, 9, 4]], 1


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


@pytest.fixture(scope='module')
def choice():
  """(model, params, batch) of a draft that chooses one of OPTIONS."""
  model, params, batch = small_model.make()
  one = {'num_words': 3, 'num_options': 3, 'first_words': (0,)}
  draft = OptionQueries(layout=(5, SLOT), **one, **_SIZES, hard=False)
  adapter = SoftPrompt(None, None, small_model.CONFIG.d_model, draft=draft)
  batch['answer_slots'] = np.array([[1], [0], [2]], np.int32)
  targets = np.zeros((3, small_model.L), np.int32)
  for row, (label,) in zip(targets, batch['answer_slots'], strict=True):
    row[: len(OPTIONS[label]) + 1] = [*OPTIONS[label], END]
  batch['decoder_target_tokens'] = targets
  batch['decoder_input_tokens'] = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
  batch['decoder_loss_weights'] = (targets > 0).astype(np.int32)
  arguments = batch['history_embeddings'], batch['history_mask']
  made = jax.jit(adapter.init)(jax.random.key(0), *arguments)['params']
  return model.clone(adapter=adapter), {**params, 'adapter': made}, batch


def softly(case, share, batch=None):
  """The language-model loss of a case, or of another batch, with soft targets."""
  model, params, own = case
  count = model.adapter.draft.num_words if model.adapter.draft else len(OPTIONS)
  words = [*OPTIONS, [5], [6], [8], [9]][:count]
  table = option_tokens([([[*ids, END] for ids in words], [])])
  loss = functools.partial(mean_losses, model, history=False, options=table)
  call = jax.jit(lambda p, b: loss(p, b, soft_targets=share)['lm_loss'])
  return float(call(params, batch or own))


def test_soft_targets_expect_what_the_draft_does(choice):
  model, params, batch = choice
  of = lambda method: np.asarray(
    model.apply({'params': params}, batch, method=method), np.float64
  )
  logits = of('target_logits')
  log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
  soft = model.apply({'params': params}, batch, method='soft_prompt_of')
  odds = np.asarray(jax.nn.softmax(soft.slot_logits[:, 0]), np.float64)
  sequences = [(*ids, END) for ids in OPTIONS]
  soft, hard = [], []
  for row, (label,) in enumerate(batch['answer_slots']):
    answer = sequences[label]
    for place, token in enumerate(answer):
      hard.append(-log_probs[row, place, token])
      follow = np.zeros(small_model.V)
      for sequence, probability in zip(sequences, odds[row], strict=True):
        if sequence[:place] == answer[:place]:
          follow[sequence[place]] += probability
      soft.append(-(follow / follow.sum()) @ log_probs[row, place])
  assert softly(choice, 1.0) == pytest.approx(np.mean(soft), rel=1e-5)
  assert softly(choice, 0.0) == pytest.approx(np.mean(hard), rel=1e-5)
  between = 0.3 * np.mean(soft) + 0.7 * np.mean(hard)
  assert softly(choice, 0.3) == pytest.approx(between, rel=1e-5)


def test_soft_targets_of_first_words(choice):
  """The last word is the end; the first slot has words of other tokens.

  Texts of three words, of two, of one, and of one word and another that is unknown.
  """
  model, params, batch = choice
  more = {'layout': (5, SLOT, SLOT), 'first_words': (), 'num_words': 4}
  draft = model.adapter.draft.clone(**more)
  model = model.clone(adapter=model.adapter.clone(draft=draft))
  first = [[8, 3], [8], [2, 6], [END]]  # words of an answer's beginning
  later = [*OPTIONS, [END]]
  labels = [[0, 1], [2, 0], [1, 3], [1, -1]]
  texts = [[8, 3, 7, 5, END], [2, 6, 7, 3, END], [8, END], [8, 5, END]]
  rows = [0, 1, 2, 0]  # histories
  batch = {
    name: np.asarray(x)[rows]
    for name, x in batch.items()
    if not name.startswith('deco')
  }
  targets = np.array([np.pad(x, (0, 5 - len(x))) for x in texts], np.int32)
  batch |= {
    'answer_slots': np.array(labels, np.int32),
    'decoder_target_tokens': targets,
    'decoder_input_tokens': np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
    'decoder_loss_weights': (targets > 0).astype(np.int32),
  }
  arguments = batch['history_embeddings'], batch['history_mask']
  made = jax.jit(model.adapter.init)(jax.random.key(1), *arguments)['params']
  params = {**params, 'adapter': made}
  of = lambda method: np.asarray(
    model.apply({'params': params}, batch, method=method), np.float64
  )
  logits = of('target_logits')
  log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
  soft = model.apply({'params': params}, batch, method='soft_prompt_of')
  odds = np.asarray(jax.nn.softmax(soft.slot_logits), np.float64)
  expected = []
  for row, (text, words) in enumerate(zip(texts, labels, strict=True)):
    costs = [-log_probs[row, at, token] for at, token in enumerate(text)]
    start = 0
    for slot, word in enumerate(words):
      tokens = first if slot == 0 else later
      for place in range(len(tokens[word]) if word >= 0 else 0):
        follow = np.zeros(small_model.V)
        for other, probability in zip(tokens, odds[row, slot], strict=True):
          if other[:place] == tokens[word][:place] and len(other) > place:
            follow[other[place]] += probability
        at = start + place
        costs[at] = -(follow / follow.sum()) @ log_probs[row, at]
      start += len(tokens[word])
    expected += costs
  table = option_tokens([(first, later)])
  found = mean_losses(
    model, params, batch, history=False, soft_targets=1.0, options=table
  )
  assert float(found['lm_loss']) == pytest.approx(np.mean(expected), rel=1e-5)


def test_other_answers_keep_their_targets(choice, case):
  batch = choice[2]
  others = np.roll(batch['decoder_target_tokens'], 1, axis=0)
  other = {**batch, 'decoder_target_tokens': others}
  assert softly(choice, 1.0, other) == softly(choice, 0.0, other), 'not the label'
  assert softly(case, 1.0) == softly(case, 0.0), 'two slots'
  none = functools.partial(mean_losses, case[0], history=False)
  of_lists = none(*case[1:], soft_targets=1.0, options=option_tokens([([], [])]))[
    'lm_loss'
  ]
  assert float(of_lists) == pytest.approx(softly(case, 0.0), rel=1e-5)
  without = told(case, Perceiver(**_SMALL))
  assert softly(without, 1.0) == softly(without, 0.0), 'no slots'


def test_soft_targets_do_not_train_the_draft(choice):
  model, params, batch = choice
  # Where all words are alike, odds change no soft token, but only the targets.
  draft = params['adapter']['draft']
  draft = {**draft, 'words': jnp.ones_like(draft['words'])}

  @jax.jit
  @jax.grad
  def gradient(draft):
    own = {**params, 'adapter': {**params['adapter'], 'draft': draft}}
    table = option_tokens([([[*ids, END] for ids in OPTIONS], [])])
    settings = {'soft_targets': 1.0, 'options': table}
    return mean_losses(model, own, batch, history=False, **settings)['lm_loss']

  found = traverse_util.flatten_dict(gradient(draft), sep='/')
  moved = {name for name, x in found.items() if jnp.abs(x).max() > 1e-6}
  assert moved == {'words', 'template'}
