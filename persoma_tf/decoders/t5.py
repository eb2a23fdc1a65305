"""Encoder-decoder language model T5 (Raffel et al. 2020, arXiv 1910.10683).

Version 1.0 has ReLU networks and computes logits with the embedding matrix. Version
1.1, which includes Flan-T5, has gated GELU networks and a separate output matrix. The
encoder reads the prefix in both directions. The decoder writes the answer after a
start token of id 0 and attends to the encoder's states in every layer. Attention
scores are not scaled. A bias that depends on the distance of two positions is added to
the scores; all layers of a stack share it.

Parameters have the names and shapes of T5X (`t5x.examples.t5.network`), so that T5X
checkpoints can be loaded.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from persoma_tf import products
from persoma_tf.decoders import branches
from persoma_tf.decoders.attention import KeysValues
from persoma_tf.decoders.layers import RMSNorm, some_logits
from persoma_tf.decoders.t5_layers import (
  DecoderLayer,
  EncoderLayer,
  RelativeBias,
  T5Config,
)
from persoma_tf.parameters.lora import Dense


def layout(config: T5Config) -> dict:
  """Returns the parameter tree of a model, with shapes instead of arrays."""
  token = jnp.zeros((1, 1), jnp.int32)
  return jax.eval_shape(T5(config).init, jax.random.key(0), token, token)['params']


class T5Cache(NamedTuple):
  """Holds the keys and values that the decoder attends to.

  Attributes:
    written: keys and values of the answer, [layers, B, S, heads, head_dim]; None if a
      whole answer is read at once and its keys and values are not stored.
    prefix: keys and values of the encoder's states, [layers, B, P, heads, head_dim].
    mask: [B, P] bool, False for padding of the prefix.
    index: scalar int32, next position of the answer to write.
  """

  written: KeysValues | None
  prefix: KeysValues
  mask: Array
  index: Array


class T5Encoder(nn.Module):
  """Encodes a prefix."""

  config: T5Config
  remat: bool = False

  def setup(self):
    """Makes the submodules."""
    cfg = self.config
    layer = nn.remat(EncoderLayer) if self.remat else EncoderLayer
    self.relpos_bias = RelativeBias(cfg, bidirectional=True)
    self.layers = [layer(cfg) for _ in range(cfg.num_encoder_layers)]
    self.encoder_norm = RMSNorm(cfg.norm_epsilon)

  def __call__(self, prefix: Array, mask: Array) -> Array:
    """Returns the states [B, P, D] of a prefix [B, P, D] with mask [B, P] bool."""
    # Padding is not counted, so it does not change the distances.
    positions = jnp.cumsum(mask, axis=1) - 1
    bias = self.relpos_bias(positions, positions)
    x = prefix
    for layer in self.layers:
      x = layer(x, mask[:, None], bias)
    return self.encoder_norm(x)


class T5Decoder(nn.Module):
  """Reads the answer so far and predicts the next token."""

  config: T5Config
  remat: bool = False

  def setup(self):
    """Makes the submodules."""
    cfg = self.config
    layer = nn.remat(DecoderLayer) if self.remat else DecoderLayer
    self.relpos_bias = RelativeBias(cfg, bidirectional=False)
    self.layers = [layer(cfg) for _ in range(cfg.num_decoder_layers)]
    self.decoder_norm = RMSNorm(cfg.norm_epsilon)
    if not cfg.tied:
      self.logits_dense = Dense(cfg.vocab_size)

  def read_prefix(self, encoded: Array) -> KeysValues:
    """Returns the keys and values of encoder states [B, P, D] for all layers."""
    return _stack([layer.read_prefix(encoded) for layer in self.layers])

  def __call__(self, x: Array, cache: T5Cache) -> tuple[Array, T5Cache]:
    """Runs all layers.

    Args:
      x: [B, S, D] embeddings of the next S tokens of the answer.
      cache: cache of the prefix and of the answer before x.

    Returns:
      (hidden states [B, S, D], cache with x in it).
    """
    past, length = cache.written, x.shape[1]
    queries = cache.index + jnp.arange(length)
    keys = jnp.arange(length if past is None else past.keys.shape[2])
    return self._run(x, cache, queries, keys, (keys <= queries[:, None])[None])

  def branch(self, x: Array, cache: T5Cache, number: int) -> Array:
    """Returns the hidden states [B, S, D] of `number` branches of the answer."""
    size = cache.written.keys.shape[2]
    places, own = branches.keep_apart(number, x.shape[1] // number)
    queries, before = cache.index + places, jnp.arange(size)
    room = branches.with_room(cache.written, len(places))
    return self._run(
      x,
      cache._replace(written=room, index=size),
      queries,
      jnp.concatenate([before, queries]),
      branches.mask_of((before < cache.index)[None], own),
    )[0]

  def _run(self, x, cache, queries, keys, mask):
    """Runs all layers on x at positions [S], which may read keys at positions [K].

    `mask` [1, S, K] bool says which of them; `cache.index` is where x is written.
    """
    past = cache.written
    bias = self.relpos_bias(queries[None], keys[None])
    written = []
    for number, layer in enumerate(self.layers):
      prefix, own = jax.tree.map(lambda x, i=number: x[i], (cache.prefix, past))
      x, seen = layer(x, prefix, cache.mask, own, cache.index, mask, bias)
      written.append(seen)
    kept = None if past is None else _stack(written)
    cache = cache._replace(written=kept, index=cache.index + x.shape[1])
    return self.decoder_norm(x), cache

  def logits(self, hidden: Array) -> Array:
    """Logits of a model with an output matrix of its own."""
    return self.logits_dense(hidden)

  def output_kernel(self) -> Array:
    """Returns the output matrix [D, V]."""
    return self.logits_dense.variables['params']['kernel']


class T5(nn.Module):
  """Implements the decoder protocol (`persoma_tf.decoders`) for T5."""

  config: T5Config
  remat: bool = False

  def setup(self):
    """Makes the submodules."""
    cfg = self.config
    self.token_embedder = nn.Embed(
      cfg.vocab_size, cfg.d_model, embedding_init=nn.initializers.normal(1.0)
    )
    self.encoder = T5Encoder(cfg, self.remat)
    self.decoder = T5Decoder(cfg, self.remat)

  def embed(self, tokens: Array) -> Array:
    """Returns the embeddings [B, S, D] of token ids [B, S] int32."""
    return self.token_embedder(tokens).astype(jnp.float32)

  def logits(self, hidden: Array) -> Array:
    """Returns the logits [..., V] of hidden states [..., D]."""
    if self.config.tied:
      hidden = hidden * self.config.d_model**-0.5
      return products.matmul(hidden, self.token_embedder.embedding.T)
    return self.decoder.logits(hidden)

  def logits_of(self, hidden: Array, tokens: Array) -> Array:
    """Returns the logits [B, M] of states [B, D] for tokens [B, M] or [M] only."""
    if self.config.tied:
      hidden = hidden * self.config.d_model**-0.5
      return some_logits(self.token_embedder.embedding, tokens, hidden)
    return some_logits(self.decoder.output_kernel().T, tokens, hidden)

  def target_hidden(self, prefix: Array, mask: Array, inputs: Array) -> Array:
    """Returns the hidden states [B, L, D] that predict the targets.

    Args:
      prefix: [B, P, D] embeddings.
      mask: [B, P] bool, False for padding.
      inputs: [B, L] int32, targets shifted right after a start token.
    """
    return self.decoder(self.embed(inputs), self._read_prefix(prefix, mask))[0]

  def prefill(self, prefix: Array, mask: Array, size: int) -> tuple[Array, T5Cache]:
    """Reads a prefix into a new cache.

    Args:
      prefix: [B, P, D] embeddings.
      mask: [B, P] bool, False for padding.
      size: maximum number of tokens of the answer.

    Returns:
      (hidden state [B, D] that predicts the first token, cache).
    """
    cache = self._read_prefix(prefix, mask)
    layers, batch, _, *head = cache.prefix.keys.shape
    # One more position for the start token.
    empty = jnp.zeros((layers, batch, size + 1, *head), cache.prefix.keys.dtype)
    start = jnp.zeros(batch, jnp.int32)
    return self.step(start, cache._replace(written=KeysValues(empty, empty)))

  def step(self, tokens: Array, cache: T5Cache) -> tuple[Array, T5Cache]:
    """Reads the next token of each row, [B] int32.

    Returns:
      (hidden state [B, D] that predicts the token after it, cache).
    """
    hidden, cache = self.decoder(self.embed(tokens[:, None]), cache)
    return hidden[:, 0], cache

  def branch(self, tokens: Array, cache: T5Cache) -> Array:
    """Returns the states [B, C, M, D] behind tokens [B, C, M] of C branches."""
    rows, number, _ = tokens.shape
    hidden = self.decoder.branch(self.embed(tokens.reshape(rows, -1)), cache, number)
    return hidden.reshape(*tokens.shape, -1)

  def __call__(self, tokens: Array, inputs: Array) -> Array:
    """Returns the logits [B, L, V] of an answer.

    Args:
      tokens: [B, P] int32 tokens of the prefix, 0 for padding.
      inputs: [B, L] int32, targets shifted right after a start token.
    """
    prefix, mask = self.embed(tokens), tokens > 0
    return self.logits(self.target_hidden(prefix, mask, inputs))

  def _read_prefix(self, prefix: Array, mask: Array) -> T5Cache:
    """Returns a cache that holds a prefix and has no room for an answer."""
    read = self.decoder.read_prefix(self.encoder(prefix, mask))
    return T5Cache(None, read, mask, jnp.int32(0))


def _stack(layers: list[KeysValues]) -> KeysValues:
  return KeysValues(*map(jnp.stack, zip(*layers, strict=True)))
