"""What all decoder-only language models do alike with a prefix and its continuation."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array


class KeysValues(NamedTuple):
  """Keys and values, [layers, B, S, kv_heads, head_dim] float32, or of one layer."""

  keys: Array
  values: Array


class Cache(NamedTuple):
  """What has been read so far.

  Attributes:
    layers: keys and values of the S positions, stacked or, where the layers run one
      after the other, a sequence with those of each, [B, S, kv_heads, head_dim].
    readable: [B, S] bool, positions that hold something.
    index: scalar int32, the position that is written next.
    length: [B] int32, number of readable positions.
  """

  layers: KeysValues | Sequence[KeysValues]
  readable: Array
  index: Array
  length: Array


class DecoderOnly(nn.Module):
  """The decoder protocol (`persoma_tf.decoders`) on the methods of a subclass.

      embed(tokens), logits(hidden) and logits_of(hidden, tokens), as in the protocol
      read(embeddings [B, S, D], positions [B, S], mask [B or 1, S, keys] bool,
           layers, index) -> (hidden [B, S, D], layers)
      empty(batch, size) -> keys and values of zeros, as `zeros` makes them

  `read` runs the whole stack. It reads the embeddings alone where `layers` is None,
  and else writes their keys and values at `index` and reads from there.

  Its layers, made and run by `persoma_tf.decoders.stack`, are `unrolled` or scanned.
  A model that was trained behind a start token names it; it is put before every prefix.
  """

  start_token = None

  def zeros(self, layers: int, *shape: int) -> KeysValues | tuple[KeysValues, ...]:
    """An empty cache of so many layers, each of this shape."""
    dtype = self.embedder.embedding.dtype
    if self.unrolled:
      one = lambda: KeysValues(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))
      return tuple(one() for _ in range(layers))
    shape = (layers, *shape)
    return KeysValues(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))

  def _started(self, prefix: Array, mask: Array) -> tuple[Array, Array]:
    """A prefix and its mask behind the start token, if the model has one."""
    if self.start_token is None:
      return prefix, mask
    start = self.embed(jnp.full((len(prefix), 1), self.start_token))
    return (
      jnp.concatenate([start.astype(prefix.dtype), prefix], axis=1),
      jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True),
    )

  def target_hidden(self, prefix: Array, mask: Array, inputs: Array) -> Array:
    """Hidden states [B, L, D] that predict the targets; see `persoma_tf.decoders`."""
    prefix, mask = self._started(prefix, mask)
    batch, size = mask.shape
    length = jnp.sum(mask, axis=1)
    later = jnp.arange(inputs.shape[1] - 1)
    # The start token is not read: the end of the prefix predicts the first target.
    sequence = jnp.concatenate([prefix, self.embed(inputs[:, 1:])], axis=1)
    positions = jnp.concatenate(
      [jnp.cumsum(mask, axis=1) - 1, length[:, None] + later], axis=1
    )
    readable = jnp.concatenate([mask, jnp.ones((batch, len(later)), bool)], axis=1)
    causal = jnp.tril(jnp.ones((sequence.shape[1],) * 2, bool))
    hidden, _ = self.read(sequence, positions, causal & readable[:, None], None, 0)
    return jnp.concatenate([_last(hidden, mask)[:, None], hidden[:, size:]], axis=1)

  def prefill(
    self, prefix: Array, mask: Array, size: int, shared: Array | None = None
  ) -> tuple[Array, Cache]:
    """Reads a prefix into a new cache; see `persoma_tf.decoders`.

    `shared`, embeddings [S, D], stands before the prefix of every row and is read once.
    """
    if shared is None:
      prefix, mask = self._started(prefix, mask)
      shared = prefix[0, :0]
    else:
      shared, _ = self._started(shared[None], jnp.ones((1, len(shared)), bool))
      shared = shared[0]
    (batch, width), before = mask.shape, len(shared)
    total = before + width + size
    layers = self._common(shared, batch, total)
    readable = jnp.pad(mask, ((0, 0), (0, size)))
    readable = jnp.pad(readable, ((0, 0), (before, 0)), constant_values=True)
    causal = jnp.arange(total) <= before + jnp.arange(width)[:, None]
    hidden, layers = self.read(
      prefix,
      before + jnp.cumsum(mask, axis=1) - 1,
      causal & readable[:, None],
      layers,
      before,
    )
    length = before + jnp.sum(mask, axis=1)
    index = jnp.int32(before + width)
    return _last(hidden, mask), Cache(layers, readable, index, length)

  def _common(self, shared: Array, batch: int, size: int):
    """Keys and values of `size` positions, the first those of embeddings [S, D]."""
    if not len(shared):
      return self.empty(batch, size)
    places = jnp.arange(len(shared))
    causal = (jnp.arange(size) <= places[:, None])[None]
    _, layers = self.read(shared[None], places[None], causal, self.empty(1, size), 0)
    # Of one layer, or of all in a stack.
    wide = lambda x: jnp.repeat(x, batch, axis=x.ndim - 4)
    return jax.tree.map(wide, layers)

  def step(self, tokens: Array, cache: Cache) -> tuple[Array, Cache]:
    """Reads one more token a row; see `persoma_tf.decoders`."""
    readable = cache.readable.at[:, cache.index].set(True)
    hidden, layers = self.read(
      self.embed(tokens[:, None]),
      cache.length[:, None],
      readable[:, None],
      cache.layers,
      cache.index,
    )
    return hidden[:, 0], Cache(layers, readable, cache.index + 1, cache.length + 1)

  def __call__(self, tokens: Array) -> Array:
    """Logits [B, S, V] of token sequences [B, S] int32, just as they are."""
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    causal = jnp.tril(jnp.ones((tokens.shape[1],) * 2, bool))
    hidden, _ = self.read(self.embed(tokens), positions, causal[None], None, 0)
    return self.logits(hidden)


def _last(hidden: Array, mask: Array) -> Array:
  """Hidden states [B, D] of the last positions that `mask` [B, P] has."""
  last = jnp.max(jnp.where(mask, jnp.arange(mask.shape[1]), 0), axis=1)
  return jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0]


def some_logits(table: Array, tokens: Array, hidden: Array) -> Array:
  """Logits [B, M] of states [B, D] for tokens [B, M] of an embedding table [V, D]."""
  return jnp.einsum('bmd,bd->bm', table[tokens], hidden)


def attend(query: Array, seen: KeysValues, mask: Array, scale: float) -> Array:
  """Grouped-query attention; each key-value head serves several query heads.

  Args:
    query: [B, S, heads, head_dim].
    seen: keys and values [B, keys, kv_heads, head_dim] of one layer.
    mask: [B or 1, S, keys] bool, True where a query may read a key.
    scale: of the scores.

  Returns:
    [B, S, heads * head_dim].
  """
  batch, length, heads, width = query.shape
  kv_heads = seen.keys.shape[2]
  query = query.reshape(batch, length, kv_heads, heads // kv_heads, width)
  scores = jnp.einsum(
    'bqhgd,bkhd->bhgqk', query, seen.keys, preferred_element_type=jnp.float32
  )
  weights = jax.nn.softmax(jnp.where(mask[:, None, None], scores * scale, -1e30))
  weights = weights.astype(query.dtype)
  read = jnp.einsum('bhgqk,bkhd->bqhgd', weights, seen.values)
  return read.reshape(batch, length, heads * width)


def write_cache(cache: KeysValues, new: KeysValues, index: Array) -> KeysValues:
  """One layer's cache with `new` [B, S, kv_heads, head_dim] at `index`."""
  update = jax.lax.dynamic_update_slice_in_dim
  return KeysValues(
    *(update(old, x, index, 1) for old, x in zip(cache, new, strict=True))
  )


def newest(mask: Array, size: int) -> Array:
  """Keeps of a causal mask what lies in a sliding window.

  Args:
    mask: [B or 1, S, keys] bool, True where a query may read a key. Keys that no query
      may read take no place in the window.
    size: how many keys a query reads at most, the newest, its own included.

  Returns:
    [B or 1, S, keys] bool.
  """
  return mask & (jnp.cumsum(mask, axis=-1) > jnp.sum(mask, -1, keepdims=True) - size)
