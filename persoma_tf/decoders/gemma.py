"""Gemma 3, text only (Gemma Team 2025, arXiv 2503.19786), small sizes.

Differences from Llama: embeddings are multiplied by sqrt(D); queries and keys are
normalized per head; the output of each sublayer is normalized before it is added; the
gate is a tanh-approximated GELU. Every sixth layer is global and reads all positions.
The other layers are local: they read only the newest `window` positions, and their
rotary embedding has another base. Every sequence starts with a start token.

Whether a layer is local is an input to the layer, so that one scan runs all layers.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from persoma_tf import products
from persoma_tf.decoders import stack
from persoma_tf.decoders.decoder_only import (
  DecoderOnly,
  KeysValues,
  attend,
  newest,
  some_logits,
  write_cache,
)
from persoma_tf.decoders.layers import RMSNorm, rope
from persoma_tf.parameters.lora import Dense


@dataclasses.dataclass(frozen=True)
class GemmaConfig:
  """Describes the shape of a model; D = `d_model`, V = `vocab_size`."""

  vocab_size: int
  d_model: int
  num_heads: int
  num_kv_heads: int
  head_dim: int
  d_ff: int
  local_layers: tuple[bool, ...]  # for each layer, whether it is local
  window: int  # number of positions that a local layer reads, including its own
  start_token: int | None = None  # id of the token before every text
  rope_base: float = 1_000_000.0
  local_rope_base: float = 10_000.0
  norm_epsilon: float = 1e-6


def every_sixth_global(num_layers: int) -> tuple[bool, ...]:
  """Returns `local_layers` of the published models."""
  return tuple((layer + 1) % 6 > 0 for layer in range(num_layers))


class Attention(nn.Module):
  """Computes rotary grouped-query attention with normalized queries and keys."""

  config: GemmaConfig

  @nn.compact
  def __call__(
    self,
    x: Array,
    positions: Array,
    mask: Array,
    base: Array,
    cache: KeysValues | None,
    index: int,
  ) -> tuple[Array, KeysValues]:
    """Returns the attention output and the cache.

    Args:
      x: [B, S, D].
      positions: [B, S] int32.
      mask: [B or 1, S, keys] bool, True where a query may read a key.
      base: scalar, base of the rotary embedding.
      cache: cache of this layer, to which x is added; None to read x alone.
      index: position of x in the cache.

    Returns:
      ([B, S, D], cache with x in it).
    """
    cfg = self.config
    heads = (*x.shape[:2], -1, cfg.head_dim)
    dense = lambda count, name: Dense(count * cfg.head_dim, name=name)
    query = dense(cfg.num_heads, 'query')(x).reshape(heads)
    project = dense(cfg.num_kv_heads, 'key')
    key = project(x).reshape(heads)
    value = dense(cfg.num_kv_heads, 'value')(x).reshape(heads)
    query = RMSNorm(cfg.norm_epsilon, name='query_norm')(query)
    key = RMSNorm(cfg.norm_epsilon, name='key_norm')(key)
    key, kind = rope(key, positions, base), project.operand_type
    seen = KeysValues(key.astype(kind), value.astype(kind))
    if cache is not None:
      seen = write_cache(cache, seen, index)
    read = attend(rope(query, positions, base), seen, mask, cfg.head_dim**-0.5)
    return Dense(cfg.d_model, name='out')(read), seen


class Block(nn.Module):
  """Runs one layer: attention and a gated feed-forward network."""

  config: GemmaConfig

  @nn.compact
  def __call__(self, x, cache, local, positions, masks, index):
    """Returns the layer's output [B, S, D] and its cache.

    Args:
      x: [B, S, D].
      cache: cache of this layer, to which x is added; None to read x alone.
      local: scalar bool, whether the layer is local.
      positions: [B, S] int32.
      masks: masks of a global and of a local layer, [B or 1, S, keys] bool.
      index: position of x in the cache.
    """
    cfg = self.config
    norm = lambda name: RMSNorm(cfg.norm_epsilon, name=name)
    attended, seen = Attention(cfg, name='attention')(
      norm('attention_norm')(x),
      positions,
      jnp.where(local, masks[1], masks[0]),
      jnp.where(local, cfg.local_rope_base, cfg.rope_base),
      cache,
      index,
    )
    x = x + norm('attention_out_norm')(attended)
    inner = norm('mlp_norm')(x)
    gate, up = Dense(cfg.d_ff, name='gate')(inner), Dense(cfg.d_ff, name='up')(inner)
    inner = Dense(cfg.d_model, name='down')(jax.nn.gelu(gate, approximate=True) * up)
    x = x + norm('mlp_out_norm')(inner)
    return x, None if cache is None else seen


class Gemma(DecoderOnly):
  """Implements the decoder protocol (`persoma_tf.decoders`) for Gemma 3."""

  config: GemmaConfig
  remat: bool = False
  unrolled: bool = False

  @property
  def start_token(self) -> int | None:
    """Returns the id of the token before every prefix; None if there is none."""
    return self.config.start_token

  def setup(self):
    """Makes the submodules."""
    cfg = self.config
    self.embedder = nn.Embed(cfg.vocab_size, cfg.d_model)
    self.layers = stack.make_layers(
      Block,
      cfg,
      len(cfg.local_layers),
      remat=self.remat,
      unrolled=self.unrolled,
      each=1,
      shared=3,
    )
    self.final_norm = RMSNorm(cfg.norm_epsilon)

  def embed(self, tokens: Array) -> Array:
    """Returns the scaled embeddings [B, S, D] of token ids [B, S] int32."""
    embedded = self.embedder(tokens).astype(jnp.float32)
    return embedded * self.config.d_model**0.5

  def logits(self, hidden: Array) -> Array:
    """Returns the logits [..., V] of hidden states [..., D]."""
    return products.matmul(hidden, self.embedder.embedding.T)

  def logits_of(self, hidden: Array, tokens: Array) -> Array:
    """Returns the logits [B, M] of states [B, D] for tokens [B, M] int32 only."""
    return some_logits(self.embedder.embedding, tokens, hidden)

  def read(self, embeddings, positions, mask, layers, index):
    """Runs all layers; see `DecoderOnly`."""
    cfg = self.config
    masks = mask, newest(mask, cfg.window)
    each = (np.array(cfg.local_layers),)
    x, layers = stack.run_layers(
      self.layers, embeddings, layers, each, positions, masks, index
    )
    return self.final_norm(x), layers

  def empty(self, batch: int, size: int):
    """Returns an empty cache of `size` positions for `batch` rows."""
    cfg = self.config
    layers = len(cfg.local_layers)
    return self.zeros(layers, batch, size, cfg.num_kv_heads, cfg.head_dim)
