"""Decoder-only language model of the Llama family (SmolLM2, Llama 2 and 3, ...).

Pre-normalized blocks: RMSNorm, rotary grouped-query attention, residual; RMSNorm,
SwiGLU, residual; a final RMSNorm; the output matrix, often the embedding matrix.

Input are embeddings, not tokens, so that soft prompts can stand among them.
"""

import dataclasses

import flax.linen as nn
import jax
from jax import Array

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
  """Shape of a model; D = `d_model`, V = `vocab_size`."""

  vocab_size: int
  num_layers: int
  d_model: int
  num_heads: int
  num_kv_heads: int
  d_ff: int
  rope_base: float = 10_000.0
  norm_epsilon: float = 1e-5
  tied: bool = True  # the output matrix is the embedding matrix

  @property
  def head_dim(self) -> int:
    """Width of an attention head."""
    return self.d_model // self.num_heads


class Attention(nn.Module):
  """Rotary grouped-query attention."""

  config: LlamaConfig

  @nn.compact
  def __call__(
    self, x: Array, positions: Array, mask: Array, cache: KeysValues | None, index: int
  ) -> tuple[Array, KeysValues]:
    """Attends.

    Args:
      x: [B, S, D].
      positions: [B, S] int32.
      mask: [B or 1, S, keys] bool, True where a query may read a key.
      cache: this layer's, to write x into and read from, or None to read x alone.
      index: where in the cache x stands.

    Returns:
      ([B, S, D], the cache with x in it).
    """
    cfg = self.config
    heads = (*x.shape[:2], -1, cfg.head_dim)
    query = Dense(cfg.num_heads * cfg.head_dim, name='query')(x).reshape(heads)
    key = Dense(cfg.num_kv_heads * cfg.head_dim, name='key')(x).reshape(heads)
    value = Dense(cfg.num_kv_heads * cfg.head_dim, name='value')(x).reshape(heads)
    query = rope(query, positions, cfg.rope_base)
    seen = KeysValues(rope(key, positions, cfg.rope_base), value)
    if cache is not None:
      seen = write_cache(cache, seen, index)
    read = attend(query, seen, mask, cfg.head_dim**-0.5)
    return Dense(cfg.d_model, name='out')(read), seen


class Block(nn.Module):
  """One layer."""

  config: LlamaConfig

  @nn.compact
  def __call__(self, x, cache, positions, mask, index):
    """Maps (x [B, S, D], this layer's cache) to the same; see `Attention`."""
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
  """The decoder protocol: `embed`, `logits`, `target_hidden`, `prefill`, `step`."""

  config: LlamaConfig
  remat: bool = False
  unrolled: bool = False

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
    """Token embeddings [B, S, D] of ids [B, S] int32."""
    return self.embedder(tokens)

  def logits(self, hidden: Array) -> Array:
    """Logits [..., V] of hidden states [..., D]."""
    cfg = self.config
    return self.embedder.attend(hidden) if cfg.tied else self.output(hidden)

  def logits_of(self, hidden: Array, tokens: Array) -> Array:
    """Logits [B, M] of some tokens a row; see `persoma_tf.decoders`."""
    if self.config.tied:
      return some_logits(self.embedder.embedding, tokens, hidden)
    return some_logits(self.output.variables['params']['kernel'].T, tokens, hidden)

  def read(self, embeddings, positions, mask, layers, index):
    """Runs the stack; see `DecoderOnly`."""
    x, layers = stack.run_layers(
      self.layers, embeddings, layers, (), positions, mask, index
    )
    return self.final_norm(x), layers

  def empty(self, batch: int, size: int):
    """A cache of `size` positions."""
    cfg = self.config
    return self.zeros(cfg.num_layers, batch, size, cfg.num_kv_heads, cfg.head_dim)
