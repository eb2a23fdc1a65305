"""Answers behind soft prompts: greedy, drawn or searched, free or within a grammar."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from persoma_tf.decoders.decoder_only import DecoderOnly
from persoma_tf.inference.grammar import Grammar
from persoma_tf.model import Persoma
from persoma_tf.soft_prompt import SoftTokens

_NEVER = -1e30
_FEWEST = 16  # rows that are worth a smaller shape of their own


class Generated(NamedTuple):
  """Answers.

  Attributes:
    tokens: [B, L] int32; `eos_id` from the first end of sequence on.
    log_prob: [B] float32, nats, of the tokens up to and with the first `eos_id`;
      within a grammar, among the tokens that it allowed.
  """

  tokens: Array
  log_prob: Array


class Task(NamedTuple):
  """What all answers have in common.

  Attributes:
    eos_id: ends an answer.
    max_tokens: L.
    grammar: what answers are kept to; None for none.
  """

  eos_id: int
  max_tokens: int
  grammar: Grammar | None = None


class _Row(NamedTuple):
  """The state of R answers that are being written.

  Attributes:
    place: [R] int32, where each stood at the start.
    hidden: [R, D], predicts the next token.
    cache: the decoder's.
    state: [R] int32, of the grammar.
    ended: [R] bool.
    tokens: [R, L] int32.
    log_prob: [R] float32.
  """

  place: Array
  hidden: Array
  cache: NamedTuple
  state: Array
  ended: Array
  tokens: Array
  log_prob: Array


def soft_prompt(
  model: Persoma, params: Mapping, history: Array, mask: Array
) -> SoftTokens:
  """Soft prompts of histories [B, N, H] float32 with mask [B, N] int32."""
  return model.apply({'params': params}, history, mask, method=Persoma.soft_prompt)


def greedy(
  model: Persoma, params: Mapping, soft: SoftTokens, prompt: Array, task: Task
) -> Generated:
  """Writes the most probable next token until every row has ended.

  Args:
    model: the model.
    params: {'adapter': ..., 'decoder': ...}.
    soft: soft prompts of B users.
    prompt: [T] int32 task prompt of all rows, or [B, T], padded with 0.
    task: what all answers have in common.
  """
  best = lambda log_probs, step, place: jnp.argmax(log_probs, axis=-1)
  return _write(model, params, soft, prompt, task, best)


def sample(
  model: Persoma,
  params: Mapping,
  soft: SoftTokens,
  prompt: Array,
  task: Task,
  keys: Array,
  temperature: float,
) -> Generated:
  """Draws every token.

  Args:
    model: see `greedy`.
    params: see `greedy`.
    soft: see `greedy`.
    prompt: see `greedy`.
    task: see `greedy`.
    keys: [B] random keys, one a row, so that an answer does not depend on the others.
    temperature: divides the logits.
  """

  def draw(log_probs, step, place):
    now = jax.vmap(jax.random.fold_in, (0, None))(keys[place], step)
    return jax.vmap(jax.random.categorical)(now, log_probs / temperature)

  return _write(model, params, soft, prompt, task, draw)


def beam_search(
  model: Persoma,
  params: Mapping,
  soft: SoftTokens,
  prompt: Array,
  task: Task,
  beams: int,
) -> Generated:
  """The most probable answer among those that `beams` beams find, lengths as they are.

  Args:
    model: see `greedy`.
    params: see `greedy`.
    soft: see `greedy`.
    prompt: see `greedy`.
    task: see `greedy`.
    beams: unfinished and finished answers that are kept of each row.
  """
  call = _caller(model, params)
  started, first = _start(call, model, soft, prompt, task)
  batch = len(started.hidden)
  # All beams of a row are the same before the first token: one of them counts.
  rows = _take(started, jnp.repeat(jnp.arange(batch), beams))
  only = jnp.where(jnp.arange(batch * beams) % beams == 0, 0.0, _NEVER)
  rows = rows._replace(log_prob=only)

  def extend(rows: _Row, step) -> _Row:
    log_probs, tokens = _choices(call, rows, task)
    width = log_probs.shape[1]
    total = (rows.log_prob[:, None] + log_probs).reshape(batch, beams * width)
    total, found = jax.lax.top_k(total, beams)
    parents = jnp.arange(batch)[:, None] * beams + found // width
    rows, choice = _take(rows, parents.ravel()), (found % width).ravel()
    tokens = None if tokens is None else tokens[parents.ravel()]
    return _append(rows, step, choice, tokens, total.ravel(), task)

  rows = extend(rows, jnp.int32(first))
  going = lambda rows: ~jnp.all(rows.ended)
  _, rows = _loop(call, jnp.int32(first + 1), rows, task, extend, going)
  return Generated(rows.tokens[::beams], rows.log_prob[::beams])


def _write(model, params, soft, prompt, task: Task, pick: Callable) -> Generated:
  """One token a row at a time, as `pick` chooses from log-probabilities [B, C]."""
  call = _caller(model, params)
  rows, first = _start(call, model, soft, prompt, task)

  def extend(rows: _Row, step) -> _Row:
    log_probs, tokens = _choices(call, rows, task)
    choice = pick(log_probs, step, rows.place)
    gained = jnp.take_along_axis(log_probs, choice[:, None], 1)[:, 0]
    return _append(rows, step, choice, tokens, rows.log_prob + gained, task)

  rows = extend(rows, jnp.int32(first))
  return _finish(call, jnp.int32(first + 1), rows, task, extend)


def _finish(call, step, rows: _Row, task: Task, extend: Callable) -> Generated:
  """Writes on; whenever half of the rows have ended, goes on with the others alone."""
  half = len(rows.ended) // 2
  enough = half if half >= _FEWEST else 0
  going = lambda rows: jnp.sum(~rows.ended) > enough
  step, rows = _loop(call, step, rows, task, extend, going)
  if not enough:
    return Generated(rows.tokens, rows.log_prob)
  open_ones = jnp.argsort(rows.ended)[:half]
  rest = _finish(call, step, _take(rows, open_ones), task, extend)
  put = lambda old, new: old.at[open_ones].set(new)
  return Generated(*map(put, (rows.tokens, rows.log_prob), rest))


def _caller(model, params):
  return lambda method, *args: model.apply({'params': params}, *args, method=method)


def _start(call, model, soft, prompt, task: Task) -> tuple[_Row, int]:
  """Rows behind their prefix, and how many tokens they have."""
  batch = len(soft.tokens)
  forced, state = task.grammar.forced() if task.grammar else ([], 0)
  if not isinstance(model.decoder, DecoderOnly):  # reads its prompt elsewhere
    forced, state = [], 0
  begun = jnp.array(forced, jnp.int32)
  left = task.max_tokens - len(forced)
  hidden, cache = call(Persoma.prefill, soft, prompt, left, begun)
  tokens = jnp.full((batch, task.max_tokens), task.eos_id, jnp.int32)
  tokens = tokens.at[:, : len(forced)].set(begun)
  fill = lambda value: jnp.full(batch, value)
  place = jnp.arange(batch, dtype=jnp.int32)
  rows = _Row(place, hidden, cache, fill(state), fill(False), tokens, fill(0.0))
  return rows, len(forced)


def _loop(call, step, rows: _Row, task: Task, extend, going) -> tuple[Array, _Row]:
  """Extends rows while it is `going`; the last token is never read."""

  def read_and_extend(state):
    step, rows = state
    newest = jax.lax.dynamic_index_in_dim(rows.tokens, step - 1, 1, keepdims=False)
    hidden, cache = call(Persoma.step, newest, rows.cache)
    return step + 1, extend(rows._replace(hidden=hidden, cache=cache), step)

  more = lambda state: (state[0] < task.max_tokens) & going(state[1])
  return jax.lax.while_loop(more, read_and_extend, (step, rows))


def _choices(call, rows: _Row, task: Task) -> tuple[Array, Array | None]:
  """Log-probabilities [R, C] of what may come next and its tokens; None for all."""
  if task.grammar is None:
    logits, tokens = call(Persoma.logits, rows.hidden), None
    end = jnp.where(jnp.arange(logits.shape[-1]) == task.eos_id, 0.0, _NEVER)
    logits = jnp.where(rows.ended[:, None], end, logits.astype(jnp.float32))
  else:
    tokens = jnp.asarray(task.grammar.tokens)[rows.state]
    logits = call(Persoma.logits_of, rows.hidden, jnp.maximum(tokens, 0))
    logits = jnp.where(tokens < 0, _NEVER, logits.astype(jnp.float32))
  return jax.nn.log_softmax(logits), tokens


def _append(rows: _Row, step, choice, tokens, log_prob, task: Task) -> _Row:
  """Rows with one more token, given as a choice of those that might come."""
  token, state = choice.astype(jnp.int32), rows.state
  if tokens is not None:
    token = jnp.take_along_axis(tokens, choice[:, None], 1)[:, 0]
    state = jnp.asarray(task.grammar.next)[state, choice]
  return rows._replace(
    state=state,
    ended=rows.ended | (token == task.eos_id),
    tokens=rows.tokens.at[:, step].set(token),
    log_prob=log_prob,
  )


def _take(rows: _Row, places: Array) -> _Row:
  """Some of the rows, in another order."""

  def take(x):
    if not jnp.ndim(x):
      return x
    return x[:, places] if x.ndim == 5 else x[places]  # stacked layers stand first

  return jax.tree.map(take, rows)
