"""Layers that the adapters share; A is the width of an adapter."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

QUERY_CHUNK = 256  # queries per chunk; limits the memory, does not change the result


class FeedForward(nn.Module):
  """Applies a pre-normalized two-layer network to each position.

  Attributes:
    hidden: width of the hidden layer; 0 for 4 A.
  """

  hidden: int = 0

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., A] to [..., A]."""
    width = x.shape[-1]
    hidden = nn.gelu(nn.Dense(self.hidden or 4 * width, name='up')(nn.LayerNorm()(x)))
    return nn.Dense(width, name='down')(hidden)


class Attention(nn.Module):
  """Computes multi-head attention with a mask on the keys.

  More than `QUERY_CHUNK` queries are processed in chunks, and the backward pass
  recomputes the attention weights of each chunk. Memory then grows with N instead of
  N² (Rabe and Staats 2021, arXiv 2112.05682; here only the queries are chunked).

  Attributes:
    num_heads: number of attention heads; divides A.
  """

  num_heads: int

  @nn.compact
  def __call__(self, queries: Array, keys: Array, mask: Array) -> Array:
    """Returns the attention output of each query.

    Args:
      queries: [B, Q, A] float32.
      keys: [B, S, A] float32; the values are projections of the same vectors.
      mask: [B, S] bool, False for keys that are never read.

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
  """Projects history vectors to the adapter's width.

  Padding is set to zero first: attention multiplies a masked value by 0, and inf or
  nan times 0 is nan.

  Attributes:
    width: A.
  """

  width: int

  @nn.compact
  def __call__(self, history: Array, mask: Array) -> Array:
    """Maps [B, N, H] with mask [B, N] to [B, N, A]."""
    history = jnp.where(mask[..., None] > 0, history, 0.0)
    return nn.LayerNorm(name='norm')(nn.Dense(self.width, name='in')(history))
