"""From a history to K soft-prompt tokens that the frozen decoder can read.

resampler (Perceiver, ...) -> [B, M, A] -> readout -> [B, K, D] -> scaled to the
size of the decoder's own token embeddings. Learned task tokens, the same for all
users, can stand before them.

Two readouts. `LinearReadout` projects every latent to one token. `TemplateReadout`
starts as an answer in the decoder's own token embeddings, with open slots: from the
first step on, soft tokens lie where the decoder already reads, and what goes into the
slots can be taught without it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import gin
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

_EPSILON = 1e-6
SLOT = -1  # in `TemplateReadout.layout`


class SoftTokens(NamedTuple):
  """Soft prompt.

  Attributes:
    tokens: [B, K, D] float32.
    mask: [B, K] bool, False for tokens that stand for padding.
    slot_logits: [B, slots, W] float32, log-weights of the mixtures; None where the
      readout has none.
    statistics: [B, S] float32, what the latents tell of the history's statistics;
      None where they are not asked for. A training aid; nothing reads it later.
  """

  tokens: Array
  mask: Array
  slot_logits: Array | None = None
  statistics: Array | None = None


class AnswerTemplate(NamedTuple):
  """The texts that `TemplateReadout` is made of.

  Attributes:
    parts: an answer in order: texts, and None for each slot.
    words: the W texts that can stand in a slot.
  """

  parts: Sequence[str | None]
  words: Sequence[str]


def scale_to(tokens: Array, rms: Array) -> Array:
  """Gives each token [..., D] the root-mean-square `rms` (scalar)."""
  size = jnp.sqrt(jnp.mean(tokens**2, axis=-1, keepdims=True) + _EPSILON**2)
  return tokens * (rms / size)


class Standardize(nn.Module):
  """Fixed (x - mean) / scale for each input component.

  Sentence vectors of one template lie in a narrow cone: their common part is large,
  what tells them apart small. `mean` and `scale` [H] are measured on training data
  when the parameters are made, saved with the adapter, and not trained.
  """

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., H] to [..., H]."""
    shape = (x.shape[-1],)
    mean = self.param('mean', nn.initializers.zeros, shape)
    scale = self.param('scale', nn.initializers.ones, shape)
    return (x - jax.lax.stop_gradient(mean)) / jax.lax.stop_gradient(scale)


@gin.configurable
class LinearReadout(nn.Module):
  """One soft token a latent: K = M."""

  @nn.compact
  def __call__(self, latents: Array, mask: Array, width: int) -> SoftTokens:
    """Projects [B, M, A] to [B, M, width]."""
    return SoftTokens(nn.Dense(width, name='out')(latents), mask)


@gin.configurable
class TemplateReadout(nn.Module):
  """Soft tokens laid out as an answer: fixed tokens, with slots among them.

  A slot is a convex mixture of W word vectors, decided by a network over all latents
  at once: ranking ("which three genres come first") needs every statistic in one
  place. `template` [F, D] and `words` [W, D] start as the decoder's embeddings of the
  answer's own tokens and words and are trained with the rest. So the decoder finds
  from the first step on what it can copy.

  Attributes:
    layout: a token each, K of them: SLOT, or the id of the token that it starts as.
    num_words: W.
    hidden: width of the network.
  """

  layout: tuple[int, ...] = gin.REQUIRED
  num_words: int = gin.REQUIRED
  hidden: int = 512

  @property
  def num_fixed(self) -> int:
    """How many tokens stand before the first slot."""
    return self.layout.index(SLOT)

  @nn.compact
  def __call__(self, latents: Array, mask: Array, width: int) -> SoftTokens:
    """Mixes [B, M, A], which all hold something, into tokens [B, K, width]."""
    del mask
    x = latents.reshape(latents.shape[0], -1)
    x = nn.gelu(nn.Dense(self.hidden, name='in')(x))
    inner = nn.gelu(nn.Dense(self.hidden, name='up')(nn.LayerNorm(name='norm')(x)))
    x = x + nn.Dense(self.hidden, name='down')(inner)
    slots = (self.layout.count(SLOT), self.num_words)
    logits = nn.DenseGeneral(slots, name='slots')(nn.LayerNorm(name='norm_out')(x))
    init = nn.initializers.normal(0.1)
    words = self.param('words', init, (self.num_words, width))
    mixed = jax.nn.softmax(logits) @ words
    fixed = self.param('template', init, (len(self.layout) - slots[0], width))
    fixed = jnp.broadcast_to(fixed, (len(x), *fixed.shape))
    # Where the k-th token stands among [fixed ; mixed].
    is_slot = np.array(self.layout) == SLOT
    place = np.where(is_slot, len(fixed[0]) + np.cumsum(is_slot), np.cumsum(~is_slot))
    tokens = jnp.concatenate([fixed, mixed], axis=1)[:, place - 1]
    return SoftTokens(tokens, jnp.ones(tokens.shape[:2], bool), logits)


class SoftPrompt(nn.Module):
  """History in, soft prompt out: all that PERSOMA trains.

  Attributes:
    resampler: module ([B, N, H], [B, N]) -> ([B, M, A], [B, M] bool). None for a
      prompt of task tokens alone, which reads no history.
    readout: module ([B, M, A], [B, M], D) -> SoftTokens.
    width: D, the decoder's width.
    num_statistics: S, history statistics to predict beside the prompt; 0 for none.
    num_task_tokens: learned tokens before those of the user (Lester et al. 2021,
      arXiv 2104.08691).
  """

  resampler: nn.Module | None
  readout: nn.Module | None
  width: int
  num_statistics: int = 0
  num_task_tokens: int = 0

  @property
  def num_shared(self) -> int:
    """How many tokens, the first ones, are the same for all users."""
    fixed = getattr(self.readout, 'num_fixed', 0) if self.resampler else 0
    return self.num_task_tokens + fixed

  @nn.compact
  def __call__(self, history: Array, mask: Array) -> SoftTokens:
    """Makes soft prompts.

    Args:
      history: [B, N, H] float32 interaction vectors.
      mask: [B, N] int32, 1 for interactions and 0 for padding.

    Returns:
      SoftTokens. Those of the user have the root-mean-square `token_rms`, a parameter
      that holds that of the decoder's token embeddings and is not trained.
    """
    soft = self._of_user(history, mask) if self.resampler else None
    if not self.num_task_tokens:
      return soft
    shape = (self.num_task_tokens, self.width)
    task = self.param('task_tokens', nn.initializers.normal(0.1), shape)
    task = jnp.broadcast_to(task, (len(history), *shape))
    present = jnp.ones(task.shape[:2], bool)
    if soft is None:
      return SoftTokens(task, present)
    return soft._replace(
      tokens=jnp.concatenate([task, soft.tokens], axis=1),
      mask=jnp.concatenate([present, soft.mask], axis=1),
    )

  def _of_user(self, history, mask):
    history = Standardize(name='standardize')(history)
    latents, present = self.resampler(history, mask)
    soft = self.readout(latents, present, self.width)
    if self.num_statistics:
      flat = latents.reshape(latents.shape[0], -1)
      statistics = nn.Dense(self.num_statistics, name='statistics')(flat)
      soft = soft._replace(statistics=statistics)
    rms = self.param('token_rms', nn.initializers.ones, ())
    return soft._replace(tokens=scale_to(soft.tokens, jax.lax.stop_gradient(rms)))
