"""Layers that decoders of several families are made of."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array


def rope(x: Array, positions: Array, base: float | Array) -> Array:
  """Rotary position embedding (Su et al. 2021, arXiv 2104.09864), split halves.

  Args:
    x: [B, S, heads, head_dim].
    positions: [B, S] int32.
    base: of the wavelengths.

  Returns:
    [B, S, heads, head_dim].
  """
  half = x.shape[-1] // 2
  frequencies = base ** (-jnp.arange(half) / half)
  angles = (positions[..., None] * frequencies)[:, :, None, :]
  sin, cos = jnp.sin(angles).astype(x.dtype), jnp.cos(angles).astype(x.dtype)
  first, second = x[..., :half], x[..., half:]
  return jnp.concatenate(
    [first * cos - second * sin, second * cos + first * sin], axis=-1
  )


class RMSNorm(nn.Module):
  """x / rms(x) * scale (Zhang and Sennrich 2019, arXiv 1910.07467)."""

  epsilon: float

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., D] to [..., D]."""
    scale = self.param('scale', nn.initializers.ones, (x.shape[-1],))
    wide = x.astype(jnp.float32)
    size = jax.lax.rsqrt(jnp.mean(wide**2, -1, keepdims=True) + self.epsilon)
    return (wide * size * scale).astype(x.dtype)


def recomputed(block: type[nn.Module], whole: bool) -> type[nn.Module]:
  """A layer, to be scanned, whose backward pass computes some of it anew.

  Args:
    block: the layer.
    whole: all of it, for the least memory. Otherwise only what lies between the
      products with its weights, which on CPU is faster than to write it and read it
      back (docs/speed.md), and keeps no [S, S] attention weights.
  """
  keep = None if whole else jax.checkpoint_policies.dots_with_no_batch_dims_saveable
  # A scan already keeps the compiler from undoing it.
  return nn.remat(block, prevent_cse=False, policy=keep)
