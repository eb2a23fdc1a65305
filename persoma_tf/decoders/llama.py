"""Decoder-only language model of the Llama family (SmolLM2, Llama 2 and 3, ...).

Pre-normalized blocks: RMSNorm, rotary grouped-query attention, residual; RMSNorm,
SwiGLU, residual; a final RMSNorm; the output matrix is the embedding matrix. The
parameters of all layers are stacked on their first axis and run by one scan, which
keeps compilation short.

Input are embeddings, not tokens, so that soft prompts can stand among them.
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array


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

  @property
  def head_dim(self) -> int:
    """Width of an attention head."""
    return self.d_model // self.num_heads


class Cache(NamedTuple):
  """Keys and values of the positions read so far.

  Attributes:
    keys: [layers, B, S, kv_heads, head_dim] float32.
    values: the same.
  """

  keys: Array
  values: Array


def rope(x: Array, positions: Array, base: float) -> Array:
  """Rotary position embedding (Su et al. 2021, arXiv 2104.09864), split halves.

  Args:
    x: [B, S, heads, head_dim].
    positions: [B, S] int32.
    base: of the wavelengths.

  Returns:
    [B, S, heads, head_dim].
  """
  half = x.shape[-1] // 2
  frequencies = base ** (-jnp.arange(half) / half)
  angles = (positions[..., None] * frequencies)[:, :, None, :]
  sin, cos = jnp.sin(angles), jnp.cos(angles)
  first, second = x[..., :half], x[..., half:]
  return jnp.concatenate(
    [first * cos - second * sin, second * cos + first * sin], axis=-1
  )


class RMSNorm(nn.Module):
  """x / rms(x) * scale (Zhang and Sennrich 2019, arXiv 1910.07467)."""

  epsilon: float

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps [..., D] to [..., D]."""
    scale = self.param('scale', nn.initializers.ones, (x.shape[-1],))
    return x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + self.epsilon) * scale


def _dense(features: int, name: str) -> nn.Dense:
  init = nn.initializers.normal(0.02)
  return nn.Dense(features, use_bias=False, kernel_init=init, name=name)


class Attention(nn.Module):
  """Grouped-query attention; each key-value head serves several query heads."""

  config: LlamaConfig

  @nn.compact
  def __call__(
    self, x: Array, positions: Array, mask: Array, cache: Cache | None, index: int
  ) -> tuple[Array, Cache]:
    """Attends.

    Args:
      x: [B, S, D].
      positions: [B, S] int32.
      mask: [B or 1, S, S_keys] bool, True where a query may read a key.
      cache: keys and values [B, S_keys, kv_heads, head_dim] to write into and read
        from, or None to read x alone.
      index: where in the cache x stands.

    Returns:
      ([B, S, D], the cache with x in it).
    """
    cfg = self.config
    batch, length, _ = x.shape
    heads, groups = (batch, length, -1, cfg.head_dim), cfg.num_heads // cfg.num_kv_heads
    query = _dense(cfg.num_heads * cfg.head_dim, 'query')(x).reshape(heads)
    key = _dense(cfg.num_kv_heads * cfg.head_dim, 'key')(x).reshape(heads)
    value = _dense(cfg.num_kv_heads * cfg.head_dim, 'value')(x).reshape(heads)
    query = rope(query, positions, cfg.rope_base)
    seen = Cache(rope(key, positions, cfg.rope_base), value)
    if cache is not None:
      write = jax.lax.dynamic_update_slice_in_dim
      seen = Cache(
        *(write(old, new, index, 1) for old, new in zip(cache, seen, strict=True))
      )
    query = query.reshape(batch, length, cfg.num_kv_heads, groups, cfg.head_dim)
    scores = jnp.einsum('bqhgd,bkhd->bhgqk', query, seen.keys) * cfg.head_dim**-0.5
    weights = jax.nn.softmax(jnp.where(mask[:, None, None], scores, -1e30))
    read = jnp.einsum('bhgqk,bkhd->bqhgd', weights, seen.values)
    return _dense(cfg.d_model, 'out')(read.reshape(batch, length, -1)), seen


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
    gate, up = _dense(cfg.d_ff, 'gate')(inner), _dense(cfg.d_ff, 'up')(inner)
    x = x + _dense(cfg.d_model, 'down')(jax.nn.silu(gate) * up)
    return x, None if cache is None else seen


class Llama(nn.Module):
  """The decoder protocol: `embed`, `hidden`, `logits`, `prefill`, `step`."""

  config: LlamaConfig

  def setup(self):
    """Makes the submodules."""
    cfg = self.config
    self.embedder = nn.Embed(cfg.vocab_size, cfg.d_model)
    self.layers = nn.scan(
      Block,
      variable_axes={'params': 0},
      split_rngs={'params': True},
      in_axes=(0, nn.broadcast, nn.broadcast, nn.broadcast),
      length=cfg.num_layers,
    )(cfg)
    self.final_norm = RMSNorm(cfg.norm_epsilon)

  def embed(self, tokens: Array) -> Array:
    """Token embeddings [B, S, D] of ids [B, S] int32."""
    return self.embedder(tokens)

  def logits(self, hidden: Array) -> Array:
    """Logits [..., V] of hidden states [..., D]."""
    return self.embedder.attend(hidden)

  def hidden(self, embeddings: Array, positions: Array, mask: Array) -> Array:
    """Hidden states of whole sequences.

    Args:
      embeddings: [B, S, D] float32.
      positions: [B, S] int32.
      mask: [B, S] bool, False for padding, which no position reads.

    Returns:
      [B, S, D] float32, after the final norm.
    """
    length = embeddings.shape[1]
    causal = jnp.tril(jnp.ones((length, length), bool))
    x, _ = self.layers(embeddings, None, positions, causal & mask[:, None, :], 0)
    return self.final_norm(x)

  def prefill(
    self, embeddings: Array, positions: Array, size: int
  ) -> tuple[Array, Cache]:
    """Reads a prefix [B, S, D] into a new cache of `size` positions.

    Returns:
      (hidden states [B, S, D], cache).
    """
    cfg, batch = self.config, embeddings.shape[0]
    shape = (cfg.num_layers, batch, size, cfg.num_kv_heads, cfg.head_dim)
    cache = Cache(jnp.zeros(shape), jnp.zeros(shape))
    return self._cached(embeddings, positions, cache, 0)

  def step(
    self, embeddings: Array, positions: Array, cache: Cache, index: Array
  ) -> tuple[Array, Cache]:
    """Reads one more position [B, 1, D] that stands at `index` of the cache.

    Returns:
      (hidden states [B, 1, D], cache).
    """
    return self._cached(embeddings, positions, cache, index)

  def _cached(self, embeddings, positions, cache, index):
    length, size = embeddings.shape[1], cache.keys.shape[2]
    readable = jnp.arange(size) <= index + jnp.arange(length)[:, None]
    x, cache = self.layers(embeddings, cache, positions, readable[None], index)
    return self.final_norm(x), cache

  def __call__(self, tokens: Array) -> Array:
    """Logits [B, S, V] of plain token sequences [B, S] int32."""
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    mask = jnp.ones(tokens.shape, bool)
    return self.logits(self.hidden(self.embed(tokens), positions, mask))
