"""Decoder-only language model of one configurable layer (Llama, Qwen, Gemma 3, ...).

Each layer has RMSNorm, rotary grouped-query attention and a residual connection, then
RMSNorm, a gated feed-forward network and a residual connection. A final RMSNorm and the
output matrix, often the embedding matrix, follow the layers. `Config` has what differs
between families, of which `persoma_tf.decoders.families` has the readers.

The input are embeddings, not tokens, so that it can contain soft prompts.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from persoma_tf import products
from persoma_tf.decoders import stack
from persoma_tf.decoders.attention import KeysValues, attend, newest, write_cache
from persoma_tf.decoders.decoder_only import DecoderOnly
from persoma_tf.decoders.layers import RMSNorm, some_logits
from persoma_tf.decoders.rotary import Rotation, rotate
from persoma_tf.parameters.lora import Dense

_ACTIVATIONS = {'silu': jax.nn.silu, 'gelu_tanh': nn.gelu}


class LayerKind(NamedTuple):
  """Describes what a layer reads of the tokens before.

  Attributes:
    rotation: how queries and keys tell positions.
    window: number of newest tokens that a layer reads; 0 for all.
  """

  rotation: Rotation
  window: int = 0


@dataclasses.dataclass(frozen=True)
class Config:
  """Describes a model; D = `d_model`, V = `vocab_size`.

  Attributes:
    family: name of the family.
    layers: kind of each layer.
    head_dim: width of an attention head.
    biases: which of 'query', 'key', 'value' and 'out' add a bias.
    query_key_norm: whether the queries and the keys of each head are normalized.
    sandwich_norms: whether attention and feed-forward network are normalized behind
      themselves, too.
    activation: 'silu' or 'gelu_tanh', of the gate.
    attention_scale: factor of the attention scores; None for 1 / sqrt(head_dim).
    embedding_scale: factor of the embeddings of tokens.
    tied: whether the output matrix is the embedding matrix.
    start_token: id of the token before every text; None for none.
  """

  family: str
  vocab_size: int
  d_model: int
  num_heads: int
  num_kv_heads: int
  head_dim: int
  d_ff: int
  layers: tuple[LayerKind, ...]
  norm_epsilon: float = 1e-5
  biases: tuple[str, ...] = ()
  query_key_norm: bool = False
  sandwich_norms: bool = False
  activation: str = 'silu'
  attention_scale: float | None = None
  embedding_scale: float = 1.0
  tied: bool = True
  start_token: int | None = None

  @property
  def num_layers(self) -> int:
    """Returns the number of layers."""
    return len(self.layers)

  @property
  def kinds(self) -> tuple[LayerKind, ...]:
    """Returns the distinct kinds of layers."""
    return tuple(dict.fromkeys(self.layers))


def names_in_file(
  config: Config, matrices: Mapping[str, str], norms: Mapping[str, str]
) -> dict[str, str]:
  """Maps the parameters of a layer to the names of its tensors in a file.

  Args:
    config: configuration of the model.
    matrices: our name -> the file's name of a matrix of a layer.
    norms: our name -> the file's name of a norm of a layer.
  """
  biased = [f'attention/{part}' for part in config.biases]
  return {
    **{f'{ours}/kernel': f'{name}.weight' for ours, name in matrices.items()},
    **{f'{ours}/bias': f'{matrices[ours]}.bias' for ours in biased},
    **{f'{ours}/scale': f'{name}.weight' for ours, name in norms.items()},
  }


class Reading(NamedTuple):
  """Holds what the layers of a kind share when they read tokens.

  Attributes:
    turns: sines and cosines of the positions, [B, S, head_dim / 2] each.
    mask: [B or 1, S, keys] bool, True where a query may read a key.
  """

  turns: tuple[Array, Array]
  mask: Array


class Attention(nn.Module):
  """Computes rotary grouped-query attention."""

  config: Config

  @nn.compact
  def __call__(
    self, x: Array, reading: Reading, cache: KeysValues | None, index: int
  ) -> tuple[Array, KeysValues]:
    """Returns the attention output and the cache.

    Args:
      x: [B, S, D].
      reading: positions and mask.
      cache: cache of this layer, to which x is added; None to read x alone.
      index: position of x in the cache.

    Returns:
      ([B, S, D], cache with x in it).
    """
    cfg = self.config
    heads = (*x.shape[:2], -1, cfg.head_dim)
    dense = lambda size, name: Dense(size, name in cfg.biases, name=name)
    query = dense(cfg.num_heads * cfg.head_dim, 'query')(x).reshape(heads)
    project = dense(cfg.num_kv_heads * cfg.head_dim, 'key')
    key = project(x).reshape(heads)
    value = dense(cfg.num_kv_heads * cfg.head_dim, 'value')(x).reshape(heads)
    if cfg.query_key_norm:
      query = RMSNorm(cfg.norm_epsilon, name='query_norm')(query)
      key = RMSNorm(cfg.norm_epsilon, name='key_norm')(key)
    key, kind = rotate(key, reading.turns), project.operand_type
    seen = KeysValues(key.astype(kind), value.astype(kind))
    if cache is not None:
      seen = write_cache(cache, seen, index)
    scale = cfg.attention_scale or cfg.head_dim**-0.5
    read = attend(rotate(query, reading.turns), seen, reading.mask, scale)
    return dense(cfg.d_model, 'out')(read), seen


class Block(nn.Module):
  """Runs one layer: attention and a gated feed-forward network."""

  config: Config

  @nn.compact
  def __call__(self, x, cache, kind, readings, index):
    """Returns the layer's output [B, S, D] and its cache.

    Args:
      x: [B, S, D].
      cache: cache of this layer, to which x is added; None to read x alone.
      kind: int32 scalar, place of the layer's kind among `Config.kinds`.
      readings: `Reading` of each kind.
      index: position of x in the cache.
    """
    cfg = self.config
    norm = lambda name: RMSNorm(cfg.norm_epsilon, name=name)
    behind = norm if cfg.sandwich_norms else lambda name: lambda x: x
    attended, seen = Attention(cfg, name='attention')(
      norm('attention_norm')(x), _of_kind(kind, readings), cache, index
    )
    x = x + behind('attention_out_norm')(attended)
    inner = norm('mlp_norm')(x)
    gate, up = Dense(cfg.d_ff, name='gate')(inner), Dense(cfg.d_ff, name='up')(inner)
    inner = Dense(cfg.d_model, name='down')(_ACTIVATIONS[cfg.activation](gate) * up)
    x = x + behind('mlp_out_norm')(inner)
    return x, None if cache is None else seen


def _of_kind(kind, readings):
  """Returns the reading of a layer's kind, which scanned layers know when they run."""
  if len(readings) == 1 or isinstance(kind, np.integer):
    return readings[0 if len(readings) == 1 else kind]
  return jax.tree.map(lambda *arrays: jax.lax.select_n(kind, *arrays), *readings)


