"""Layers of T5 (`persoma_tf.decoders.t5`): one of the encoder, one of the decoder."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from persoma_tf import products
from persoma_tf.decoders.attention import KeysValues, write_cache
from persoma_tf.decoders.layers import RMSNorm
from persoma_tf.parameters.lora import Dense


@dataclasses.dataclass(frozen=True)
class T5Config:
  """Describes the shape of a model; D = `d_model`, V = `vocab_size`."""

  vocab_size: int
  d_model: int
  d_ff: int
  num_heads: int
  head_dim: int
  num_encoder_layers: int
  num_decoder_layers: int
  gated: bool = True  # tanh-approximated GELU times linear instead of ReLU
  tied: bool = False  # the output matrix is the embedding matrix divided by sqrt(D)
  num_buckets: int = 32
  max_distance: int = 128
  norm_epsilon: float = 1e-6


def distance_buckets(
  num_buckets: int, max_distance: int, bidirectional: bool
) -> np.ndarray:
  """Returns the bucket of each distance to an earlier position.

  The first half of the buckets hold one distance each, the others ranges that grow
  logarithmically. With b buckets and m = b / 2, a distance n < m has the bucket n, and
  a distance n >= m the bucket m + floor((b - m) log(n / m) / log(max_distance / m)), at
  most b - 1. The formula is computed in integers, because rounded logarithms could
  fall below a whole number.

  Args:
    num_buckets: number of buckets, of both directions together.
    max_distance: distance from which on all distances share the last bucket.
    bidirectional: whether later positions use the second half of the buckets.

  Returns:
    [max_distance + 1] int32.
  """
  buckets = num_buckets // 2 if bidirectional else num_buckets
  exact = buckets // 2
  wide = buckets - exact

  def bucket(distance):
    if distance < exact:
      return distance
    reaches = lambda k: distance**wide * exact**k >= max_distance**k * exact**wide
    return exact + max(k for k in range(wide) if reaches(k))

  return np.array([bucket(n) for n in range(max_distance + 1)], np.int32)


class RelativeBias(nn.Module):
  """Learns a bias of the attention scores for each head and bucket of distances."""

  config: T5Config
  bidirectional: bool

  @nn.compact
  def __call__(self, queries: Array, keys: Array) -> Array:
    """Returns the bias of each pair of a query and a key.

    Args:
      queries: [B or 1, S] int32 positions.
      keys: [B or 1, K] int32 positions.

    Returns:
      [B or 1, heads, S, K] float32.
    """
    cfg = self.config
    shape = (cfg.num_heads, cfg.num_buckets)
    table = self.param('rel_embedding', nn.initializers.normal(1.0), shape)
    buckets = distance_buckets(cfg.num_buckets, cfg.max_distance, self.bidirectional)
    before = queries[:, :, None] - keys[:, None, :]
    distance = jnp.abs(before) if self.bidirectional else jnp.maximum(before, 0)
    bucket = jnp.asarray(buckets)[jnp.minimum(distance, cfg.max_distance)]
    if self.bidirectional:
      bucket = bucket + (before < 0) * (cfg.num_buckets // 2)
    return jnp.moveaxis(jnp.asarray(table, jnp.float32)[:, bucket], 0, 1)


class Attention(nn.Module):
  """Computes multi-head attention without scaling of the scores."""

  config: T5Config

  def setup(self):
    """Makes the projections."""
    cfg = self.config
    self.query, self.key, self.value = (
      Dense(cfg.num_heads * cfg.head_dim) for _ in range(3)
    )
    self.out = Dense(cfg.d_model)

  def seen(self, x: Array) -> KeysValues:
    """Returns the keys and values [B, K, heads, head_dim] of states [B, K, D]."""
    heads = (*x.shape[:2], -1, self.config.head_dim)
    key, value = self.key(x), self.value(x)
    kind = self.key.operand_type
    return KeysValues(
      key.reshape(heads).astype(kind), value.reshape(heads).astype(kind)
    )

  def __call__(
    self, x: Array, seen: KeysValues, mask: Array, bias: Array | None = None
  ) -> Array:
    """Returns the attention output of states x.

    Args:
      x: [B, S, D].
      seen: keys and values of K positions.
      mask: [B or 1, S or 1, K] bool, True where a query may read a key.
      bias: [B or 1, heads, S, K] float32, or None.

    Returns:
      [B, S, D].
    """
    query = self.query(x).reshape(*x.shape[:2], -1, self.config.head_dim)
    scores = products.einsum('bqhd,bkhd->bhqk', query, seen.keys)
    if bias is not None:
      scores = scores + bias
    weights = jax.nn.softmax(jnp.where(mask[:, None], scores, -1e30))
    read = products.einsum('bhqk,bkhd->bqhd', weights, seen.values)
    return self.out(read.reshape(*x.shape[:2], -1))


class Mlp(nn.Module):
  """Applies a feed-forward network to each position."""

  config: T5Config

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [B, S, D] to [B, S, D]."""
    cfg = self.config
    dense = lambda name: Dense(cfg.d_ff, name=name)(x)
    if cfg.gated:
      inner = jax.nn.gelu(dense('wi_0'), approximate=True) * dense('wi_1')
    else:
      inner = jax.nn.relu(dense('wi'))
    return Dense(cfg.d_model, name='wo')(inner)


