"""Attention with a cache of keys and values."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from persoma_tf import products


class KeysValues(NamedTuple):
  """Holds the keys and values of one layer or of all layers.

  Attributes:
    keys: [layers, B, S, kv_heads, head_dim], in the type of the operands of products;
      without the first axis for one layer. The cache of a decoder-only model has the
      bits of bfloat16 as uint16.
    values: array of the same shape and dtype.
  """

  keys: Array
  values: Array


def attend(query: Array, seen: KeysValues, mask: Array, scale: float) -> Array:
  """Computes grouped-query attention: several query heads share a key-value head.

  Args:
    query: [B, S, heads, head_dim].
    seen: keys and values [B, keys, kv_heads, head_dim] of one layer.
    mask: [B or 1, S, keys] bool, True where a query may read a key.
    scale: factor of the attention scores.

  Returns:
    [B, S, heads * head_dim].
  """
  batch, length, heads, width = query.shape
  kv_heads = seen.keys.shape[2]
  query = query.reshape(batch, length, kv_heads, heads // kv_heads, width)
  weigh = lambda x: jax.nn.softmax(jnp.where(mask[:, None, None], x * scale, -1e30))
  if length == 1 and jax.default_backend() == 'cpu':
    # One small product per row and head is slow (docs/speed.md). This one rounds
    # neither query nor weights.
    keys = products.as_float32(seen.keys.transpose(0, 2, 3, 1))[:, :, None]
    values = products.as_float32(seen.values.transpose(0, 2, 1, 3))[:, :, None]
    scores = jnp.sum(query[:, 0, ..., None] * keys, axis=3)
    read = jnp.sum(weigh(scores[..., None, :])[:, :, :, 0, :, None] * values, axis=3)
  else:
    keys, values = map(products.from_bits, seen)
    weights = weigh(products.einsum('bqhgd,bkhd->bhgqk', query, keys))
    read = products.einsum('bhgqk,bkhd->bqhgd', weights, values)
  return read.reshape(batch, length, heads * width)


def write_cache(cache: KeysValues, new: KeysValues, index: Array) -> KeysValues:
  """Returns one layer's cache with `new` [B, S, kv_heads, head_dim] at `index`."""
  update = jax.lax.dynamic_update_slice_in_dim
  new = map(products.to_bits if cache.keys.dtype == jnp.uint16 else jnp.asarray, new)
  return KeysValues(
    *(update(old, x, index, 1) for old, x in zip(cache, new, strict=True))
  )


def newest(mask: Array, size: int) -> Array:
  """Limits a causal mask to a sliding window of the newest keys.

  Args:
    mask: [B or 1, S, keys] bool, True where a query may read a key. Masked keys do not
      count towards the window.
    size: number of keys in the window, including the query's own.

  Returns:
    [B or 1, S, keys] bool.
  """
  return mask & (jnp.cumsum(mask, axis=-1) > jnp.sum(mask, -1, keepdims=True) - size)
