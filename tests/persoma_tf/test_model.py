"""Losses and decoding of the whole model on a small random decoder."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf import decoders
from persoma_tf.adapters.mlp import Mlp
from persoma_tf.adapters.transformer import Transformer
from persoma_tf.decoders.causal_lm import CausalLm
from persoma_tf.inference import generate
from persoma_tf.losses import mean_losses
from persoma_tf.model import Persoma, Prompts, build
from persoma_tf.prompt_parts import ORDERS
from persoma_tf.soft_prompt import LinearReadout, SoftTokens, TemplateReadout
from tests.persoma_tf.small_model import CONFIG, LENGTHS, make

B = 3


@pytest.fixture(scope='module')
def case():
  """(model, params, batch)."""
  return make(B)


@jax.jit
def decoder_hidden(decoder_params, sequence):
  """Hidden states [S, D] of one sequence; S is fixed, to compile once."""
  size = len(sequence)
  return CausalLm(CONFIG).apply(
    {'params': decoder_params},
    sequence[None],
    jnp.arange(size)[None],
    jnp.tril(jnp.ones((1, size, size), bool)),
    None,
    0,
    method=CausalLm.read,
  )[0][0]


def log_probs_by_hand(params, soft, tokens):
  """Log-probabilities [len(tokens) + 1, V] behind a soft prompt [K, D], row alone."""
  table = np.asarray(params['decoder']['embedder']['embedding'])
  sequence = np.concatenate([soft, table[np.array(tokens, int)]])
  padded = np.pad(sequence, ((0, 16 - len(sequence)), (0, 0)), constant_values=7.0)
  hidden = np.asarray(decoder_hidden(params['decoder'], padded))
  logits = hidden[len(soft) - 1 : len(sequence)] @ table.T
  return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def applied(model, params, method, *args, sizes=()):
  """What a method gives; one program, instead of one for each operation."""
  call = lambda params, *args: model.apply(
    {'params': params}, *args, *sizes, method=method
  )
  return jax.jit(call)(params, *args)


def soft_prompts(model, params, batch):
  """SoftTokens of a batch."""
  call = jax.jit(lambda *args: model.apply(*args, method=Persoma.soft_prompt))
  return call({'params': params}, batch['history_embeddings'], batch['history_mask'])


def test_loss_is_the_mean_over_target_tokens(case):
  model, params, batch = case
  losses, soft = [], soft_prompts(model, params, batch).tokens
  for row in range(B):
    prompt = batch['encoder_input_tokens'][row]
    prompt = prompt[batch['encoder_input_mask'][row] > 0]
    targets = batch['decoder_target_tokens'][row, : LENGTHS[row]]
    log_probs = log_probs_by_hand(params, soft[row], [*prompt, *targets])
    log_probs = log_probs[len(prompt) :]
    losses += (-log_probs[np.arange(len(targets)), targets]).tolist()
  assert len(losses) == LENGTHS[:B].sum()
  found = float(
    jax.jit(lambda p, b: mean_losses(model, p, b, history=False)['lm_loss'])(
      params, batch
    )
  )
  np.testing.assert_allclose(found, np.mean(losses), rtol=1e-5)


def test_tokens_behind_a_target_change_nothing(case):
  model, params, batch = case
  dirty = dict(batch)
  for name in ('decoder_target_tokens', 'decoder_input_tokens'):
    dirty[name] = batch[name].copy()
    dirty[name][1, LENGTHS[1] + 1 :] = 9
  loss = jax.jit(lambda p, b: mean_losses(model, p, b, history=False)['lm_loss'])
  found = loss(params, dirty), loss(params, batch)
  np.testing.assert_allclose(*found, rtol=1e-6)


def test_history_losses_equal_numpy(case):
  model, params, batch = case
  soft = soft_prompts(model, params, batch)
  logits = np.asarray(soft.slot_logits, np.float64)
  log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  rows, slots = np.arange(B)[:, None], np.arange(2)
  expected = -log_probs[rows, slots, batch['answer_slots']].mean()
  losses = jax.jit(lambda p: mean_losses(model, p, batch, lm=False))(params)
  assert losses.keys() == {'slot_loss', 'statistics_loss'}
  np.testing.assert_allclose(losses['slot_loss'], expected, rtol=1e-5)
  error = (np.asarray(soft.statistics) - batch['history_statistics']) ** 2
  np.testing.assert_allclose(losses['statistics_loss'], np.nanmean(error), rtol=1e-5)
  loss = lambda p: mean_losses(model, p, batch, lm=False)['statistics_loss']
  gradient = jax.jit(jax.grad(loss))(params)
  assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_adapter_starts_from_decoder_and_data(case):
  _, params, batch = case
  table = np.asarray(params['decoder']['embedder']['embedding'])
  readout = params['adapter']['readout']
  np.testing.assert_allclose(readout['template'], table[[5, 6]])
  np.testing.assert_allclose(readout['words'][1], table[[2, 3]].mean(0), rtol=1e-6)
  real = batch['history_embeddings'][batch['history_mask'] > 0]
  np.testing.assert_allclose(
    params['adapter']['standardize']['mean'], real.mean(0), atol=1e-6
  )
  rms = np.sqrt((table**2).mean())
  np.testing.assert_allclose(params['adapter']['token_rms'], rms, rtol=1e-5)


def test_a_shared_prompt_may_be_padded(case):
  """The soft prompt stands behind the last token of the prompt, not behind padding."""
  model, params, batch = case
  model = model.clone(parts=ORDERS['prompt_first'])
  soft = soft_prompts(model, params, batch)

  @jax.jit
  def read(params, prompt):
    apply = lambda method, *args: model.apply({'params': params}, *args, method=method)
    hidden, cache = apply(Persoma.prefill, soft, prompt, 2)
    return hidden, apply(Persoma.step, jnp.array([3] * B), cache)[0]

  padded = Prompts(jnp.array([4, 0, 3, 3]), jnp.array([1, 1, 0, 0]))
  plain = Prompts(padded.tokens[:2], padded.mask[:2])
  padded, plain = read(params, padded), read(params, plain)
  jax.tree.map(lambda *x: np.testing.assert_allclose(*x, atol=1e-5), padded, plain)


TEXTS = ((7, 1), 'DRAFT', (2,), 'PROMPT', 'USER', (5, 3, 0))


@pytest.mark.parametrize('parts', [*ORDERS.values(), TEXTS, TEXTS[::-1]])
def test_parts_stand_in_their_order(case, parts):
  """The prefix is put together by hand, from the decoder's table of embeddings."""
  model, params, batch = case
  model = model.clone(parts=parts)
  soft = soft_prompts(model, params, batch)
  table = np.asarray(params['decoder']['embedder']['embedding'])
  drafted = len(model.adapter.template.layout)
  tokens, mask = np.asarray(soft.tokens), np.asarray(soft.mask)
  assert tokens.shape[1] == drafted, 'this model has no user tokens'
  known = {
    'USER': (tokens[:, :0], mask[:, :0]),
    'DRAFT': (tokens, mask),
    'PROMPT': (
      table[batch['encoder_input_tokens']],
      batch['encoder_input_mask'] > 0,
    ),
  }
  text = lambda ids: (
    np.tile(table[list(ids)], (B, 1, 1)),
    np.ones((B, len(ids)), bool),
  )
  pieces = [known[x] if isinstance(x, str) else text(x) for x in parts]
  expected = [np.concatenate(x, axis=1) for x in zip(*pieces, strict=True)]
  read = functools.partial(applied, model, params)
  made = read(Persoma.prefix, soft, Prompts.of(batch))
  jax.tree.map(lambda *x: np.testing.assert_allclose(*x, rtol=1e-6), made, (*expected,))

  whole = read(lambda m, *x: m.decoder.prefill(*x, 2)[0], *expected)
  hidden, _ = read(Persoma.prefill, soft, Prompts.of(batch), sizes=(2,))
  np.testing.assert_allclose(hidden, whole, atol=1e-5)
  one = jax.tree.map(lambda x: x[0], Prompts.of(batch))  # of all users
  shared = read(Persoma.prefill, soft, one, sizes=(2,))[0]
  each = read(Persoma.prefill, soft, one.for_all(B), sizes=(2,))[0]
  np.testing.assert_allclose(shared, each, atol=1e-5)


