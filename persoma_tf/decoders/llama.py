"""Decoder-only language model of the Llama family (SmolLM2, Llama 2 and 3, ...).

Each pre-normalized layer has RMSNorm, rotary grouped-query attention and a residual
connection, then RMSNorm, SwiGLU and a residual connection. A final RMSNorm and the
output matrix, often the embedding matrix, follow the layers.

The input are embeddings, not tokens, so that it can contain soft prompts.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from persoma_tf import products
from persoma_tf.decoders import stack
from persoma_tf.decoders.decoder_only import (
  DecoderOnly,
  KeysValues,
  attend,
  some_logits,
  write_cache,
)
from persoma_tf.decoders.layers import RMSNorm, rope
from persoma_tf.parameters.lora import Dense


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
  """Describes the shape of a model; D = `d_model`, V = `vocab_size`."""

  vocab_size: int
  num_layers: int
  d_model: int
  num_heads: int
  num_kv_heads: int
  d_ff: int
  rope_base: float = 10_000.0
  norm_epsilon: float = 1e-5
  tied: bool = True  # the output matrix is the embedding matrix
  key_length: int | None = None  # width of a head, if it is not d_model / num_heads
  start_token: int | None = None  # id of the token before every text

  @property
  def head_dim(self) -> int:
    """Returns the width of an attention head."""
    return self.key_length or self.d_model // self.num_heads


class Attention(nn.Module):
  """Computes rotary grouped-query attention."""

  config: LlamaConfig

  @nn.compact
  def __call__(
    self, x: Array, positions: Array, mask: Array, cache: KeysValues | None, index: int
  ) -> tuple[Array, KeysValues]:
    """Returns the attention output and the cache.

    Args:
      x: [B, S, D].
      positions: [B, S] int32.
      mask: [B or 1, S, keys] bool, True where a query may read a key.
      cache: cache of this layer, to which x is added; None to read x alone.
      index: position of x in the cache.

    Returns:
      ([B, S, D], cache with x in it).
    """
    cfg = self.config
    heads = (*x.shape[:2], -1, cfg.head_dim)
    query = Dense(cfg.num_heads * cfg.head_dim, name='query')(x).reshape(heads)
    project = Dense(cfg.num_kv_heads * cfg.head_dim, name='key')
    key = project(x).reshape(heads)
    value = Dense(cfg.num_kv_heads * cfg.head_dim, name='value')(x).reshape(heads)
    query = rope(query, positions, cfg.rope_base)
    key, kind = rope(key, positions, cfg.rope_base), project.operand_type
    seen = KeysValues(key.astype(kind), value.astype(kind))
    if cache is not None:
      seen = write_cache(cache, seen, index)
    read = attend(query, seen, mask, cfg.head_dim**-0.5)
    return Dense(cfg.d_model, name='out')(read), seen


class Block(nn.Module):
  """Runs one layer: attention and a gated feed-forward network."""

  config: LlamaConfig

  @nn.compact
  def __call__(self, x, cache, positions, mask, index):
    """Returns the layer's output [B, S, D] and its cache.

    Args:
      x: [B, S, D].
      cache: cache of this layer, to which x is added; None to read x alone.
      positions: [B, S] int32.
      mask: [B or 1, S, keys] bool, True where a query may read a key.
      index: position of x in the cache.
    """
    cfg = self.config
    attended, seen = Attention(cfg, name='attention')(
      RMSNorm(cfg.norm_epsilon, name='attention_norm')(x), positions, mask, cache, index
    )
    x = x + attended
    inner = RMSNorm(cfg.norm_epsilon, name='mlp_norm')(x)
    gate, up = Dense(cfg.d_ff, name='gate')(inner), Dense(cfg.d_ff, name='up')(inner)
    x = x + Dense(cfg.d_model, name='down')(jax.nn.silu(gate) * up)
    return x, None if cache is None else seen


class Llama(DecoderOnly):
  """Implements the decoder protocol (`persoma_tf.decoders`) for Llama."""

  config: LlamaConfig
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
      cfg.num_layers,
      remat=self.remat,
      unrolled=self.unrolled,
      shared=3,
    )
    self.final_norm = RMSNorm(cfg.norm_epsilon)
    if not cfg.tied:
      self.output = Dense(cfg.vocab_size)

  def embed(self, tokens: Array) -> Array:
    """Returns the embeddings [B, S, D] of token ids [B, S] int32."""
    return self.embedder(tokens).astype(jnp.float32)

  def logits(self, hidden: Array) -> Array:
    """Returns the logits [..., V] of hidden states [..., D]."""
    cfg = self.config
    if not cfg.tied:
      return self.output(hidden)
    return products.matmul(hidden, self.embedder.embedding.T)

  def logits_of(self, hidden: Array, tokens: Array) -> Array:
    """Returns the logits [B, M] of states [B, D] for tokens [B, M] int32 only."""
    if self.config.tied:
      return some_logits(self.embedder.embedding, tokens, hidden)
    return some_logits(self.output.variables['params']['kernel'].T, tokens, hidden)

  def read(self, embeddings, positions, mask, layers, index):
    """Runs all layers; see `DecoderOnly`."""
    x, layers = stack.run_layers(
      self.layers, embeddings, layers, (), positions, mask, index
    )
    return self.final_norm(x), layers

  def empty(self, batch: int, size: int):
    """Returns an empty cache of `size` positions for `batch` rows."""
    cfg = self.config
    return self.zeros(cfg.num_layers, batch, size, cfg.num_kv_heads, cfg.head_dim)
