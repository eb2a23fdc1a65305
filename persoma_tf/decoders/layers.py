"""Layers that decoders of several families share."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from persoma_tf import products


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


def some_logits(table: Array, tokens: Array, hidden: Array) -> Array:
  """Returns the logits [B, M] of a few tokens of each row, or of all rows.

  Args:
    table: [V, D] output embeddings.
    tokens: [B, M] token ids, or [M] of all rows.
    hidden: [B, D] hidden states.
  """
  form = 'bd,md->bm' if tokens.ndim == 1 else 'bd,bmd->bm'
  return products.einsum(form, hidden, table[tokens])
