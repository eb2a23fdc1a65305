"""Transformer adapter: self-attention of the interactions, then resampling."""

import flax.linen as nn
import gin
from jax import Array

from persoma_tf.adapters.adapter_layers import Attention, FeedForward, Items
from persoma_tf.adapters.resampling import Resample
from persoma_tf.setting_types import Count, Positive


@gin.configurable
class Transformer(nn.Module):
  """Encodes the items with pre-normalized layers, O(N²) time and O(N) memory.

  The result depends on the order of the items only with the resampling 'pool' or
  'none'.

  Attributes:
    num_layers: number of encoder layers.
    width: A.
    num_heads: number of attention heads; divides `width`.
    hidden: hidden width of the feed-forward layers; 0 for 4 A.
    resampling: kind of the resampling, see `Resample`.
    num_tokens: K.
    sums: whether the latents also get sums over the interactions, see `Resample`.
  """

  num_layers: Count = 2
  width: Positive = 128
  num_heads: Positive = 8
  hidden: Count = 0
  resampling: str = 'queries'
  num_tokens: Positive = 8
  sums: bool = False

  def setup(self):
    """Makes the parts."""
    layers = range(self.num_layers)
    self.items = Items(self.width)
    self.norm = [nn.LayerNorm() for _ in layers]
    self.attention = [Attention(self.num_heads) for _ in layers]
    self.feed_forward = [FeedForward(self.hidden) for _ in layers]
    self.resample = Resample(
      self.resampling, self.num_tokens, self.num_heads, sums=self.sums
    )

  def item_vectors(self, history: Array, mask: Array) -> Array:
    """Maps each interaction of [B, N, H] alone to [B, N, A]."""
    return self.items(history, mask)

  def __call__(self, history: Array, mask: Array) -> tuple[Array, Array]:
    """Maps histories [B, N, H], [B, N] to latents [B, K, A] and their mask [B, K]."""
    x = self.item_vectors(history, mask)
    for norm, attention, feed_forward in zip(
      self.norm, self.attention, self.feed_forward, strict=True
    ):
      y = norm(x)
      x = x + attention(y, y, mask > 0)
      x = x + feed_forward(x)
    return self.resample(x, mask > 0)
