"""Generates answers after soft prompts: greedy, sampled or by beam search.

Greedy answers can be drafted (speculative decoding, Leviathan et al. 2023, arXiv
2211.17192): the decoder reads a draft's tokens at once, those are kept that it would
have written itself, and it goes on behind them. The answer stays the same in float32;
in bfloat16 a near tie may fall otherwise, for one token is rounded less than several.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from persoma_tf.answer_template import SoftTokens
from persoma_tf.decoders.decoder_only import keep_read
from persoma_tf.inference.answer_rows import (
  NEVER,
  AnswerRows,
  Task,
  append_choices,
  caller_of,
  extend_while,
  newest_tokens,
  next_choices,
  start_rows,
  take_rows,
)
from persoma_tf.inference.option_scores import option_odds
from persoma_tf.model import Persoma, Prompts

_MIN_ROWS = 16  # smallest batch for which a separate compilation saves time


class Generated(NamedTuple):
  """Holds the answers of a batch.

  Attributes:
    tokens: [B, L] int32 token ids, padded with `eos_id` after the end of an answer.
    log_prob: [B] float32 log probability (nats) of the tokens up to the first `eos_id`;
      with a grammar, probabilities are among the allowed tokens.
    option_odds: [B, O] float32, see the function; None if the task names no options.
  """

  tokens: Array
  log_prob: Array
  option_odds: Array | None = None


def soft_prompt(
  model: Persoma, params: Mapping, history: Array, mask: Array, **asked: Array
) -> SoftTokens:
  """Computes the soft prompts of histories; arguments as for `SoftPrompt`."""
  return model.apply({'params': params}, history, mask, **asked, method='soft_prompt')


def greedy(
  model: Persoma,
  params: Mapping,
  soft: SoftTokens,
  prompt: Prompts,
  task: Task,
  drafts: Array | None = None,
) -> Generated:
  """Generates answers with the most probable token at each step.

  Args:
    model: adapter and decoder.
    params: {'adapter': ..., 'decoder': ...}.
    soft: soft prompts of B users.
    prompt: task prompts of B users, or one for all.
    task: properties that all answers share.
    drafts: [B, M] int32, first tokens that answers may have behind those that all of
      them have; for a decoder-only model.
  """
  best = lambda log_probs, rows: jnp.argmax(log_probs, axis=-1)
  return _write(model, params, soft, prompt, task, best, drafts)


def sample(
  model: Persoma,
  params: Mapping,
  soft: SoftTokens,
  prompt: Prompts,
  task: Task,
  keys: Array,
  temperature: float,
) -> Generated:
  """Generates answers with a randomly drawn token at each step.

  Args:
    model: adapter and decoder.
    params: {'adapter': ..., 'decoder': ...}.
    soft: soft prompts of B users.
    prompt: task prompts of B users, or one for all.
    task: properties that all answers share.
    keys: [B] random keys, one per row, so that an answer does not depend on other rows.
    temperature: divisor of the logits.
  """

  def draw(log_probs, rows):
    step_keys = jax.vmap(jax.random.fold_in)(keys[rows.place], rows.size)
    return jax.vmap(jax.random.categorical)(step_keys, log_probs / temperature)

  return _write(model, params, soft, prompt, task, draw)


def beam_search(
  model: Persoma,
  params: Mapping,
  soft: SoftTokens,
  prompt: Prompts,
  task: Task,
  beams: int,
) -> Generated:
  """Generates the most probable answers by beam search, without length normalization.

  Args:
    model: adapter and decoder.
    params: {'adapter': ..., 'decoder': ...}.
    soft: soft prompts of B users.
    prompt: task prompts of B users, or one for all.
    task: properties that all answers share.
    beams: number of answers, finished or not, that are kept for each row.
  """
  call = caller_of(model, params)
  started, begun = start_rows(call, model, soft, prompt, task)
  batch = len(started.hidden)
  odds = option_odds(call, started.hidden, started.cache, task.options, begun, soft)
  # Before the first token, all beams of a row are equal, so only one may continue.
  rows = take_rows(started, jnp.repeat(jnp.arange(batch), beams))
  only = jnp.where(jnp.arange(batch * beams) % beams == 0, 0.0, NEVER)
  rows = rows._replace(log_prob=only)

  def extend(rows: AnswerRows) -> AnswerRows:
    log_probs, edges = next_choices(call, rows, task)
    width = log_probs.shape[1]
    total = (rows.log_prob[:, None] + log_probs).reshape(batch, beams * width)
    total, found = jax.lax.top_k(total, beams)
    parents = jnp.arange(batch)[:, None] * beams + found // width
    rows, choice = take_rows(rows, parents.ravel()), (found % width).ravel()
    edges = None if edges is None else edges[parents.ravel()]
    return append_choices(rows, choice, edges, total.ravel(), task)

  going = lambda rows: ~jnp.all(rows.ended)
  rows = extend_while(call, extend(rows), extend, going)
  return Generated(rows.tokens[::beams], rows.log_prob[::beams], odds)


def _write(
  model, params, soft, prompt, task: Task, pick: Callable, drafts=None
) -> Generated:
  """Generates one token per row and step; `pick` chooses by log-probs [R, C]."""
  call = caller_of(model, params)
  ahead = 0 if drafts is None else drafts.shape[1]
  rows, begun = start_rows(call, model, soft, prompt, task, ahead)
  odds = option_odds(call, rows.hidden, rows.cache, task.options, begun, soft)

  def extend(rows: AnswerRows) -> AnswerRows:
    log_probs, edges = next_choices(call, rows, task)
    choice = pick(log_probs, rows)
    gained = jnp.take_along_axis(log_probs, choice[:, None], 1)[:, 0]
    total = rows.log_prob + jnp.where(rows.ended, 0.0, gained)
    return append_choices(rows, choice, edges, total, task)

  rows = _check(call, rows, drafts, extend) if ahead else extend(rows)
  return _finish(call, rows, extend)._replace(option_odds=odds)


def _check(call, rows: AnswerRows, drafts: Array, extend: Callable) -> AnswerRows:
  """Extends rows by drafted tokens, as far as they are right, and by one more.

  Args:
    call: calls a method of `Persoma`.
    rows: R rows.
    drafts: [R, M] int32, their next tokens in the draft.
    extend: function that extends rows by the token that `hidden` predicts.
  """
  behind, cache = call(Persoma.read_ahead, drafts, rows.cache)
  hidden = jnp.concatenate([rows.hidden[:, None], behind], axis=1)

  def compare(state, drafted):
    rows, right = state
    hidden, token = drafted
    longer = extend(rows._replace(hidden=hidden))
    keep = lambda new, old: jnp.where(
      right[(...,) + (None,) * (new.ndim - 1)], new, old
    )
    rows = jax.tree.map(keep, longer, rows)
    return (rows, right & (newest_tokens(rows) == token)), right

  none_behind = jnp.full((len(drafts), 1), -1)  # the last token is of no draft
  tokens = jnp.concatenate([drafts, none_behind], axis=1)
  state = rows._replace(cache=None), jnp.full(len(drafts), True)
  given = jnp.moveaxis(hidden, 1, 0), tokens.T
  (rows, _), right = jax.lax.scan(compare, state, given)
  return rows._replace(cache=keep_read(cache, drafts.shape[1], right[1:].sum(0)))


def _finish(call, rows: AnswerRows, extend: Callable) -> Generated:
  """Generates until all rows have ended; halves the batch each time half have ended."""
  half = len(rows.ended) // 2
  stop_at = half if half >= _MIN_ROWS else 0
  rows = extend_while(call, rows, extend, lambda rows: jnp.sum(~rows.ended) > stop_at)
  if not stop_at:
    return Generated(rows.tokens, rows.log_prob)
  unfinished = jnp.argsort(rows.ended)[:half]
  rest = _finish(call, take_rows(rows, unfinished), extend)
  put = lambda old, new: old.at[unfinished].set(new)
  return Generated(*map(put, (rows.tokens, rows.log_prob), rest))