class EncoderLayer(nn.Module):
  """Runs one encoder layer: attention in both directions and a network."""

  config: T5Config

  def setup(self):
    """Makes the submodules."""
    cfg = self.config
    self.pre_attention_layer_norm = RMSNorm(cfg.norm_epsilon)
    self.attention = Attention(cfg)
    self.pre_mlp_layer_norm = RMSNorm(cfg.norm_epsilon)
    self.mlp = Mlp(cfg)

  def __call__(self, x: Array, mask: Array, bias: Array) -> Array:
    """Returns the layer's output [B, P, D].

    Args:
      x: [B, P, D].
      mask: [B, 1, P] bool, False for padding.
      bias: [B, heads, P, P] float32.
    """
    inner = self.pre_attention_layer_norm(x)
    x = x + self.attention(inner, self.attention.seen(inner), mask, bias)
    return x + self.mlp(self.pre_mlp_layer_norm(x))


class DecoderLayer(nn.Module):
  """Runs one decoder layer: self-attention, attention to the prefix and a network."""

  config: T5Config

  def setup(self):
    """Makes the submodules."""
    cfg = self.config
    self.pre_self_attention_layer_norm = RMSNorm(cfg.norm_epsilon)
    self.self_attention = Attention(cfg)
    self.pre_cross_attention_layer_norm = RMSNorm(cfg.norm_epsilon)
    self.encoder_decoder_attention = Attention(cfg)
    self.pre_mlp_layer_norm = RMSNorm(cfg.norm_epsilon)
    self.mlp = Mlp(cfg)

  def read_prefix(self, encoded: Array) -> KeysValues:
    """Returns the keys and values of the encoder's states [B, P, D]."""
    return self.encoder_decoder_attention.seen(encoded)

  def __call__(
    self,
    x: Array,
    prefix: KeysValues,
    prefix_mask: Array,
    written: KeysValues | None,
    index: Array | int,
    mask: Array,
    bias: Array,
  ) -> tuple[Array, KeysValues]:
    """Returns the layer's output and its cache.

    Args:
      x: [B, S, D].
      prefix: keys and values of the prefix, from `read_prefix`.
      prefix_mask: [B, P] bool, False for padding.
      written: cache of this layer, to which x is added; None to read x alone.
      index: position of x in the cache.
      mask: [1, S, K] bool, True where x may read a position of the answer.
      bias: [1, heads, S, K] float32, bias of the self-attention.

    Returns:
      ([B, S, D], cache with x in it).
    """
    inner = self.pre_self_attention_layer_norm(x)
    seen = self.self_attention.seen(inner)
    if written is not None:
      seen = write_cache(written, seen, index)
    x = x + self.self_attention(inner, seen, mask, bias)
    inner = self.pre_cross_attention_layer_norm(x)
    x = x + self.encoder_decoder_attention(inner, prefix, prefix_mask[:, None])
    return x + self.mlp(self.pre_mlp_layer_norm(x)), seen
