"""Layers that decoders of several families share."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array


def rope(x: Array, positions: Array, base: float | Array) -> Array:
  """Applies rotary position embedding (Su et al. 2021, arXiv 2104.09864).

  Component i of the first half of a head is rotated with component i of the second.

  Args:
    x: [B, S, heads, head_dim], any float type.
    positions: [B, S] int32.
    base: base of the wavelengths.

  Returns:
    [B, S, heads, head_dim] float32.
  """
  half = x.shape[-1] // 2
  frequencies = base ** (-jnp.arange(half) / half)
  angles = (positions[..., None] * frequencies)[:, :, None, :]
  sin, cos = jnp.sin(angles), jnp.cos(angles)
  first, second = x[..., :half], x[..., half:]
  return jnp.concatenate(
    [first * cos - second * sin, second * cos + first * sin], axis=-1
  )


class RMSNorm(nn.Module):
  """Computes x / rms(x) * scale (Zhang and Sennrich 2019, arXiv 1910.07467)."""

  epsilon: float

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., D] to [..., D] float32."""
    scale = self.param('scale', nn.initializers.ones, (x.shape[-1],))
    wide = x.astype(jnp.float32)
    size = jax.lax.rsqrt(jnp.mean(wide**2, -1, keepdims=True) + self.epsilon)
    return wide * size * scale.astype(jnp.float32)


def recomputed(block: type[nn.Module], whole: bool) -> type[nn.Module]:
  """Returns a layer for a scan whose backward pass recomputes activations.

  Args:
    block: class of the layer.
    whole: whether to recompute all activations, which needs the least memory.
      Otherwise the outputs of the products with weights are stored. On CPU it is faster
      to recompute the rest than to store it (docs/speed.md), and no [S, S] attention
      weights are stored.
  """
  keep = None if whole else jax.checkpoint_policies.dots_with_no_batch_dims_saveable
  # In a scan the compiler cannot merge the recomputation with the forward pass.
  return nn.remat(block, prevent_cse=False, policy=keep)
