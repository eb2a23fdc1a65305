"""The rows of a batch while their answers are written, one token after the other."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from persoma_tf.decoders.decoder_only import DecoderOnly
from persoma_tf.inference.grammar import Grammar, Reached
from persoma_tf.inference.option_scores import OptionTokens
from persoma_tf.model import Persoma

NEVER = -1e30
_FEW_TOKENS = 128  # so many have logits of their own; else all of the grammar have


class Task(NamedTuple):
  """Holds the properties that all answers of a task share.

  Attributes:
    eos_id: id of the end-of-sequence token.
    max_tokens: L, maximum number of tokens in an answer.
    grammar: grammar that constrains the answers; None for unconstrained answers.
    other_ends: ids of further tokens that end an answer, where `eos_id` is put then.
    options: options whose probabilities are told, too.
    drafted: function from the words in the slots of a draft to the tokens of the
      answer; None if drafts are not read ahead.
  """

  eos_id: int
  max_tokens: int
  grammar: Grammar | None = None
  other_ends: tuple[int, ...] = ()
  options: OptionTokens | None = None
  drafted: Callable[[Sequence[int]], Sequence[int]] | None = None


class AnswerRows(NamedTuple):
  """Holds the state of R answers during generation.

  Attributes:
    place: [R] int32, index of each row in the batch.
    size: [R] int32, number of tokens so far.
    hidden: [R, D] hidden state that predicts the next token.
    cache: cache of the decoder; None while no token is read.
    reached: how far the answers are in the grammar; None without one.
    ended: [R] bool, whether the answer has its end-of-sequence token, or all L.
    tokens: [R, L] int32 token ids.
    log_prob: [R] float32 log probability so far, nats.
  """

  place: Array
  size: Array
  hidden: Array
  cache: NamedTuple
  reached: Reached | None
  ended: Array
  tokens: Array
  log_prob: Array


def caller_of(model, params):
  """Returns a function that calls a method of the model."""
  return lambda method, *args: model.apply({'params': params}, *args, method=method)


def start_rows(
  call, model, soft, prompt, task: Task, ahead: int = 0
) -> tuple[AnswerRows, int]:
  """Returns the rows after the forced first tokens, and the number of these tokens.

  The cache has room for `ahead` tokens that are read and not kept.
  """
  batch = len(soft.tokens)
  forced, reached = [], task.grammar and task.grammar.begin()
  if task.grammar and isinstance(model.decoder, DecoderOnly):
    forced, reached = task.grammar.forced()  # another's prompt goes to the encoder
  prefix = jnp.array(forced, jnp.int32)
  left = task.max_tokens - len(forced)
  hidden, cache = call(Persoma.prefill, soft, prompt, left + ahead, prefix)
  tokens = jnp.full((batch, task.max_tokens), task.eos_id, jnp.int32)
  tokens = tokens.at[:, : len(forced)].set(prefix)
  fill = lambda value: jnp.full(batch, value)
  place = jnp.arange(batch, dtype=jnp.int32)
  reached = jax.tree.map(lambda x: jnp.repeat(x, batch, 0), reached)
  size, ended = fill(jnp.int32(len(forced))), fill(left <= 0)
  rows = AnswerRows(place, size, hidden, cache, reached, ended, tokens, fill(0.0))
  return rows, len(forced)


def extend_while(call, rows: AnswerRows, extend, going) -> AnswerRows:
  """Extends rows while `going` is true; the decoder never reads the last token."""

  def read_and_extend(rows):
    hidden, cache = call(Persoma.step, newest_tokens(rows), rows.cache)
    return extend(rows._replace(hidden=hidden, cache=cache))

  return jax.lax.while_loop(going, read_and_extend, rows)


def newest_tokens(rows: AnswerRows) -> Array:
  """Returns the newest token [R] of each row."""
  return jnp.take_along_axis(rows.tokens, rows.size[:, None] - 1, 1)[:, 0]


def next_choices(call, rows: AnswerRows, task: Task) -> tuple[Array, Array | None]:
  """Returns log-probabilities [R, C] of the C next choices, and their edges.

  The edges are None without a grammar, where the choices are the vocabulary.
  """
  edges, grammar = None, task.grammar
  if grammar is None:
    logits = call(Persoma.logits, rows.hidden).astype(jnp.float32)
    end = jnp.where(jnp.arange(logits.shape[-1]) == task.eos_id, 0.0, NEVER)
    logits = jnp.where(rows.ended[:, None], end, logits)
  else:
    edges = grammar.allowed(rows.reached)
    if grammar.width <= _FEW_TOKENS:
      logits = call(Persoma.logits_of, rows.hidden, grammar.tokens[edges])
    else:
      known, place = np.unique(np.asarray(grammar.tokens), return_inverse=True)
      logits = call(Persoma.logits_of, rows.hidden, jnp.asarray(known))
      logits = jnp.take_along_axis(logits, jnp.asarray(place)[edges], 1)
    logits = jnp.where(edges < 0, NEVER, logits.astype(jnp.float32))
  return jax.nn.log_softmax(logits), edges


def append_choices(rows: AnswerRows, choice, edges, log_prob, task: Task) -> AnswerRows:
  """Returns the rows with one more token each; one with all its tokens keeps them.

  Args:
    rows: rows so far.
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
  size = jnp.minimum(rows.size + 1, task.max_tokens)
  put = jnp.arange(len(token)), rows.size
  return rows._replace(
    size=size,
    reached=reached,
    ended=rows.ended | (token == task.eos_id) | (size == task.max_tokens),
    tokens=rows.tokens.at[put].set(token, mode='drop'),
    log_prob=log_prob,
  )


def take_rows(rows: AnswerRows, places: Array) -> AnswerRows:
  """Returns the rows at the given places."""

  def take(x):
    if not jnp.ndim(x):
      return x
    return x[:, places] if x.ndim == 5 else x[places]  # [layers, rows, ...]

  return jax.tree.map(take, rows)
