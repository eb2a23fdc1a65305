"""MLP adapter: a network on each interaction, then resampling."""

import flax.linen as nn
import gin
from jax import Array

from persoma_tf.adapters.adapter_layers import FeedForward, Items
from persoma_tf.adapters.resampling import Resample
from persoma_tf.setting_types import Count, Positive


@gin.configurable
class Mlp(nn.Module):
  """Applies residual feed-forward layers to each item vector, O(N).

  With resampling 'pool' and one token this is a deep set (Zaheer et al. 2017,
  arXiv 1703.06114).

  Attributes:
    num_layers: number of feed-forward layers.
    width: A.
    resampling: kind of the resampling, see `Resample`.
    num_tokens: K.
    num_heads: number of attention heads, for resampling with attention.
    sums: whether the latents also get sums over the interactions, see `Resample`.
  """

  num_layers: Count = 2
  width: Positive = 128
  resampling: str = 'pool'
  num_tokens: Positive = 8
  num_heads: Positive = 8
  sums: bool = False

  def setup(self):
    """Makes the parts."""
    self.items = Items(self.width)
    self.feed_forward = [FeedForward() for _ in range(self.num_layers)]
    self.resample = Resample(
      self.resampling, self.num_tokens, self.num_heads, sums=self.sums
    )

  def item_vectors(self, history: Array, mask: Array) -> Array:
    """Maps each interaction of [B, N, H] alone to [B, N, A]."""
    x = self.items(history, mask)
    for layer in self.feed_forward:
      x = x + layer(x)
    return x

  def __call__(self, history: Array, mask: Array) -> tuple[Array, Array]:
    """Maps histories [B, N, H], [B, N] to latents [B, K, A] and their mask [B, K]."""
    return self.resample(self.item_vectors(history, mask), mask > 0)
