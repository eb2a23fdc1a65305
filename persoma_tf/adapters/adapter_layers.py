"""Layers that the adapters share. A is an adapter's own width."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

QUERY_CHUNK = 256  # queries that attend at a time; bounds memory, not what is computed


class FeedForward(nn.Module):
  """Pre-normalized two-layer network; `hidden` 0 stands for four times the width."""

  hidden: int = 0

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., A] to [..., A]."""
    width = x.shape[-1]
    hidden = nn.gelu(nn.Dense(self.hidden or 4 * width, name='up')(nn.LayerNorm()(x)))
    return nn.Dense(width, name='down')(hidden)


class Attention(nn.Module):
  """Multi-head attention of queries over keys with a mask on the keys.

  Where there are more than `QUERY_CHUNK` queries they attend in chunks, and the
  backward pass computes each chunk's weights anew: memory grows with N, not with N²
  (Rabe and Staats 2021, arXiv 2112.05682, chunking the queries only).
  """

  num_heads: int

  @nn.compact
  def __call__(self, queries: Array, keys: Array, mask: Array) -> Array:
    """Attends.

    Args:
      queries: [B, Q, A] float32.
      keys: [B, S, A] float32; the values are read from them too.
      mask: [B, S] bool; False keys are never read.

    Returns:
      [B, Q, A] float32.

    Raises:
      ValueError: `num_heads` does not divide A.
    """
    batch, size, width = queries.shape
    if width % self.num_heads:
      raise ValueError(f'num_heads={self.num_heads} does not divide width={width}')
    heads = (self.num_heads, width // self.num_heads)
    project = lambda name: nn.DenseGeneral(heads, use_bias=False, name=name)
    key, value = project('key')(keys), project('value')(keys)
    query, keep = project('query')(queries), mask[:, None, None, :]
    read = lambda part: nn.dot_product_attention(part, key, value, mask=keep)
    if size <= QUERY_CHUNK:
      attended = read(query)
    else:
      chunks = -(-size // QUERY_CHUNK)
      padding = ((0, 0), (0, chunks * QUERY_CHUNK - size), (0, 0), (0, 0))
      parts = jnp.pad(query, padding).reshape(batch, chunks, QUERY_CHUNK, *heads)
      attended = jax.lax.map(jax.checkpoint(read), parts.swapaxes(0, 1))
      attended = attended.swapaxes(0, 1).reshape(batch, -1, *heads)[:, :size]
    return nn.DenseGeneral(width, axis=(-2, -1), name='out')(attended)


class Items(nn.Module):
  """History vectors brought to the adapter's width; padded rows become zeros first.

  A masked key still enters 0 * value, and garbage there (inf, nan) must not reach
  the sum.
  """

  width: int

  @nn.compact
  def __call__(self, history: Array, mask: Array) -> Array:
    """Maps [B, N, H] with mask [B, N] to [B, N, A]."""
    history = jnp.where(mask[..., None] > 0, history, 0.0)
    return nn.LayerNorm(name='norm')(nn.Dense(self.width, name='in')(history))