class CausalLm(DecoderOnly):
  """Implements the decoder protocol (`persoma_tf.decoders`)."""

  config: Config
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
      each=1,
      shared=2,
    )
    self.final_norm = RMSNorm(cfg.norm_epsilon)
    if not cfg.tied:
      self.output = Dense(cfg.vocab_size)

  def embed(self, tokens: Array) -> Array:
    """Returns the embeddings [B, S, D] of token ids [B, S] int32."""
    embedded = self.embedder(tokens).astype(jnp.float32)
    return embedded * self.config.embedding_scale

  def logits(self, hidden: Array) -> Array:
    """Returns the logits [..., V] of hidden states [..., D]."""
    if not self.config.tied:
      return self.output(hidden)
    return products.matmul(hidden, self.embedder.embedding.T)

  def logits_of(self, hidden: Array, tokens: Array) -> Array:
    """Returns the logits [B, M] of states [B, D] for tokens [B, M] or [M] only."""
    if self.config.tied:
      return some_logits(self.embedder.embedding, tokens, hidden)
    return some_logits(self.output.variables['params']['kernel'].T, tokens, hidden)

  def read(self, embeddings, positions, mask, layers, index):
    """Runs all layers; see `DecoderOnly`."""
    kinds = self.config.kinds
    readings = tuple(
      Reading(
        kind.rotation.turns(positions, mask.shape[-1]),
        newest(mask, kind.window) if kind.window else mask,
      )
      for kind in kinds
    )
    each = (np.array([kinds.index(kind) for kind in self.config.layers], np.int32),)
    x, layers = stack.run_layers(self.layers, embeddings, layers, each, readings, index)
    return self.final_norm(x), layers

  def empty(self, batch: int, size: int):
    """Returns an empty cache of `size` positions for `batch` rows."""
    cfg = self.config
    return self.zeros(cfg.num_layers, batch, size, cfg.num_kv_heads, cfg.head_dim)
