"""Computes how probable each option of a closed answer is to the decoder.

The likelihood of an option is that of its tokens and of the end of the sequence behind
them, each given the prefix and the tokens before it:

    log p(option) = sum over i of log p(token i | prefix, tokens before i)

The end counts, so that an option can be compared with a longer one that begins with it.
The softmax over the options' log p are their probabilities. No grammar is involved.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from persoma_tf.answer_template import SoftTokens
from persoma_tf.model import Persoma

_PIECE = 128  # tokens of a row that are read at once
_POSITIONS = 256  # positions for which logits over the vocabulary are held at once


class OptionTokens(NamedTuple):
  """Holds the O options of a question as tokens.

  Attributes:
    tokens: [O, M] int32 token ids; each option is padded with `eos_id`, which stands
      behind it at least once.
    lengths: [O] int32, number of tokens with the first `eos_id`.
    most: number of options above which a draft chooses those that are scored.
  """

  tokens: np.ndarray
  lengths: np.ndarray
  most: int

  @classmethod
  def of(
    cls, options: Sequence[Sequence[int]], eos_id: int, most: int
  ) -> 'OptionTokens':
    """Returns options that are given as token ids."""
    lengths = np.array([len(ids) + 1 for ids in options], np.int32)
    tokens = np.full((len(options), lengths.max()), eos_id, np.int32)
    for row, ids in zip(tokens, options, strict=True):
      row[: len(ids)] = ids
    return cls(tokens, lengths, most)

  def without(self, begun: int) -> 'OptionTokens':
    """Returns the options without their first tokens, which all of them share."""
    return self._replace(tokens=self.tokens[:, begun:], lengths=self.lengths - begun)

  def scored(self, rows: int, slot_logits: Array | None) -> Array:
    """Returns the numbers [rows, C] of the options that are scored.

    Args:
      rows: number of prefixes.
      slot_logits: [rows, S, W] of their drafts, which choose if there are too many
        options; None without a draft, which leaves all of them.
    """
    total = len(self.tokens)
    if slot_logits is not None and total > self.most:
      return jax.lax.top_k(slot_logits[:, 0], self.most)[1]
    return jnp.broadcast_to(jnp.arange(total), (rows, total))


def option_odds(
  call: Callable,
  hidden: Array,
  cache: NamedTuple,
  options: OptionTokens | None,
  begun: int,
  soft: SoftTokens,
) -> Array | None:
  """Computes the decoder's probabilities of options behind B prefixes.

  First tokens that all options share may be part of the prefix: they make all options
  more or less likely alike. If there are too many options, the draft in the slot of the
  soft prompt chooses; without a slot all of them are scored.

  Args:
    call: calls a method of `Persoma` with arguments.
    hidden: [B, D] hidden states that predict the first token behind the prefix.
    cache: cache of the decoder, which holds the prefix.
    options: options of the question; None for a question without.
    begun: number of tokens of each option that the prefix has.
    soft: soft prompts in the prefixes.

  Returns:
    [B, O] float32 with the sum 1 for each row, 0 for options that are not scored; None
    without options.
  """
  if options is None:
    return None
  options, rows, total = options.without(begun), len(hidden), len(options.tokens)
  scored = options.scored(rows, soft.slot_logits)
  first = jax.nn.log_softmax(call(Persoma.logits, hidden).astype(jnp.float32))
  read = lambda chosen: _log_likelihoods(call, first, cache, options, chosen)
  found = jnp.moveaxis(jax.lax.map(read, _pieces(scored, options)), 0, 1)
  found = found.reshape(rows, -1)[:, : scored.shape[1]]
  places = jnp.arange(rows)[:, None], scored
  return jax.nn.softmax(jnp.full((rows, total), -jnp.inf).at[places].set(found))


def _pieces(scored: Array, options: OptionTokens) -> Array:
  """Returns options [B, C] as pieces [P, B, C'] that are read one after the other."""
  number = scored.shape[1]
  at_once = max(1, _PIECE // max(1, options.tokens.shape[1] - 1))
  pieces = -(-number // at_once)
  size = -(-number // pieces)
  padded = jnp.pad(scored, ((0, 0), (0, pieces * size - number)))
  return jnp.moveaxis(padded.reshape(-1, pieces, size), 1, 0)


def _log_likelihoods(call, first, cache, options: OptionTokens, chosen) -> Array:
  """Returns the log-likelihoods [B, C] float32 of options, nats.

  Args:
    call: calls a method of `Persoma`.
    first: [B, V] log-probabilities of the first token.
    cache: cache of the decoder.
    options: tokens of all options.
    chosen: [B, C] int32, numbers of the options.
  """
  tokens = jnp.asarray(options.tokens)[chosen]
  length = jnp.asarray(options.lengths)[chosen][:, :, None]
  found = jnp.take_along_axis(first, tokens[:, :, 0], axis=1)
  states = call(Persoma.branch, tokens[:, :, :-1], cache)

  def log_prob(state_and_token):
    state, token = state_and_token
    logits = call(Persoma.logits, state).astype(jnp.float32)
    return logits[token] - jax.nn.logsumexp(logits)

  flat = states.reshape(-1, states.shape[-1]), tokens[:, :, 1:].ravel()
  later = jax.lax.map(log_prob, flat, batch_size=_POSITIONS).reshape(states.shape[:-1])
  counts = jnp.arange(1, tokens.shape[2]) < length
  return found + jnp.sum(jnp.where(counts, later, 0.0), axis=-1)
