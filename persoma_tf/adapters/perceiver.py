"""Perceiver adapter: K learned latents read a user's N history vectors.

It follows Jaegle et al. 2021 (arXiv 2103.03206) and the resampler of Flamingo
(Alayrac et al. 2022, arXiv 2204.14198). Flamingo's resampler has no padding mask; this
adapter has one because histories differ in length.
"""

import flax.linen as nn
import gin
from jax import Array

from persoma_tf.adapters.adapter_layers import Items
from persoma_tf.adapters.resampling import Resample
from persoma_tf.setting_types import Positive


@gin.configurable
class Perceiver(nn.Module):
  """Reads a history with K latents, which also attend to each other, O(N K).

  The result does not depend on the order of the items.

  Attributes:
    num_layers: number of cross-attention layers.
    width: A.
    num_heads: number of attention heads; divides `width`.
    num_tokens: K.
    sums: whether the latents also get sums over the interactions, see `Resample`.
  """

  num_layers: Positive = 2
  width: Positive = 128
  num_heads: Positive = 8
  num_tokens: Positive = 8
  sums: bool = False

  def setup(self):
    """Makes the parts."""
    self.items = Items(self.width)
    self.resample = Resample(
      'latents', self.num_tokens, self.num_heads, self.num_layers, self.sums
    )

  def item_vectors(self, history: Array, mask: Array) -> Array:
    """Maps each interaction of [B, N, H] alone to [B, N, A]."""
    return self.items(history, mask)

  def __call__(self, history: Array, mask: Array) -> tuple[Array, Array]:
    """Maps histories [B, N, H], [B, N] to latents [B, K, A] and their mask [B, K]."""
    return self.resample(self.item_vectors(history, mask), mask > 0)
