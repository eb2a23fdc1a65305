"""all-MiniLM-L6-v2 in JAX: 6 BERT layers, masked mean of the states, unit length.

Reimers and Gurevych 2019 (arXiv 1908.10084), Wang et al. 2020 (arXiv 2002.10957).
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from persoma_tf import asset_table, assets

_NAME = 'all-MiniLM-L6-v2'
_LAYERS, _HEADS, _EPSILON = 6, 12, 1e-12
_MAX_LENGTH = 256  # tokens, from the settings of the published model
# Few shapes mean few compilations:
_BUCKET = 8  # lengths are padded to a multiple of this
_ROWS = 32  # batches are padded to this number of rows


def load_minilm() -> 'MiniLM':
  """Loads the encoder; downloads its weights if they are not in the cache."""
  folder = assets.path(_NAME)
  tokenizer = Tokenizer.from_file(str(folder / 'tokenizer.json'))
  tokenizer.no_padding()
  tokenizer.enable_truncation(_MAX_LENGTH)
  tokenizer.encode_special_tokens = True  # '[SEP]' in a title is text
  weights = load_file(folder / 'model.safetensors')
  sha256 = asset_table.ASSETS[_NAME].files['model.safetensors'][1]
  return MiniLM(tokenizer, weights, sha256)


class MiniLM:
  """Encodes texts with all-MiniLM-L6-v2; see `persoma_tf.encoders.Encoder`."""

  name = _NAME
  width = 384

  def __init__(
    self, tokenizer: Tokenizer, weights: Mapping[str, np.ndarray], sha256: str
  ):
    """Puts the weights on the device.

    Args:
      tokenizer: tokenizer of the model, without padding.
      weights: tensor name in the model's file -> array.
      sha256: hex SHA-256 of the weights.
    """
    self._tokenizer, self._weights = tokenizer, jax.device_put(dict(weights))
    self.sha256 = sha256

  def encode(self, texts: list[str]) -> np.ndarray:
    """Returns vectors [n, 384] float32 of unit length; cuts texts at 256 tokens."""
    vectors = np.zeros((len(texts), self.width), np.float32)
    ids = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
    order = np.argsort([len(row) for row in ids], kind='stable')
    for start in range(0, len(order), _ROWS):
      rows = order[start : start + _ROWS]
      length = -(-max(len(ids[row]) for row in rows) // _BUCKET) * _BUCKET
      tokens = np.zeros((_ROWS, length), np.int32)
      sizes = np.ones(_ROWS, np.int32)
      for place, row in enumerate(rows):
        tokens[place, : len(ids[row])] = ids[row]
        sizes[place] = len(ids[row])
      vectors[rows] = _forward(self._weights, tokens, sizes)[: len(rows)]
    return vectors


@jax.jit
def _forward(weights: Mapping[str, Array], tokens: Array, sizes: Array) -> Array:
  """Returns the vectors [B, H] of a batch.

  Args:
    weights: tensor name in the model's file -> array.
    tokens: [B, S] int32, padded on the right.
    sizes: [B] int32, number of tokens in each row.
  """
  mask = jnp.arange(tokens.shape[1]) < sizes[:, None]
  table = lambda name: weights[f'embeddings.{name}_embeddings.weight']
  x = table('word')[tokens] + table('position')[: tokens.shape[1]]
  x = _norm(weights, 'embeddings.LayerNorm', x + table('token_type')[0])
  for index in range(_LAYERS):
    x = _layer(weights, f'encoder.layer.{index}', x, mask)
  mean = jnp.sum(x * mask[..., None], 1) / sizes[:, None]
  return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)


def _layer(weights, name, x, mask):
  dense = functools.partial(_dense, weights)
  heads = lambda y: y.reshape(*y.shape[:2], _HEADS, -1)
  query, key, value = (
    heads(dense(f'{name}.attention.self.{part}', x))
    for part in ('query', 'key', 'value')
  )
  scores = jnp.einsum('bqhd,bkhd->bhqk', query, key) * query.shape[-1] ** -0.5
  attention = jax.nn.softmax(jnp.where(mask[:, None, None], scores, -1e30))
  read = jnp.einsum('bhqk,bkhd->bqhd', attention, value).reshape(x.shape)
  read = dense(f'{name}.attention.output.dense', read)
  x = _norm(weights, f'{name}.attention.output.LayerNorm', x + read)
  inner = jax.nn.gelu(dense(f'{name}.intermediate.dense', x), approximate=False)
  inner = dense(f'{name}.output.dense', inner)
  return _norm(weights, f'{name}.output.LayerNorm', x + inner)


def _dense(weights, name, x):
  return x @ weights[f'{name}.weight'].T + weights[f'{name}.bias']


def _norm(weights, name, x):
  mean = jnp.mean(x, -1, keepdims=True)
  variance = jnp.mean((x - mean) ** 2, -1, keepdims=True)
  x = (x - mean) * jax.lax.rsqrt(variance + _EPSILON)
  return x * weights[f'{name}.weight'] + weights[f'{name}.bias']
