"""From N item vectors to K latents: the four ways.

All map ([B, N, A], [B, N] bool) to ([B, K, A], [B, K] bool), the second the mask of
what came out. Padded items change nothing.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from persoma_tf.adapters.adapter_layers import Attention, FeedForward

KINDS = ('none', 'pool', 'queries', 'latents')


class Resample(nn.Module):
  """One of `KINDS`.

  - none: every item stays a latent, K = N.
  - pool: item i of a user's n goes to segment floor(i K / n); a latent is the mean of
    its segment, with the logarithm of its size. O(N K).
  - queries: K learned queries attend once. O(N K).
  - latents: K learned latents attend `num_layers` times and are refined between
    (Perceiver, Jaegle et al. 2021, arXiv 2103.03206). O(N K).

  Attributes:
    kind: of `KINDS`.
    num_tokens: K; nothing to 'none'.
    num_heads: of the attention.
    num_layers: of 'latents'.
  """

  kind: str
  num_tokens: int
  num_heads: int
  num_layers: int = 1

  @nn.compact
  def __call__(self, x: Array, mask: Array) -> tuple[Array, Array]:
    """Resamples.

    Raises:
      ValueError: no such kind.
    """
    if self.kind not in KINDS:
      raise ValueError(f'resampling={self.kind!r}; expected one of {KINDS}')
    if self.kind == 'none':
      return nn.LayerNorm(name='norm_out')(x), mask
    if self.kind == 'pool':
      x = self._pool(x, mask)
    else:
      x = self._attend(x, mask, self.num_layers if self.kind == 'latents' else 1)
    return nn.LayerNorm(name='norm_out')(x), jnp.ones(x.shape[:2], bool)

  def _pool(self, x, mask):
    rank = jnp.cumsum(mask, axis=1) - 1
    length = jnp.maximum(jnp.sum(mask, axis=1, keepdims=True), 1)
    segment = jax.nn.one_hot(rank * self.num_tokens // length, self.num_tokens)
    segment = segment * mask[..., None]
    size = jnp.sum(segment, axis=1)[..., None]
    mean = jnp.einsum('bnk,bna->bka', segment, x) / jnp.maximum(size, 1)
    pooled = jnp.concatenate([mean, jnp.log1p(size)], axis=-1)
    return nn.Dense(x.shape[-1], name='pooled')(pooled)

  def _attend(self, x, mask, num_layers):
    shape = (self.num_tokens, x.shape[-1])
    latents = self.param('latents', nn.initializers.normal(1.0), shape)
    z = jnp.broadcast_to(latents, (len(x), *shape))
    # The latents are among the keys, so that a user with an empty history still has
    # something to read and gets one constant, finite prompt.
    keep = jnp.concatenate([mask, jnp.ones(z.shape[:2], bool)], axis=1)
    for layer in range(num_layers):
      queries = nn.LayerNorm(name=f'norm_{layer}')(z)
      keys = jnp.concatenate([x, queries], axis=1)
      z = z + Attention(self.num_heads, name=f'attention_{layer}')(queries, keys, keep)
      z = z + FeedForward(name=f'feed_forward_{layer}')(z)
    return z
