"""Perceiver resampler: K learned latents read a user's N history vectors.

After Jaegle et al. 2021 (arXiv 2103.03206) and the resampler of Flamingo
(Alayrac et al. 2022, arXiv 2204.14198), with a padding mask, which the latter
lacks: histories are ragged.
"""

import flax.linen as nn
import gin
import jax.numpy as jnp
from jax import Array


class FeedForward(nn.Module):
  """Pre-normalized two-layer network of `expansion` times the width."""

  expansion: int = 4

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., A] to [..., A]."""
    width = x.shape[-1]
    hidden = nn.gelu(nn.Dense(self.expansion * width, name='up')(nn.LayerNorm()(x)))
    return nn.Dense(width, name='down')(hidden)


class CrossAttention(nn.Module):
  """Multi-head attention of queries over keys with a mask on the keys."""

  num_heads: int

  @nn.compact
  def __call__(self, queries: Array, keys: Array, mask: Array) -> Array:
    """Attends.

    Args:
      queries: [B, K, A] float32.
      keys: [B, S, A] float32; the values are read from them too.
      mask: [B, S] bool; False keys are never read.

    Returns:
      [B, K, A] float32.
    """
    width = queries.shape[-1]
    heads = (self.num_heads, width // self.num_heads)
    project = lambda name: nn.DenseGeneral(heads, use_bias=False, name=name)
    attended = nn.dot_product_attention(
      project('query')(queries),
      project('key')(keys),
      project('value')(keys),
      mask=mask[:, None, None, :],
    )
    return nn.DenseGeneral(width, axis=(-2, -1), name='out')(attended)


@gin.configurable
class Perceiver(nn.Module):
  """K latents that attend to the history and to each other.

  Attention to a set knows no order: permuting the items with their mask changes
  nothing. The latents are among the keys, so that a user with an empty history
  still has something to read and gets one constant, finite prompt.

  Attributes:
    num_latents: K.
    width: A, the adapter's own width.
    num_heads: attention heads; divides `width`.
    num_layers: cross-attention layers.
  """

  num_latents: int = 8
  width: int = 128
  num_heads: int = 8
  num_layers: int = 2

  @nn.compact
  def __call__(self, history: Array, mask: Array) -> Array:
    """Resamples histories.

    Args:
      history: [B, N, H] float32 item vectors.
      mask: [B, N] int or bool, nonzero for real items.

    Returns:
      [B, K, A] float32.

    Raises:
      ValueError: `num_heads` does not divide `width`.
    """
    if self.width % self.num_heads:
      raise ValueError(
        f'Perceiver.num_heads={self.num_heads} does not divide width={self.width}'
      )
    batch = history.shape[0]
    # Padded rows are zeroed first: a masked key still enters 0 * value, and
    # garbage there (inf, nan) must not reach the sum.
    history = jnp.where(mask[..., None] > 0, history, 0.0)
    items = nn.LayerNorm(name='norm_items')(nn.Dense(self.width, name='items')(history))
    shape = (self.num_latents, self.width)
    latents = self.param('latents', nn.initializers.normal(1.0), shape)
    z = jnp.broadcast_to(latents, (batch, *shape))
    keep = jnp.concatenate(
      [mask > 0, jnp.ones((batch, self.num_latents), bool)], axis=1
    )
    for layer in range(self.num_layers):
      queries = nn.LayerNorm(name=f'norm_{layer}')(z)
      keys = jnp.concatenate([items, queries], axis=1)
      z = z + CrossAttention(self.num_heads, name=f'attention_{layer}')(
        queries, keys, keep
      )
      z = z + FeedForward(name=f'feed_forward_{layer}')(z)
    return nn.LayerNorm(name='norm_out')(z)
