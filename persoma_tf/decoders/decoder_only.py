"""The decoder protocol for decoder-only models."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from persoma_tf import products
from persoma_tf.decoders import branches
from persoma_tf.decoders.attention import KeysValues
from persoma_tf.parameters import checkpoints


class Cache(NamedTuple):
  """Holds the keys and values of the tokens that a decoder has read.

  Attributes:
    layers: keys and values of S positions, stacked over the layers; for unrolled layers
      a sequence with one entry per layer, [B, S, kv_heads, head_dim].
    readable: [B, S] bool, True for positions that hold a token.
    index: scalar int32, next position to write.
    length: [B] int32, number of readable positions.
  """

  layers: KeysValues | Sequence[KeysValues]
  readable: Array
  index: Array
  length: Array


def check_heads(config: Any, source: str | os.PathLike) -> None:
  """Checks that the sizes of a model's attention fit together.

  Args:
    config: configuration of a model.
    source: file that it was read from.

  Raises:
    ValueError: a size is no whole number, or the heads cannot be divided so.
  """
  sizes = {
    name: getattr(config, name)
    for name in ('vocab_size', 'd_model', 'd_ff', 'num_heads', 'num_kv_heads')
  }
  if not all(isinstance(size, int) and size > 0 for size in sizes.values()):
    raise ValueError(f'{source}: {sizes}; expected whole numbers')
  if config.num_heads % config.num_kv_heads or config.head_dim % 2:
    raise ValueError(
      f'{source}: num_heads={config.num_heads}, num_kv_heads={config.num_kv_heads} and '
      f'head_dim={config.head_dim}; expected a multiple of num_kv_heads and an even '
      'head_dim'
    )


def check_params(module: 'DecoderOnly', params: Mapping, source: str) -> None:
  """Checks that parameters have the names and shapes that a model's settings say.

  Raises:
    ValueError: a parameter is missing, unknown or of another shape.
  """
  tokens = jnp.zeros((1, 1), jnp.int32)
  expected = jax.eval_shape(module.init, jax.random.key(0), tokens)['params']
  checkpoints.check_same(expected, params, source)


class DecoderOnly(nn.Module):
  """Implements the decoder protocol (`persoma_tf.decoders`) on methods of a subclass.

  A subclass has these methods:

      embed(tokens), logits(hidden) and logits_of(hidden, tokens), as in the protocol
      read(embeddings [B, S, D], positions [B, S], mask [B or 1, S, keys] bool,
           layers, index) -> (hidden [B, S, D], layers)
      empty(batch, size) -> keys and values of zeros, made by `zeros`

  `read` runs all layers. If `layers` is None, the embeddings attend to each other only.
  Otherwise their keys and values are written into the cache `layers` at `index`, and
  the embeddings attend to the cache.

  `persoma_tf.decoders.stack` makes and runs the layers, `unrolled` or scanned. The
  attribute `start_token` is the id of a token to put before every prefix, or None.
  """

  start_token = None

  def zeros(self, layers: int, *shape: int) -> KeysValues | tuple[KeysValues, ...]:
    """Returns an empty cache.

    Args:
      layers: number of layers.
      *shape: shape of the keys and of the values of one layer.
    """
    dtype = self.embedder.embedding.dtype
    empty = lambda *sizes: products.to_bits(jnp.zeros(sizes, dtype))
    if self.unrolled:
      return tuple(KeysValues(empty(*shape), empty(*shape)) for _ in range(layers))
    return KeysValues(empty(layers, *shape), empty(layers, *shape))

  def started(self, prefix: Array, mask: Array) -> tuple[Array, Array]:
    """Returns a prefix and its mask, with the start token first if there is one."""
    if self.start_token is None:
      return prefix, mask
    start = self.embed(jnp.full((len(prefix), 1), self.start_token))
    return (
      jnp.concatenate([start.astype(prefix.dtype), prefix], axis=1),
      jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True),
    )

  def target_hidden(self, prefix: Array, mask: Array, inputs: Array) -> Array:
    """Returns the hidden states [B, L, D] that predict the targets.

    Args:
      prefix: [B, P, D] embeddings.
      mask: [B, P] bool, False for padding.
      inputs: [B, L] int32, targets shifted right after a start token.
    """
    prefix, mask = self.started(prefix, mask)
    batch, size = mask.shape
    length = jnp.sum(mask, axis=1)
    later = jnp.arange(inputs.shape[1] - 1)
    # The start token of the inputs is left out: the last prefix position predicts the
    # first target.
    sequence = jnp.concatenate([prefix, self.embed(inputs[:, 1:])], axis=1)
    positions = jnp.concatenate(
      [jnp.cumsum(mask, axis=1) - 1, length[:, None] + later], axis=1
    )
    readable = jnp.concatenate([mask, jnp.ones((batch, len(later)), bool)], axis=1)
    causal = jnp.tril(jnp.ones((sequence.shape[1],) * 2, bool))
    hidden, _ = self.read(sequence, positions, causal & readable[:, None], None, 0)
    return jnp.concatenate([_last(hidden, mask)[:, None], hidden[:, size:]], axis=1)

  def prefill(
    self,
    prefix: Array,
    mask: Array,
    size: int,
    shared: tuple[Array, Array] | None = None,
  ) -> tuple[Array, Cache]:
    """Reads a prefix into a new cache.

    Args:
      prefix: [B, P, D] embeddings.
      mask: [B, P] bool, False for padding.
      size: number of tokens that the cache has room for after the prefix.
      shared: [S, D] embeddings before the prefix of every row, which are read once, and
        their mask [S] bool.

    Returns:
      (hidden state [B, D] that predicts the first token, cache).
    """
    if shared is None:
      prefix, mask = self.started(prefix, mask)
      shared, known = prefix[0, :0], mask[0, :0]
    else:
      shared, known = (x[0] for x in self.started(*(x[None] for x in shared)))
    (batch, width), before = mask.shape, len(shared)
    total = before + width
    layers = self._common(shared, known, batch, total)
    readable = jnp.concatenate([jnp.tile(known, (batch, 1)), mask], axis=1)
    causal = jnp.arange(total) <= before + jnp.arange(width)[:, None]
    hidden, layers = self.read(
      prefix,
      jnp.sum(known) + jnp.cumsum(mask, axis=1) - 1,
      causal & readable[:, None],
      layers,
      before,
    )
    layers = branches.with_room(layers, size)
    readable = jnp.pad(readable, ((0, 0), (0, size)))
    length = jnp.sum(known) + jnp.sum(mask, axis=1)
    return _last(hidden, mask), Cache(layers, readable, jnp.int32(total), length)

  def _common(self, shared: Array, known: Array, batch: int, size: int):
    """Returns a cache of `size` positions that starts with `shared` [S, D].

    Args:
      shared: embeddings.
      known: [S] bool, False for padding.
      batch: number of rows of the cache.
      size: number of positions of the cache.
    """
    if not len(shared):
      return self.empty(batch, size)
    causal = jnp.arange(size) <= jnp.arange(len(shared))[:, None]
    causal &= jnp.pad(known, (0, size - len(known)))
    places = jnp.cumsum(known) - 1
    empty = self.empty(1, size)
    _, layers = self.read(shared[None], places[None], causal[None], empty, 0)
    # The batch is the fourth axis from the end, with or without an axis of layers.
    repeat = lambda x: jnp.repeat(x, batch, axis=x.ndim - 4)
    return jax.tree.map(repeat, layers)

  def step(self, tokens: Array, cache: Cache) -> tuple[Array, Cache]:
    """Reads the next token of each row, [B] int32.

    Returns:
      (hidden state [B, D] that predicts the token after it, cache).
    """
    hidden, cache = self.read_ahead(tokens[:, None], cache)
    return hidden[:, 0], keep_read(cache, 1, jnp.ones_like(tokens))

  def read_ahead(self, tokens: Array, cache: Cache) -> tuple[Array, Cache]:
    """Reads tokens [B, M] int32 that may be no part of the answers.

    Returns:
      (hidden states [B, M, D] that predict the token after each, cache); the cache
      holds them, but nothing reads them there before `keep_read`.
    """
    behind = jnp.arange(cache.readable.shape[1]) - cache.index
    places = jnp.arange(tokens.shape[1])
    own = (behind >= 0) & (behind <= places[:, None])
    hidden, layers = self.read(
      self.embed(tokens),
      cache.length[:, None] + places,
      cache.readable[:, None] | own,
      cache.layers,
      cache.index,
    )
    return hidden, cache._replace(layers=layers, index=cache.index + len(places))

  def branch(self, tokens: Array, cache: Cache) -> Array:
    """Returns the states [B, C, M, D] behind tokens [B, C, M] of C branches."""
    places, own = branches.keep_apart(*tokens.shape[1:])
    hidden, _ = self.read(
      self.embed(tokens.reshape(len(tokens), -1)),
      cache.length[:, None] + places,
      branches.mask_of(cache.readable, own),
      branches.with_room(cache.layers, len(places)),
      cache.readable.shape[1],
    )
    return hidden.reshape(*tokens.shape, -1)

  def __call__(self, tokens: Array) -> Array:
    """Returns the logits [B, S, V] of tokens [B, S] int32; adds no start token."""
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    causal = jnp.tril(jnp.ones((tokens.shape[1],) * 2, bool))
    hidden, _ = self.read(self.embed(tokens), positions, causal[None], None, 0)
    return self.logits(hidden)


def keep_read(cache: Cache, size: int, counts: Array) -> Cache:
  """Returns a cache that keeps the first of the tokens that were read ahead.

  Args:
    cache: cache of B rows.
    size: number of tokens that `read_ahead` has just read in each row.
    counts: [B] int32, number of them to keep.
  """
  place = jnp.arange(cache.readable.shape[1]) - (cache.index - size)
  kept = (place >= 0) & (place < counts[:, None])
  return cache._replace(
    readable=cache.readable | kept, length=cache.length + counts.astype(jnp.int32)
  )


def _last(hidden: Array, mask: Array) -> Array:
  """Returns the hidden state [B, D] of the last position in each row of `mask`."""
  last = jnp.max(jnp.where(mask, jnp.arange(mask.shape[1]), 0), axis=1)
  return jnp.take_along_axis(hidden, last[:, None, None], axis=1)[:, 0]
