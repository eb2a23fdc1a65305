"""Sentence encoders of the BERT and XLM-R families in JAX (E5, BGE, MiniLM, ...).

Post-normalized Transformer layers read a text; one vector of them is taken, the first
token's or the mean, and is brought to unit length where the model's files say so
(Devlin et al. 2018, arXiv 1810.04805; Reimers and Gurevych 2019, arXiv 1908.10084).
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from safetensors import safe_open
from tokenizers import Tokenizer

from persoma_tf import model_files

# Few shapes mean few compilations:
_BUCKET = 8  # lengths are padded to a multiple of this
_ROWS = 32  # batches are padded to this number of rows
_POOLINGS = {'pooling_mode_cls_token': 'first', 'pooling_mode_mean_tokens': 'mean'}
_NEEDED = {'num_hidden_layers', 'num_attention_heads', 'max_position_embeddings'}
_EXPECTED = {
  'hidden_act': ('gelu',),
  'position_embedding_type': ('absolute', None),
  'is_decoder': (False, None),
}


@dataclasses.dataclass(frozen=True)
class BertSettings:
  """Describes a model.

  Attributes:
    num_layers: number of layers.
    num_heads: attention heads in a layer.
    epsilon: added to variances.
    first_position: number of the first token's position.
    pooling: 'mean' or 'first', which vector of a text is taken.
    unit_length: whether the vector is brought to unit length.
    max_length: number of tokens that are read of a text, with control tokens.
  """

  num_layers: int
  num_heads: int
  epsilon: float = 1e-12
  first_position: int = 0
  pooling: str = 'mean'
  unit_length: bool = True
  max_length: int = 512


class Bert:
  """Encodes texts; see `persoma_tf.encoders.Encoder`."""

  def __init__(
    self,
    name: str,
    settings: BertSettings,
    tokenizer: Tokenizer,
    weights: Mapping[str, np.ndarray],
    sha256: str,
    prefix: str = '',
  ):
    """Puts the weights on the device.

    Args:
      name: name of the encoder.
      settings: what the model computes.
      tokenizer: tokenizer of the model.
      weights: name of a tensor without the name of the whole model -> array.
      sha256: hex SHA-256 of what decides the vectors.
      prefix: text before every text, such as 'query: '.
    """
    tokenizer.no_padding()
    tokenizer.enable_truncation(settings.max_length)
    tokenizer.encode_special_tokens = True  # '[SEP]' in a title is text
    self.name, self.sha256, self._prefix = name, sha256, prefix
    self._tokenizer, self._weights = tokenizer, jax.device_put(dict(weights))
    self._settings = settings
    self.width = int(weights['embeddings.word_embeddings.weight'].shape[1])

  def encode(self, texts: list[str]) -> np.ndarray:
    """Returns the vectors [n, H] float32 of n texts; long ones are cut."""
    vectors = np.zeros((len(texts), self.width), np.float32)
    texts = [self._prefix + text for text in texts]
    ids = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
    order = np.argsort([len(row) for row in ids], kind='stable')
    for start in range(0, len(order), _ROWS):
      rows = order[start : start + _ROWS]
      length = -(-max(len(ids[row]) for row in rows) // _BUCKET) * _BUCKET
      length = min(length, self._settings.max_length)
      tokens = np.zeros((_ROWS, length), np.int32)
      sizes = np.ones(_ROWS, np.int32)
      for place, row in enumerate(rows):
        tokens[place, : len(ids[row])] = ids[row]
        sizes[place] = len(ids[row])
      made = _forward(self._weights, tokens, sizes, self._settings)
      vectors[rows] = made[: len(rows)]
    return vectors


def load_bert(folder: str, prefix: str = '') -> Bert:
  """Loads an encoder from a Hugging Face folder.

  Args:
    folder: path of a folder with `config.json`, `tokenizer.json` and
      `model.safetensors`; `modules.json` and the folders that it names say which vector
      is taken. Without them it is the mean, not brought to unit length, as in
      sentence-transformers.
    prefix: text before every text.

  Raises:
    ValueError: a file is missing or damaged, or the model is of another family or needs
      what is not computed.
  """
  path = pathlib.Path(folder)
  config = model_files.read_object(path / 'config.json')
  kind = config.get('model_type')
  if kind not in ('bert', 'xlm-roberta', 'roberta'):
    raise ValueError(
      f'{path}/config.json: model_type={kind!r}; expected an encoder of type bert, '
      'xlm-roberta or roberta, or a SavedModel'
    )
  if lacking := _NEEDED - config.keys():
    raise ValueError(f'{path}/config.json: no field {min(lacking)}')
  for field, values in _EXPECTED.items():
    if config.get(field, values[0]) not in values:
      raise ValueError(
        f'{path}/config.json: {field}={config[field]!r}; expected {values[0]!r}'
      )
  file = path / 'tokenizer.json'
  with model_files.reading(file, 'tokenizer'):
    tokenizer = Tokenizer.from_file(str(file))
  first = 0 if kind == 'bert' else config.get('pad_token_id', 1) + 1
  settings = BertSettings(
    num_layers=config['num_hidden_layers'],
    num_heads=config['num_attention_heads'],
    epsilon=config.get('layer_norm_eps', 1e-12),
    first_position=first,
    max_length=_max_length(path, config['max_position_embeddings'] - first),
    **_pooling(path),
  )
  weights, digest = _weights(path / 'model.safetensors')
  digest.update(f'{settings}{prefix}'.encode())
  digest.update(file.read_bytes())
  return Bert(folder, settings, tokenizer, weights, digest.hexdigest(), prefix)


def _weights(file):
  """Returns the tensors by names without that of the whole model, and their digest."""
  end, digest = 'embeddings.word_embeddings.weight', hashlib.sha256()
  with model_files.reading(file, 'safetensors'), safe_open(file, 'flax') as opened:
    words = [name for name in opened.keys() if name.endswith(end)]  # noqa: SIM118
    body = words[0].removesuffix(end)
    names = [name for name in opened.keys() if name.startswith(body)]  # noqa: SIM118
    read = lambda name: np.asarray(opened.get_tensor(name))
    stored = {name.removeprefix(body): read(name) for name in sorted(names)}
  weights = {}
  for name, x in stored.items():
    digest.update(name.encode() + x.tobytes())
    if np.issubdtype(x.dtype, np.integer):  # older folders store the positions
      continue
    weights[name] = x.astype(np.float32)
  return weights, digest


def _max_length(path, longest):
  """Returns the tokens that are read of a text."""
  file = path / 'sentence_bert_config.json'
  own = model_files.read_object(file).get('max_seq_length') if file.exists() else None
  return min(own or longest, longest)


def _pooling(path) -> dict[str, Any]:
  """Returns `pooling` and `unit_length` by modules.json and what it names."""
  if not (path / 'modules.json').exists():
    return {'pooling': 'mean', 'unit_length': False}
  with model_files.reading(path / 'modules.json', 'JSON'):
    modules = json.loads((path / 'modules.json').read_text())
    kinds = {module['type'].rsplit('.', 1)[-1]: module['path'] for module in modules}
  if 'Pooling' not in kinds or kinds.keys() - {'Transformer', 'Pooling', 'Normalize'}:
    raise ValueError(
      f'{path}/modules.json: {sorted(kinds)}; expected Transformer, Pooling and '
      'perhaps Normalize'
    )
  file = path / kinds['Pooling'] / 'config.json'
  chosen = [mode for mode, on in model_files.read_object(file).items() if on is True]
  chosen = [mode for mode in chosen if mode.startswith('pooling_mode')]
  if len(chosen) != 1 or chosen[0] not in _POOLINGS:
    raise ValueError(f'{file}: {chosen}; expected one of {[*_POOLINGS]}')
  return {'pooling': _POOLINGS[chosen[0]], 'unit_length': 'Normalize' in kinds}


@functools.partial(jax.jit, static_argnums=3)
def _forward(
  weights: Mapping[str, Array], tokens: Array, sizes: Array, settings: BertSettings
) -> Array:
  """Returns the vectors [B, H] of a batch.

  Args:
    weights: name of a tensor -> array.
    tokens: [B, S] int32, padded on the right.
    sizes: [B] int32, number of tokens in each row.
    settings: what the model computes.
  """
  length, first = tokens.shape[1], settings.first_position
  mask = jnp.arange(length) < sizes[:, None]
  table = lambda name: weights[f'embeddings.{name}_embeddings.weight']
  x = table('word')[tokens] + table('position')[first : first + length]
  norm = functools.partial(_norm, weights, settings.epsilon)
  x = norm('embeddings.LayerNorm', x + table('token_type')[0])
  for index in range(settings.num_layers):
    x = _layer(weights, norm, settings.num_heads, f'encoder.layer.{index}', x, mask)
  if settings.pooling == 'first':
    made = x[:, 0]
  else:
    made = jnp.sum(x * mask[..., None], 1) / sizes[:, None]
  if settings.unit_length:
    made /= jnp.linalg.norm(made, axis=-1, keepdims=True)
  return made


def _layer(weights, norm, num_heads, name, x, mask):
  dense = functools.partial(_dense, weights)
  heads = lambda y: y.reshape(*y.shape[:2], num_heads, -1)
  query, key, value = (
    heads(dense(f'{name}.attention.self.{part}', x))
    for part in ('query', 'key', 'value')
  )
  scores = jnp.einsum('bqhd,bkhd->bhqk', query, key) * query.shape[-1] ** -0.5
  attention = jax.nn.softmax(jnp.where(mask[:, None, None], scores, -1e30))
  read = jnp.einsum('bhqk,bkhd->bqhd', attention, value).reshape(x.shape)
  read = dense(f'{name}.attention.output.dense', read)
  x = norm(f'{name}.attention.output.LayerNorm', x + read)
  inner = jax.nn.gelu(dense(f'{name}.intermediate.dense', x), approximate=False)
  inner = dense(f'{name}.output.dense', inner)
  return norm(f'{name}.output.LayerNorm', x + inner)


def _dense(weights, name, x):
  return x @ weights[f'{name}.weight'].T + weights[f'{name}.bias']


def _norm(weights, epsilon, name, x):
  mean = jnp.mean(x, -1, keepdims=True)
  variance = jnp.mean((x - mean) ** 2, -1, keepdims=True)
  x = (x - mean) * jax.lax.rsqrt(variance + epsilon)
  return x * weights[f'{name}.weight'] + weights[f'{name}.bias']
