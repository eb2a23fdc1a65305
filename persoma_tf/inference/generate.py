"""Generates answers after soft prompts: greedy, sampled or by beam search."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from persoma_tf.answer_template import SoftTokens
from persoma_tf.decoders.decoder_only import DecoderOnly
from persoma_tf.inference.grammar import Grammar, Reached
from persoma_tf.inference.option_scores import OptionTokens, option_odds
from persoma_tf.model import Persoma, Prompts

_NEVER = -1e30
_FEW_TOKENS = 128  # so many have logits of their own; else all of the grammar have
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


class Task(NamedTuple):
  """Holds the properties that all answers of a task share.

  Attributes:
    eos_id: id of the end-of-sequence token.
    max_tokens: L, maximum number of tokens in an answer.
    grammar: grammar that constrains the answers; None for unconstrained answers.
    other_ends: ids of further tokens that end an answer, where `eos_id` is put then.
    options: options whose probabilities are told, too.
  """

  eos_id: int
  max_tokens: int
  grammar: Grammar | None = None
  other_ends: tuple[int, ...] = ()
  options: OptionTokens | None = None


class _Row(NamedTuple):
  """Holds the state of R answers during generation.

  Attributes:
    place: [R] int32, index of each row in the batch.
    hidden: [R, D] hidden state that predicts the next token.
    cache: cache of the decoder.
    reached: how far the answers are in the grammar; None without one.
    ended: [R] bool, whether the answer has its end-of-sequence token.
    tokens: [R, L] int32 token ids.
    log_prob: [R] float32 log probability so far, nats.
  """

  place: Array
  hidden: Array
  cache: NamedTuple
  reached: Reached | None
  ended: Array
  tokens: Array
  log_prob: Array


def soft_prompt(
  model: Persoma, params: Mapping, history: Array, mask: Array, **asked: Array
) -> SoftTokens:
  """Computes the soft prompts of histories; arguments as for `SoftPrompt`."""
  return model.apply({'params': params}, history, mask, **asked, method='soft_prompt')


def greedy(
  model: Persoma, params: Mapping, soft: SoftTokens, prompt: Prompts, task: Task
) -> Generated:
  """Generates answers with the most probable token at each step.

  Args:
    model: adapter and decoder.
    params: {'adapter': ..., 'decoder': ...}.
    soft: soft prompts of B users.
    prompt: task prompts of B users, or one for all.
    task: properties that all answers share.
  """
  best = lambda log_probs, step, place: jnp.argmax(log_probs, axis=-1)
  return _write(model, params, soft, prompt, task, best)


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

  def draw(log_probs, step, place):
    step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys[place], step)
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
  call = _caller(model, params)
  started, first = _start(call, model, soft, prompt, task)
  batch = len(started.hidden)
  odds = option_odds(call, started.hidden, started.cache, task.options, first, soft)
  # Before the first token, all beams of a row are equal, so only one may continue.
  rows = _take(started, jnp.repeat(jnp.arange(batch), beams))
  only = jnp.where(jnp.arange(batch * beams) % beams == 0, 0.0, _NEVER)
  rows = rows._replace(log_prob=only)

  def extend(rows: _Row, step) -> _Row:
    log_probs, edges = _choices(call, rows, task)
    width = log_probs.shape[1]
    total = (rows.log_prob[:, None] + log_probs).reshape(batch, beams * width)
    total, found = jax.lax.top_k(total, beams)
    parents = jnp.arange(batch)[:, None] * beams + found // width
    rows, choice = _take(rows, parents.ravel()), (found % width).ravel()
    edges = None if edges is None else edges[parents.ravel()]
    return _append(rows, step, choice, edges, total.ravel(), task)

  rows = extend(rows, jnp.int32(first))
  going = lambda rows: ~jnp.all(rows.ended)
  _, rows = _loop(call, jnp.int32(first + 1), rows, task, extend, going)
  return Generated(rows.tokens[::beams], rows.log_prob[::beams], odds)


def _write(model, params, soft, prompt, task: Task, pick: Callable) -> Generated:
  """Generates one token per row and step; `pick` chooses by log-probs [R, C]."""
  call = _caller(model, params)
  rows, first = _start(call, model, soft, prompt, task)
  odds = option_odds(call, rows.hidden, rows.cache, task.options, first, soft)

  def extend(rows: _Row, step) -> _Row:
    log_probs, edges = _choices(call, rows, task)
    choice = pick(log_probs, step, rows.place)
    gained = jnp.take_along_axis(log_probs, choice[:, None], 1)[:, 0]
    return _append(rows, step, choice, edges, rows.log_prob + gained, task)

  rows = extend(rows, jnp.int32(first))
  answers = _finish(call, jnp.int32(first + 1), rows, task, extend)
  return answers._replace(option_odds=odds)


def _finish(call, step, rows: _Row, task: Task, extend: Callable) -> Generated:
  """Generates until all rows have ended; halves the batch each time half have ended."""
  half = len(rows.ended) // 2
  stop_at = half if half >= _MIN_ROWS else 0
  going = lambda rows: jnp.sum(~rows.ended) > stop_at
  step, rows = _loop(call, step, rows, task, extend, going)
  if not stop_at:
    return Generated(rows.tokens, rows.log_prob)
  unfinished = jnp.argsort(rows.ended)[:half]
  rest = _finish(call, step, _take(rows, unfinished), task, extend)
  put = lambda old, new: old.at[unfinished].set(new)
  return Generated(*map(put, (rows.tokens, rows.log_prob), rest))


def _caller(model, params):
  """Returns a function that calls a method of the model."""
  return lambda method, *args: model.apply({'params': params}, *args, method=method)


def _start(call, model, soft, prompt, task: Task) -> tuple[_Row, int]:
  """Returns the rows after the forced first tokens, and the number of these tokens."""
  batch = len(soft.tokens)
  forced, reached = [], task.grammar and task.grammar.begin()
  if task.grammar and isinstance(model.decoder, DecoderOnly):
    forced, reached = task.grammar.forced()  # another's prompt goes to the encoder
  prefix = jnp.array(forced, jnp.int32)
  left = task.max_tokens - len(forced)
  hidden, cache = call(Persoma.prefill, soft, prompt, left, prefix)
  tokens = jnp.full((batch, task.max_tokens), task.eos_id, jnp.int32)
  tokens = tokens.at[:, : len(forced)].set(prefix)
  fill = lambda value: jnp.full(batch, value)
  place = jnp.arange(batch, dtype=jnp.int32)
  reached = jax.tree.map(lambda x: jnp.repeat(x, batch, 0), reached)
  rows = _Row(place, hidden, cache, reached, fill(False), tokens, fill(0.0))
  return rows, len(forced)


def _loop(call, step, rows: _Row, task: Task, extend, going) -> tuple[Array, _Row]:
  """Extends rows while `going` is true; the decoder never reads the last token."""

  def read_and_extend(state):
    step, rows = state
    newest = jax.lax.dynamic_index_in_dim(rows.tokens, step - 1, 1, keepdims=False)
    hidden, cache = call(Persoma.step, newest, rows.cache)
    return step + 1, extend(rows._replace(hidden=hidden, cache=cache), step)

  more = lambda state: (state[0] < task.max_tokens) & going(state[1])
  return jax.lax.while_loop(more, read_and_extend, (step, rows))


def _choices(call, rows: _Row, task: Task) -> tuple[Array, Array | None]:
  """Returns log-probabilities [R, C] of the C next choices, and their edges.

  The edges are None without a grammar, where the choices are the vocabulary.
  """
  edges, grammar = None, task.grammar
  if grammar is None:
    logits = call(Persoma.logits, rows.hidden).astype(jnp.float32)
    end = jnp.where(jnp.arange(logits.shape[-1]) == task.eos_id, 0.0, _NEVER)
    logits = jnp.where(rows.ended[:, None], end, logits)
  else:
    edges = grammar.allowed(rows.reached)
    if grammar.width <= _FEW_TOKENS:
      logits = call(Persoma.logits_of, rows.hidden, grammar.tokens[edges])
    else:
      known, place = np.unique(np.asarray(grammar.tokens), return_inverse=True)
      logits = call(Persoma.logits_of, rows.hidden, jnp.asarray(known))
      logits = jnp.take_along_axis(logits, jnp.asarray(place)[edges], 1)
    logits = jnp.where(edges < 0, _NEVER, logits.astype(jnp.float32))
  return jax.nn.log_softmax(logits), edges


def _append(rows: _Row, step, choice, edges, log_prob, task: Task) -> _Row:
  """Returns the rows with one more token each.

  Args:
    rows: rows so far.
    step: number of tokens in each row so far.
    choice: [R] index of the chosen token among the choices.
    edges: [R, C] edges of the choices; None if the choices are the vocabulary.
    log_prob: [R] float32 log probability of the extended rows, nats.
    task: properties that all answers share.
  """
  token, reached = choice.astype(jnp.int32), rows.reached
  if edges is not None:
    edge = jnp.take_along_axis(edges, choice[:, None], 1)[:, 0]
    token, reached = task.grammar.tokens[edge], task.grammar.reach(reached, edge)
  if task.other_ends:
    ends = jnp.isin(token, jnp.array(task.other_ends))
    token = jnp.where(ends, task.eos_id, token)
  return rows._replace(
    reached=reached,
    ended=rows.ended | (token == task.eos_id),
    tokens=rows.tokens.at[:, step].set(token),
    log_prob=log_prob,
  )


def _take(rows: _Row, places: Array) -> _Row:
  """Returns the rows at the given places."""

  def take(x):
    if not jnp.ndim(x):
      return x
    return x[:, places] if x.ndim == 5 else x[places]  # [layers, rows, ...]

  return jax.tree.map(take, rows)
