"""Resampling: four ways to reduce N item vectors to K latents.

Each maps items [B, N, A] with mask [B, N] bool to latents [B, K, A] with mask [B, K]
bool. Padding does not change the result.

Attention's weights sum to 1 over the items, so that it gives means and cannot count.
`GatedSums` can be added to the latents for that.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from persoma_tf.adapters.adapter_layers import Attention, FeedForward

KINDS = ('none', 'pool', 'queries', 'latents')


class GatedSums(nn.Module):
  """Counts items and averages their values by gates, O(N K).

  Every latent opens `num_gates` gates on each item. A gate is in [0, 1] and is not
  normalized over the items, so that its sum is a count. The order of the items does not
  matter.

  Attributes:
    num_tokens: K.
    num_gates: number of gates of a latent.
  """

  num_tokens: int
  num_gates: int

  @nn.compact
  def __call__(self, x: Array, mask: Array) -> Array:
    """Returns what the gates tell, [B, K, A]; the same for all empty histories.

    Args:
      x: [B, N, A] item vectors.
      mask: [B, N] bool, False for padding.
    """
    shape = (self.num_tokens, self.num_gates)
    gates = jax.nn.sigmoid(nn.DenseGeneral(shape, name='gates')(x))
    gates = jnp.where(mask[..., None, None], gates, 0.0)
    count = jnp.sum(gates, axis=1)
    values = nn.DenseGeneral(shape, name='values')(x)
    mean = jnp.sum(gates * values, axis=1) / (count + 0.1)
    told = jnp.concatenate([jnp.log1p(count), mean], axis=-1)
    return nn.Dense(x.shape[-1], name='told')(told)


class Resample(nn.Module):
  """Reduces N items to K latents in one of the ways in `KINDS`.

  - none: every item is a latent, K = N.
  - pool: item i of a user's n items goes to segment floor(i K / n); a latent is a
    projection of the mean of its segment and the logarithm of 1 + its size. O(N K).
  - queries: K learned queries attend once. O(N K).
  - latents: K learned latents attend `num_layers` times and are refined between
    (Perceiver, Jaegle et al. 2021, arXiv 2103.03206). O(N K).

  Attributes:
    kind: one of `KINDS`.
    num_tokens: K; not used by 'none'.
    num_heads: number of attention heads, for 'queries' and 'latents'.
    num_layers: number of attention layers, for 'latents'.
    sums: whether the latents also get `GatedSums`, `num_heads` gates for each of them;
      not with 'none', whose latents are single items.
  """

  kind: str
  num_tokens: int
  num_heads: int
  num_layers: int = 1
  sums: bool = False

  @nn.compact
  def __call__(self, x: Array, mask: Array) -> tuple[Array, Array]:
    """Returns the latents [B, K, A] and their mask [B, K] bool.

    Args:
      x: [B, N, A] item vectors.
      mask: [B, N] bool, False for padding.

    Raises:
      ValueError: `kind` is not one of `KINDS`, or is 'none' with `sums`.
    """
    if self.kind not in KINDS:
      raise ValueError(f'resampling={self.kind!r}; expected one of {KINDS}')
    if self.kind == 'none':
      if self.sums:
        raise ValueError(
          "sums=True adds sums over the interactions to latents, but resampling='none' "
          'makes a latent of every interaction: expected sums = False, or resampling '
          "'pool', 'queries' or 'latents'"
        )
      return nn.LayerNorm(name='norm_out')(x), mask
    if self.kind == 'pool':
      z = self._pool(x, mask)
    else:
      z = self._attend(x, mask, self.num_layers if self.kind == 'latents' else 1)
    if self.sums:
      z = z + GatedSums(self.num_tokens, self.num_heads, name='sums')(x, mask)
    return nn.LayerNorm(name='norm_out')(z), jnp.ones(z.shape[:2], bool)

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
    # The latents are also keys: with an empty history the queries still have keys to
    # read, and the prompt is finite and the same for all such users.
    keep = jnp.concatenate([mask, jnp.ones(z.shape[:2], bool)], axis=1)
    for layer in range(num_layers):
      queries = nn.LayerNorm(name=f'norm_{layer}')(z)
      keys = jnp.concatenate([x, queries], axis=1)
      z = z + Attention(self.num_heads, name=f'attention_{layer}')(queries, keys, keep)
      z = z + FeedForward(name=f'feed_forward_{layer}')(z)
    return z
