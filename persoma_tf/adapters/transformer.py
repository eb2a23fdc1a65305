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
  """

  num_layers: Count = 2
  width: Positive = 128
  num_heads: Positive = 8
  hidden: Count = 0
  resampling: str = 'queries'
  num_tokens: Positive = 8

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
