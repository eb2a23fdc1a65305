"""Soft tokens in the form of an answer: template tokens with slots among them.

The template and the words that can fill the slots start as the decoder's embeddings of
an answer's text. So from the first step the decoder can read the soft tokens, and the
content of the slots can be trained without running the decoder.
"""

from typing import NamedTuple

import flax.linen as nn
import gin
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from persoma_tf.answer_form import Options
from persoma_tf.setting_types import Positive

SLOT = -1  # marks a slot in `Template.layout`
BARRED = -1e9  # logit of a word that a slot cannot name


class SoftTokens(NamedTuple):
  """Holds the soft prompts of a batch.

  Attributes:
    tokens: [B, K, D] float32.
    mask: [B, K] bool, False for padding.
    slot_logits: [B, S, W] float32, logits of the words in each slot; None if there are
      no slots.
    statistics: [B, M] float32, predicted history statistics, used only in training;
      None if they are not predicted.
    categories: [B, E, G] float32, logits that tell which options E known interactions
      belong to, used only in training; None if there are none.
    values: [B, E] float32, predicted values of these interactions; None likewise.
  """

  tokens: Array
  mask: Array
  slot_logits: Array | None = None
  statistics: Array | None = None
  categories: Array | None = None
  values: Array | None = None


class Draft(nn.Module):
  """Drafts answers; base of modules that fill slots, of one question or of several."""

  @property
  def num_tokens(self) -> int:
    """Returns the number of soft tokens."""

  @property
  def num_fixed(self) -> int:
    """Returns the number of first tokens that are the same for all rows."""


class Template(Draft):
  """Arranges words as an answer; base of modules that fill the slots of an answer.

  Attributes:
    layout: K entries, one per token: SLOT, or the id of a template token.
    num_words: W.
  """

  layout: tuple[int, ...] = gin.REQUIRED
  num_words: Positive = gin.REQUIRED

  @property
  def num_tokens(self) -> int:
    """Returns K, the number of soft tokens."""
    return len(self.layout)

  @property
  def num_slots(self) -> int:
    """Returns S, the number of slots."""
    return self.layout.count(SLOT)

  @property
  def num_fixed(self) -> int:
    """Returns the number of tokens before the first slot."""
    return self.layout.index(SLOT)

  def arrange(self, weights: Array, width: int) -> Array:
    """Returns the soft tokens [B, K, D]: the template, with mixtures of words as slots.

    `template` [F, D] and `words` [W, D] are initialized with the decoder's embeddings
    of the answer's tokens and words (`persoma_tf.training.initial_adapter`), and are
    trained.

    Args:
      weights: [B, S, W] weights of the words in each slot.
      width: D.
    """
    init = nn.initializers.normal(0.1)
    words = self.param('words', init, (self.num_words, width))
    size, mixed = len(self.layout) - self.num_slots, weights @ words
    if not size:  # slots alone; checkpoints hold no empty arrays
      return mixed
    fixed = self.param('template', init, (size, width))
    fixed = jnp.broadcast_to(fixed, (len(weights), *fixed.shape))
    # 1-based position of the k-th token in [fixed ; mixed].
    is_slot = np.array(self.layout) == SLOT
    place = np.where(is_slot, size + np.cumsum(is_slot), np.cumsum(~is_slot))
    return jnp.concatenate([fixed, mixed], axis=1)[:, place - 1]

  def fill(
    self, logits: Array, words: Array | None, width: int, hard: bool
  ) -> SoftTokens:
    """Returns the soft tokens of slots that choose among words.

    Args:
      logits: [B, S, W] logits of the words in each slot.
      words: [B, S] int32 words to write instead of the best ones; None for the best.
      width: D.
      hard: whether a slot is its best word, with the gradient of the mixture; else it
        is the mixture of all words, which has no use for `words`.
    """
    weights = jax.nn.softmax(logits)
    if hard and words is not None:
      weights = jax.nn.one_hot(words, self.num_words)
    elif hard:
      chosen = jax.nn.one_hot(self.best_words(logits), self.num_words)
      weights = chosen + (weights - jax.lax.stop_gradient(weights))
    tokens = self.arrange(weights, width)
    return SoftTokens(tokens, jnp.ones(tokens.shape[:2], bool), logits)

  def best_words(self, logits: Array) -> Array:
    """Returns the best word [B, S] int32 of each slot, told by logits [B, S, W]."""
    return jnp.argmax(logits, axis=-1)


def spread_options(
  own: Array, others: Array, options: Options, num_words: int
) -> Array:
  """Returns slot logits [B, S, W] in which each slot can name its own options only.

  Args:
    own: [B, S, G] logits of the options in each slot.
    others: [B, S, W'] logits of the words that belong to no slot, in their order.
    options: which words can fill which slots.
    num_words: W.
  """
  logits = jnp.full((*own.shape[:2], num_words), BARRED, own.dtype)
  logits = logits.at[:, :, options.others(num_words)].set(others)
  for slot, first in enumerate(options.first_words):
    logits = logits.at[:, slot, first : first + options.number].set(own[:, slot])
  return logits


def chosen_words(logits: Array, options: Options) -> Array:
  """Fills slots with their best words, slot by slot; a list names no option twice.

  Neighbouring slots with the same options are a list. A word that names no option ends
  its list and fills the rest of it.

  Args:
    logits: [B, S, W] logits of the words in each slot.
    options: which words can fill which slots.

  Returns:
    [B, S] int32 index of each slot's word.
  """
  size = logits.shape[-1]
  ends = jnp.zeros(size, bool).at[options.others(size)].set(True)
  chosen: list[Array] = []
  for slot, first in enumerate(options.first_words):
    begins = not slot or options.first_words[slot - 1] != first
    if begins:
      taken = jnp.zeros(logits[:, 0].shape, bool)
    free = jnp.where(taken, -jnp.inf, logits[:, slot])
    best = jnp.argmax(free, axis=-1).astype(jnp.int32)
    if not begins:
      best = jnp.where(ends[chosen[-1]], chosen[-1], best)
    taken |= jax.nn.one_hot(best, size, dtype=bool) & ~ends
    chosen.append(best)
  return jnp.stack(chosen, axis=1)
