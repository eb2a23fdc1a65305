"""The whole model on T5: soft prompts in the encoder, answers from the decoder."""

import functools
import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from persoma_tf import decoders
from persoma_tf.decoders.t5 import T5
from persoma_tf.inference import generate
from persoma_tf.losses import mean_losses
from persoma_tf.model import Persoma, Prompts
from persoma_tf.parameters import checkpoints, freezing, lora
from persoma_tf.training.loop import Loop
from persoma_tf.training.stages import Stage, segments
from tests.persoma_tf import small_model

TINY = pathlib.Path(__file__).parent / 'decoders' / 'tiny_t5' / 'v1_1'
B, SIZE, EOS = 3, 6, 7


@pytest.fixture(scope='module')
def case():
  """(model, params, batch)."""
  return small_model.make(B, decoders.load_decoder(str(TINY)))


@pytest.fixture(scope='module')
def log_probs(case):
  """(row, tokens) -> log-probabilities [SIZE + 1, V] of a row alone, without a cache.

  Its prefix holds no padding, and its start token and tokens are followed by others
  that must not be read.
  """
  model, params, batch = case
  call = functools.partial(model.apply, {'params': params})
  histories = batch['history_embeddings'], batch['history_mask']
  soft = jax.jit(functools.partial(call, method=Persoma.soft_prompt))(*histories)
  decoder = functools.partial(model.decoder.apply, {'params': params['decoder']})

  @jax.jit
  def run(prefix, inputs):
    mask = jnp.ones(prefix.shape[:2], bool)
    hidden = decoder(prefix, mask, inputs, method=T5.target_hidden)
    return jax.nn.log_softmax(decoder(hidden, method=T5.logits))[0]

  def of_row(row, tokens):
    prompt = batch['encoder_input_tokens'][row]
    embedded = decoder(prompt[batch['encoder_input_mask'][row] > 0], method=T5.embed)
    prefix = np.concatenate([soft.tokens[row], embedded])
    inputs = np.full((1, SIZE + 1), 55, np.int32)
    inputs[0, : len(tokens) + 1] = [0, *tokens]
    return np.asarray(run(prefix[None], inputs))

  return of_row


def test_loss_is_the_mean_over_target_tokens(case, log_probs):
  model, params, batch = case
  losses = []
  for row in range(B):
    targets = batch['decoder_target_tokens'][row, : small_model.LENGTHS[row]]
    found = log_probs(row, targets)
    losses += (-found[np.arange(len(targets)), targets]).tolist()
  assert len(losses) == small_model.LENGTHS[:B].sum()
  loss = jax.jit(lambda p, b: mean_losses(model, p, b, history=False)['lm_loss'])
  np.testing.assert_allclose(loss(params, batch), np.mean(losses), rtol=1e-5)


def test_greedy_equals_decoding_without_a_cache(case, log_probs):
  model, params, batch = case
  history = batch['history_embeddings'], batch['history_mask']
  soft = generate.soft_prompt(model, params, *history)
  task, prompts = generate.Task(EOS, SIZE), Prompts.of(batch)
  call = lambda params, soft: generate.greedy(model, params, soft, prompts, task)
  made = jax.jit(call)(params, soft)
  for row in range(B):
    tokens, log_prob = [], 0.0
    while len(tokens) < SIZE and EOS not in tokens:
      best = log_probs(row, tokens)[len(tokens)]
      tokens.append(int(best.argmax()))
      log_prob += float(best.max())
    assert made.tokens[row].tolist() == tokens + [EOS] * (SIZE - len(tokens))
    np.testing.assert_allclose(made.log_prob[row], log_prob, atol=1e-4)
  assert len(np.unique(made.tokens, axis=0)) > 1, 'histories change the answer'


def test_training_moves_the_adapter_and_lora_and_nothing_else(tmp_path, case):
  """By the loss of the answer alone, so that all gradients pass through T5."""
  model, params, batch = case
  params = params | {'decoder': lora.add_lora(params['decoder'], seed=0)}
  patterns = ('adapter/.*', *freezing.tuned('lora'))
  stage = Stage('a', 2, B, 1e-2, warmup_steps=0, weight_decay=0.0, trainable=patterns)
  loop = Loop(
    model,
    str(tmp_path),
    trained_part=lambda params: traverse_util.flatten_dict(params, sep='/'),
    data=lambda *_: itertools.repeat(batch),
    validation=None,
    log_period=1,
    dtype='float32',
  )
  loop.run(params, segments([stage], 2), 0)
  stored = checkpoints.load_params(str(tmp_path / 'checkpoint_2'))
  before, after = (traverse_util.flatten_dict(x, sep='/') for x in (params, stored))
  moved = {path for path, x in before.items() if not np.array_equal(after[path], x)}
  # What is measured, or predicts what this loss does not ask for.
  unasked = ('token_rms', 'standardize', 'statistics')
  expected = {
    path
    for path in before
    if path.startswith('adapter/') or path.endswith(('lora_a', 'lora_b'))
    if not any(name in path for name in unasked)
  }
  assert moved == expected
