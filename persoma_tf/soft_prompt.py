"""Turns a history into K soft tokens for the frozen decoder.

An adapter (Perceiver, ...) maps the history to latents [B, M, A], and a readout maps
the latents to tokens [B, K, D], which are scaled to the root-mean-square of the
decoder's own token embeddings. Learned task tokens, the same for all users, can come
first.

There are two readouts. `LinearReadout` projects every latent to one token.
`TemplateReadout` is initialized with the decoder's embeddings of an answer in which
some words are replaced by slots. So from the first step the decoder can read the soft
tokens, and the content of the slots can be trained without running the decoder.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import gin
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from persoma_tf.setting_types import Positive

_EPSILON = 1e-6
SLOT = -1  # marks a slot in `TemplateReadout.layout`


class SoftTokens(NamedTuple):
  """Holds the soft prompts of a batch.

  Attributes:
    tokens: [B, K, D] float32.
    mask: [B, K] bool, False for padding.
    slot_logits: [B, slots, W] float32, logits of the words in each slot; None if the
      readout has no slots.
    statistics: [B, S] float32, predicted history statistics, used only in training;
      None if they are not predicted.
  """

  tokens: Array
  mask: Array
  slot_logits: Array | None = None
  statistics: Array | None = None


class AnswerTemplate(NamedTuple):
  """Holds the texts that define a `TemplateReadout`.

  Attributes:
    parts: parts of an answer in order: texts, and None for each slot.
    words: W texts that can fill a slot.
  """

  parts: Sequence[str | None]
  words: Sequence[str]


def scale_to(tokens: Array, rms: Array) -> Array:
  """Scales each token [..., D] to the root-mean-square `rms` (scalar)."""
  size = jnp.sqrt(jnp.mean(tokens**2, axis=-1, keepdims=True) + _EPSILON**2)
  return tokens * (rms / size)


class Standardize(nn.Module):
  """Standardizes each component: (x - mean) / scale, with fixed parameters.

  Sentence vectors of one template lie in a narrow cone: their common part is large and
  their differences are small. `mean` and `scale` [H] are computed from training data at
  initialization, saved with the adapter, and not trained.
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
  """Projects each latent to one soft token, K = M."""

  @nn.compact
  def __call__(self, latents: Array, mask: Array, width: int) -> SoftTokens:
    """Projects [B, M, A] to [B, M, width]."""
    return SoftTokens(nn.Dense(width, name='out')(latents), mask)


@gin.configurable
class TemplateReadout(nn.Module):
  """Arranges soft tokens as an answer: template tokens with slots among them.

  The token of a slot is a convex mixture of W word vectors. One network computes the
  weights of all slots from all latents together, because ranking words ("which three
  genres come first") needs all statistics at once. `template` [F, D] and `words` [W, D]
  are initialized with the decoder's embeddings of the answer's tokens and words, and
  are trained. So from the first step the prompt has tokens that the decoder can copy.

  Attributes:
    layout: K entries, one per token: SLOT, or the id of a template token.
    num_words: W.
    hidden: hidden width of the network.
  """

  layout: tuple[int, ...] = gin.REQUIRED
  num_words: Positive = gin.REQUIRED
  hidden: Positive = 512

  @property
  def num_fixed(self) -> int:
    """Returns the number of tokens before the first slot."""
    return self.layout.index(SLOT)

  @nn.compact
  def __call__(self, latents: Array, mask: Array, width: int) -> SoftTokens:
    """Maps latents [B, M, A] to tokens [B, K, width]; the mask is not used."""
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
    # 1-based position of the k-th token in [fixed ; mixed].
    is_slot = np.array(self.layout) == SLOT
    place = np.where(is_slot, len(fixed[0]) + np.cumsum(is_slot), np.cumsum(~is_slot))
    tokens = jnp.concatenate([fixed, mixed], axis=1)[:, place - 1]
    return SoftTokens(tokens, jnp.ones(tokens.shape[:2], bool), logits)


def check_latents(
  resampler: nn.Module | None, readout: nn.Module | None, num_statistics: int
) -> None:
  """Checks that a part that reads all latents together gets a fixed number of them.

  Args:
    resampler: adapter module, see `SoftPrompt`.
    readout: readout module, see `SoftPrompt`.
    num_statistics: number of history statistics to predict.

  Raises:
    ValueError: the adapter makes as many latents as a user has interactions.
  """
  fixed = isinstance(readout, TemplateReadout) or num_statistics
  if fixed and getattr(resampler, 'resampling', '') == 'none':
    raise ValueError(
      f"{type(resampler).__name__}.resampling='none' makes a latent of every "
      'interaction, but TemplateReadout and statistics_weight read a fixed number of '
      "latents: expected resampling 'pool', 'queries' or 'latents', or "
      'build.readout = @LinearReadout() and no statistics_weight'
    )


class SoftPrompt(nn.Module):
  """Maps histories to soft prompts; contains all parameters of the adapter.

  Attributes:
    resampler: adapter module ([B, N, H], [B, N]) -> ([B, M, A], [B, M] bool). None for
      a prompt that has only task tokens and does not depend on the history.
    readout: module ([B, M, A], [B, M], D) -> SoftTokens.
    width: D, width of the decoder's embeddings.
    num_statistics: S, number of history statistics to predict; 0 for none.
    num_task_tokens: number of learned task tokens before the tokens of the user (Lester
      et al. 2021, arXiv 2104.08691).
  """

  resampler: nn.Module | None
  readout: nn.Module | None
  width: int
  num_statistics: int = 0
  num_task_tokens: int = 0

  @property
  def num_shared(self) -> int:
    """Returns the number of tokens at the start that are the same for all users."""
    fixed = getattr(self.readout, 'num_fixed', 0) if self.resampler else 0
    return self.num_task_tokens + fixed

  @nn.compact
  def __call__(self, history: Array, mask: Array) -> SoftTokens:
    """Returns the soft prompts of histories.

    The tokens of the user are scaled to the root-mean-square `token_rms`. This
    parameter is measured on the decoder's token embeddings and is not trained.

    Args:
      history: [B, N, H] float32 interaction vectors.
      mask: [B, N] int32, 1 for interactions and 0 for padding.
    """
    soft = self._user_tokens(history, mask) if self.resampler else None
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

  def _user_tokens(self, history, mask):
    history = Standardize(name='standardize')(history)
    latents, present = self.resampler(history, mask)
    soft = self.readout(latents, present, self.width)
    if self.num_statistics:
      flat = latents.reshape(latents.shape[0], -1)
      statistics = nn.Dense(self.num_statistics, name='statistics')(flat)
      soft = soft._replace(statistics=statistics)
    rms = self.param('token_rms', nn.initializers.ones, ())
    return soft._replace(tokens=scale_to(soft.tokens, jax.lax.stop_gradient(rms)))