def test_a_start_token_of_a_template_stands_once(case):
  """The decoder may put its own start token; `as_trained` can change which."""
  model, params, batch = case
  soft = soft_prompts(model, params, batch)
  sizes = {}
  for token in (None, 7):
    module = CausalLm(dataclasses.replace(CONFIG, start_token=token))
    started = model.clone(decoder=module, parts=TEXTS)
    prefix, _ = applied(started, params, Persoma.prefix, soft, Prompts.of(batch))
    sizes[token] = prefix.shape[1]
  assert sizes[None] == sizes[7] + 1


def test_what_all_users_have_in_common_may_be_everything(case):
  model, params, batch = case
  model = model.clone(parts=((7, 1), 'PROMPT', (5,)))  # no soft tokens
  soft = soft_prompts(model, params, batch)
  one = jax.tree.map(lambda x: x[0], Prompts.of(batch))
  read = lambda x: applied(model, params, Persoma.prefill, soft, x, sizes=(2,))
  np.testing.assert_allclose(read(one)[0], read(one.for_all(B))[0], atol=1e-5)


def test_user_tokens_and_draft_stand_apart(case):
  """Learned task tokens stand before the user tokens."""
  model, params, batch = case
  draft = model.adapter.template
  adapter = model.adapter.clone(readout=LinearReadout(), draft=draft, num_task_tokens=1)
  model = model.clone(adapter=adapter, parts=('DRAFT', (2,), 'PROMPT', 'USER'))
  size, width = 4 + len(draft.layout), CONFIG.d_model
  soft = np.random.default_rng(0).normal(size=(B, size, width)).astype(np.float32)
  mask = np.ones((B, size), bool)
  mask[0, 1] = False
  given = SoftTokens(soft, mask), Prompts.of(batch)
  prefix, mask = applied(model, params, Persoma.prefix, *given)
  drafted = len(draft.layout)
  np.testing.assert_array_equal(prefix[:, :drafted], soft[:, 4:])
  np.testing.assert_array_equal(prefix[:, -4:], soft[:, :4])
  assert mask[0, -4:].tolist() == [True, False, True, True]


