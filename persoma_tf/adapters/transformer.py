"""Transformer adapter: interactions attend to each other, then resampling."""

import flax.linen as nn
import gin
from jax import Array

from persoma_tf.adapters.adapter_layers import Attention, FeedForward, Items
from persoma_tf.adapters.resampling import Resample


@gin.configurable
class Transformer(nn.Module):
  """Pre-normalized encoder over the items, O(N²) time and O(N) memory.

  Attention to a set knows no order: permuting the items changes nothing, unless the
  resampling does ('pool', 'none').

  Attributes:
    num_layers: of the encoder.
    width: A.
    num_heads: attention heads; divides `width`.
    hidden: width of the feed-forward layers; 0 for 4 A.
    resampling: see `Resample`.
    num_tokens: K.
  """

  num_layers: int = 2
  width: int = 128
  num_heads: int = 8
  hidden: int = 0
  resampling: str = 'queries'
  num_tokens: int = 8

  @nn.compact
  def __call__(self, history: Array, mask: Array) -> tuple[Array, Array]:
    """Maps histories [B, N, H], [B, N] to latents [B, K, A] and their mask [B, K]."""
    x = Items(self.width, name='items')(history, mask)
    for layer in range(self.num_layers):
      y = nn.LayerNorm(name=f'norm_{layer}')(x)
      x = x + Attention(self.num_heads, name=f'attention_{layer}')(y, y, mask > 0)
      x = x + FeedForward(self.hidden, name=f'feed_forward_{layer}')(x)
    resample = Resample(
      self.resampling, self.num_tokens, self.num_heads, name='resample'
    )
    return resample(x, mask > 0)
