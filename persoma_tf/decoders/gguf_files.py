"""Reads GGUF files of architecture llama or gemma3, dequantized to float32."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gguf
import numpy as np
from flax import traverse_util

from persoma_tf.decoders import start_tokens
from persoma_tf.decoders.gemma import GemmaConfig, every_sixth_global
from persoma_tf.decoders.llama import LlamaConfig

# Our name -> GGUF's name of a tensor of a layer. GGUF stores matrices as [out, in].
_MATRICES = {
  'attention/query': 'attn_q',
  'attention/key': 'attn_k',
  'attention/value': 'attn_v',
  'attention/out': 'attn_output',
  'gate': 'ffn_gate',
  'up': 'ffn_up',
  'down': 'ffn_down',
}
_NORMS = {'attention_norm': 'attn_norm', 'mlp_norm': 'ffn_norm'}
_GEMMA_NORMS = {
  'attention/query_norm': 'attn_q_norm',
  'attention/key_norm': 'attn_k_norm',
  'attention_out_norm': 'post_attention_norm',
  'mlp_out_norm': 'post_ffw_norm',
}


class _Architecture(NamedTuple):
  """Describes how the file of one architecture is read.

  Attributes:
    config: function (meta, tensors) -> configuration. `meta` returns the value of a
      metadata key, with or without the name of the architecture as its first part, or
      a default.
    norms: our name -> GGUF's name of a norm of a layer.
    heads: function from a configuration to {GGUF's name of a matrix: number of heads},
      for the matrices with interleaved rotary pairs.
    optional: names of the tensors that a file may lack.
  """

  config: Callable
  norms: Mapping[str, str]
  heads: Callable
  optional: frozenset[str] = frozenset()


def _llama(meta, tensors):
  return LlamaConfig(
    vocab_size=int(tensors['token_embd.weight'].shape[1]),
    num_layers=meta('block_count'),
    start_token=start_tokens.of_gguf(meta),
    d_model=meta('embedding_length'),
    num_heads=meta('attention.head_count'),
    num_kv_heads=meta('attention.head_count_kv'),
    d_ff=meta('feed_forward_length'),
    rope_base=meta('rope.freq_base'),
    norm_epsilon=meta('attention.layer_norm_rms_epsilon'),
    tied='output.weight' not in tensors,
  )


def _gemma3(meta, tensors):
  return GemmaConfig(
    vocab_size=int(tensors['token_embd.weight'].shape[1]),
    d_model=meta('embedding_length'),
    num_heads=meta('attention.head_count'),
    num_kv_heads=meta('attention.head_count_kv'),
    head_dim=meta('attention.key_length'),
    d_ff=meta('feed_forward_length'),
    local_layers=every_sixth_global(meta('block_count')),
    window=meta('attention.sliding_window'),
    start_token=start_tokens.of_gguf(meta, always=True),
    rope_base=meta('rope.freq_base'),
    norm_epsilon=meta('attention.layer_norm_rms_epsilon'),
  )


_ARCHITECTURES = {
  'llama': _Architecture(
    _llama,
    _NORMS,
    lambda config: {'attn_q': config.num_heads, 'attn_k': config.num_kv_heads},
    frozenset({'output.weight'}),
  ),
  'gemma3': _Architecture(_gemma3, _NORMS | _GEMMA_NORMS, lambda config: {}),
}


def read_gguf(path: str) -> tuple[LlamaConfig | GemmaConfig, dict]:
  """Reads a model from a GGUF file.

  Args:
    path: path of the file.

  Returns:
    (configuration, parameters of `Llama` or `Gemma` as float32 numpy arrays).

  Raises:
    ValueError: the file has another architecture, lacks a field or tensor, or needs a
      computation that is not supported.
  """
  reader = gguf.GGUFReader(path)
  name = reader.fields['general.architecture'].contents()
  if name not in _ARCHITECTURES:
    raise ValueError(
      f'{path}: architecture {name!r}; expected one of {sorted(_ARCHITECTURES)}'
    )
  scaling = reader.fields.get(f'{name}.rope.scaling.type')
  if scaling and scaling.contents() != 'none':
    raise ValueError(
      f'{path}: {name}.rope.scaling.type={scaling.contents()!r}; expected none; other '
      'scalings are not supported'
    )

  def meta(key, default=None):
    field = reader.fields.get(f'{name}.{key}') or reader.fields.get(key)
    if field is None and default is None:
      raise ValueError(f'{path}: no field {name}.{key}')
    return default if field is None else field.contents()

  architecture = _ARCHITECTURES[name]
  tensors = {tensor.name: tensor for tensor in reader.tensors}
  names = {*_MATRICES.values(), *architecture.norms.values()}
  layers = range(meta('block_count'))
  expected = {f'blk.{index}.{part}.weight' for index in layers for part in names}
  expected |= {'token_embd.weight', 'output_norm.weight'}
  _check_tensors(path, {*tensors}, expected, architecture.optional)
  config = architecture.config(meta, tensors)
  return config, _params(tensors, layers, architecture, config)


def _check_tensors(path, found, expected, optional):
  """Checks that a file has exactly the tensors that the model reads.

  An unread tensor, such as a bias, would change the answers of the model.

  Raises:
    ValueError: tensors are missing or unknown.
  """
  for verb, wrong in (
    ('lacks', expected - found),
    ('has', found - expected - optional),
  ):
    if wrong:
      raise ValueError(
        f'{path}: {verb} {len(wrong)} tensors, such as {min(wrong)!r}; expected '
        f'exactly the {len(expected)} tensors of its architecture'
      )


def _params(tensors, layers, architecture, config) -> dict[str, Any]:
  heads = architecture.heads(config)

  def stacked(name):
    """Returns a tensor of all layers, [layers, in, out] or [layers, D]."""
    arrays = [_dequantize(tensors[f'blk.{index}.{name}.weight']) for index in layers]
    return np.stack(
      [(_unpermute(x, heads[name]) if name in heads else x).T for x in arrays]
    )

  flat = {
    'embedder/embedding': _dequantize(tensors['token_embd.weight']),
    'final_norm/scale': _dequantize(tensors['output_norm.weight']),
  }
  for path, name in _MATRICES.items():
    flat[f'layers/{path}/kernel'] = stacked(name)
  for path, name in architecture.norms.items():
    flat[f'layers/{path}/scale'] = stacked(name)
  if 'output.weight' in tensors:
    flat['output/kernel'] = _dequantize(tensors['output.weight']).T
  return traverse_util.unflatten_dict(flat, sep='/')


def _dequantize(tensor):
  return np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)


def _unpermute(x, heads):
  """Reorders the rows of a matrix from interleaved rotary pairs to two halves per head.

  GGUF stores the two components of a rotary pair next to each other; `layers.rope`
  expects the first components of all pairs before the second ones.
  """
  pairs = x.reshape(heads, x.shape[0] // heads // 2, 2, -1)
  return pairs.swapaxes(1, 2).reshape(x.shape)