@pytest.mark.parametrize('adapter', [Mlp, Transformer])
def test_a_readout_of_fixed_size_needs_resampling(adapter, monkeypatch):
  loaded = decoders.LoadedDecoder('tiny', CausalLm(CONFIG), {}, CONFIG.d_model, 9)
  monkeypatch.setattr(decoders, 'load_decoder', lambda *_, **__: loaded)
  whole, template = adapter(resampling='none'), TemplateReadout((5, -1), 3)
  match = rf"{adapter.__name__}.resampling='none' makes a latent of every"
  with pytest.raises(ValueError, match=match):
    build(whole, template, 'tiny')
  with pytest.raises(ValueError, match=match):
    build(whole, LinearReadout(), 'tiny', num_statistics=2)
  assert build(whole, LinearReadout(), 'tiny')[1] is loaded
  assert build(adapter(resampling='pool'), template, 'tiny')[1] is loaded


def test_categories_need_an_adapter_that_reads_single_interactions():
  with pytest.raises(
    ValueError, match=r'build\.num_categories and build\.tell_values train'
  ):
    build(None, None, 'tiny', num_task_tokens=1, num_categories=3)


def test_greedy_equals_decoding_without_a_cache(case):
  model, params, batch = case
  prompts, eos_id = Prompts.of(batch), 7
  task = generate.Task(eos_id, 6)
  call = lambda params, soft: generate.greedy(model, params, soft, prompts, task)
  made = jax.jit(call)(params, soft_prompts(model, params, batch))
  soft = soft_prompts(model, params, batch).tokens
  for row in range(B):
    tokens = prompts.tokens[row][prompts.mask[row] > 0].tolist()
    log_prob = 0.0
    start = len(tokens)
    while len(tokens) < start + 6 and eos_id not in tokens[start:]:
      log_probs = log_probs_by_hand(params, soft[row], tokens)[-1]
      tokens.append(int(log_probs.argmax()))
      log_prob += float(log_probs.max())
    written = tokens[start:] + [eos_id] * (start + 6 - len(tokens))
    assert made.tokens[row].tolist() == written
    np.testing.assert_allclose(made.log_prob[row], log_prob, atol=1e-4)
