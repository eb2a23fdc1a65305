"""Encoder-decoder language model T5 (Raffel et al. 2020, arXiv 1910.10683).

Version 1.0 has a ReLU between two matrices and takes the embedding matrix for its
logits; version 1.1, which Flan-T5 is, has a gated GELU and an output matrix of its
own. The prefix goes into the encoder, which reads it in both directions; the decoder
writes the answer behind a start token of id 0 and reads the encoder's states in every
layer. Attention scores are not scaled and carry a bias that depends on how far apart
two positions are, the same in all layers of a stack.

Parameters have the names and shapes of T5X (`t5x.examples.t5.network`), so that its
checkpoints are ours.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from persoma_tf.decoders.decoder_only import KeysValues, some_logits
from persoma_tf.decoders.layers import RMSNorm
from persoma_tf.decoders.t5_layers import (
  DecoderLayer,
  EncoderLayer,
  RelativeBias,
  T5Config,
)
from persoma_tf.parameters.lora import Dense


def layout(config: T5Config) -> dict:
  """The parameter tree of a model, shapes in the place of arrays."""
  token = jnp.zeros((1, 1), jnp.int32)
  return jax.eval_shape(T5(config).init, jax.random.key(0), token, token)['params']


class T5Cache(NamedTuple):
  """What has been read so far.

  Attributes:
    written: the decoder's own keys and values, [layers, B, S, heads, head_dim]; None
      where a whole answer is read at once and nothing is kept.
    prefix: those of the encoder's states, [layers, B, P, heads, head_dim].
    mask: [B, P] bool, where the prefix holds something.
    index: scalar int32, the position that is written next.
  """

  written: KeysValues | None
  prefix: KeysValues
  mask: Array
  index: Array


class Encoder(nn.Module):
  """Reads a prefix."""

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
    """States [B, P, D] of a prefix [B, P, D] with mask [B, P] bool."""
    # Counted without padding, which then changes no distance.
    positions = jnp.cumsum(mask, axis=1) - 1
    bias = self.relpos_bias(positions, positions)
    x = prefix
    for layer in self.layers:
      x = layer(x, mask[:, None], bias)
    return self.encoder_norm(x)


class Decoder(nn.Module):
  """Writes an answer."""

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
    """Keys and values of all layers, [layers, B, P, heads, head_dim]."""
    return _stack([layer.read_prefix(encoded) for layer in self.layers])

  def __call__(self, x: Array, cache: T5Cache) -> tuple[Array, T5Cache]:
    """Runs the stack.

    Args:
      x: [B, S, D] embeddings.
      cache: what stands before them.

    Returns:
      ([B, S, D], the cache with x in it).
    """
    past, length = cache.written, x.shape[1]
    queries = cache.index + jnp.arange(length)
    keys = jnp.arange(length if past is None else past.keys.shape[2])
    mask = (keys <= queries[:, None])[None]
    bias = self.relpos_bias(queries[None], keys[None])
    written = []
    for number, layer in enumerate(self.layers):
      prefix, own = jax.tree.map(lambda x, i=number: x[i], (cache.prefix, past))
      x, seen = layer(x, prefix, cache.mask, own, cache.index, mask, bias)
      written.append(seen)
    kept = None if past is None else _stack(written)
    cache = cache._replace(written=kept, index=cache.index + length)
    return self.decoder_norm(x), cache

  def logits(self, hidden: Array) -> Array:
    """Logits of a model with an output matrix of its own."""
    return self.logits_dense(hidden)

  def output_kernel(self) -> Array:
    """The output matrix [D, V]."""
    return self.logits_dense.variables['params']['kernel']


class T5(nn.Module):
  """The decoder protocol: `embed`, `logits`, `target_hidden`, `prefill`, `step`."""

  config: T5Config
  remat: bool = False

  def setup(self):
    """Makes the submodules."""
    cfg = self.config
    self.token_embedder = nn.Embed(
      cfg.vocab_size, cfg.d_model, embedding_init=nn.initializers.normal(1.0)
    )
    self.encoder = Encoder(cfg, self.remat)
    self.decoder = Decoder(cfg, self.remat)

  def embed(self, tokens: Array) -> Array:
    """Token embeddings [B, S, D] of ids [B, S] int32."""
    return self.token_embedder(tokens)

  def logits(self, hidden: Array) -> Array:
    """Logits [..., V] of hidden states [..., D]."""
    if self.config.tied:
      return self.token_embedder.attend(hidden * self.config.d_model**-0.5)
    return self.decoder.logits(hidden)

  def logits_of(self, hidden: Array, tokens: Array) -> Array:
    """Logits [B, M] of some tokens a row; see `persoma_tf.decoders`."""
    if self.config.tied:
      hidden = hidden * self.config.d_model**-0.5
      return some_logits(self.token_embedder.embedding, tokens, hidden)
    return some_logits(self.decoder.output_kernel().T, tokens, hidden)

  def target_hidden(self, prefix: Array, mask: Array, inputs: Array) -> Array:
    """Hidden states [B, L, D] that predict the targets; see `persoma_tf.decoders`."""
    return self.decoder(self.embed(inputs), self._read_prefix(prefix, mask))[0]

  def prefill(self, prefix: Array, mask: Array, size: int) -> tuple[Array, T5Cache]:
    """Reads a prefix into a new cache; see `persoma_tf.decoders`."""
    cache = self._read_prefix(prefix, mask)
    layers, batch, _, *head = cache.prefix.keys.shape
    # The start token takes a place too.
    empty = jnp.zeros((layers, batch, size + 1, *head), cache.prefix.keys.dtype)
    start = jnp.zeros(batch, jnp.int32)
    return self.step(start, cache._replace(written=KeysValues(empty, empty)))

  def step(self, tokens: Array, cache: T5Cache) -> tuple[Array, T5Cache]:
    """Reads one more token a row; see `persoma_tf.decoders`."""
    hidden, cache = self.decoder(self.embed(tokens[:, None]), cache)
    return hidden[:, 0], cache

  def __call__(self, tokens: Array, inputs: Array) -> Array:
    """Logits [B, L, V] behind tokens [B, P] int32, 0 where there is padding."""
    prefix, mask = self.embed(tokens), tokens > 0
    return self.logits(self.target_hidden(prefix, mask, inputs))

  def _read_prefix(self, prefix: Array, mask: Array) -> T5Cache:
    """A cache that holds a prefix and has no room for an answer."""
    read = self.decoder.read_prefix(self.encoder(prefix, mask))
    return T5Cache(None, read, mask, jnp.int32(0))


def _stack(layers: list[KeysValues]) -> KeysValues:
  return KeysValues(*map(jnp.stack, zip(*layers, strict=True)))
