"""Greedy decoding behind soft prompts, with a key-value cache."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from persoma_tf.model import Persoma


class Generated(NamedTuple):
  """Answers.

  Attributes:
    tokens: [B, L] int32; `eos_id` from the first end of sequence on.
    log_prob: [B] float32, nats, of the tokens up to and with the first `eos_id`.
  """

  tokens: Array
  log_prob: Array


def greedy(
  model: Persoma,
  params: Mapping,
  history: Array,
  mask: Array,
  prompt: Array,
  *,
  eos_id: int,
  max_tokens: int,
) -> Generated:
  """Writes the most probable next token until every row has ended.

  Args:
    model: the model.
    params: {'adapter': ..., 'decoder': ...}.
    history: [B, N, H] float32.
    mask: [B, N] int32.
    prompt: [T] int32 task prompt of all rows, or [B, T], padded with 0.
    eos_id: ends a row.
    max_tokens: L.

  Returns:
    Generated.
  """
  call = lambda method, *args: model.apply({'params': params}, *args, method=method)
  soft = call(Persoma.soft_prompt, history, mask)
  batch = len(history)
  prompt = jnp.broadcast_to(prompt, (batch, prompt.shape[-1]))
  hidden, cache = call(Persoma.prefill, soft, prompt, max_tokens)

  def keep_going(state):
    step, _, _, ended, _, _ = state
    return (step < max_tokens) & ~jnp.all(ended)

  def write(state):
    step, hidden, cache, ended, tokens, log_prob = state
    log_probs = jax.nn.log_softmax(call(Persoma.logits, hidden).astype(jnp.float32))
    best = jnp.argmax(log_probs, axis=-1).astype(jnp.int32)
    gained = jnp.take_along_axis(log_probs, best[:, None], 1)[:, 0]
    log_prob = log_prob + jnp.where(ended, 0.0, gained)
    token = jnp.where(ended, eos_id, best)
    tokens = tokens.at[:, step].set(token)
    ended = ended | (token == eos_id)
    hidden, cache = call(Persoma.step, token, cache)
    return step + 1, hidden, cache, ended, tokens, log_prob

  start = (
    jnp.int32(0),
    hidden,
    cache,
    jnp.zeros(batch, bool),
    jnp.full((batch, max_tokens), eos_id, jnp.int32),
    jnp.zeros(batch, jnp.float32),
  )
  *_, tokens, log_prob = jax.lax.while_loop(keep_going, write, start)
  return Generated(tokens, log_prob)
