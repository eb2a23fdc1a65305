"""Reads GGUF files of architecture llama or gemma3, dequantized to float32."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gguf
import numpy as np
from flax import traverse_util

from persoma_tf import model_files
from persoma_tf.decoders import stack, start_tokens
from persoma_tf.decoders.decoder_only import check_heads
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
# Field that changes the computation -> supported values; a file may lack it.
_EXPECTED = {
  'rope.scaling.type': ('none',),
  'rope.scaling.factor': (0, 1),
  'rope.scale_linear': (0, 1),
  'attention.scale': (0,),
  'attention.clamp_kqv': (0,),
  'attention.max_alibi_bias': (0,),
  'attention.causal': (True,),
  'attn_logit_softcapping': (0,),
  'final_logit_softcapping': (0,),
  'logit_scale': (0, 1),
  'embedding_scale': (0, 1),
  'residual_scale': (0, 1),
}


class _Architecture(NamedTuple):
  """Describes how the file of one architecture is read.

  Attributes:
    config: function (meta, tensors) -> configuration. `meta` returns the value of a
      metadata key, with or without the name of the architecture as its first part, or
      a default.
    expected: as _EXPECTED, for this architecture.
    norms: our name -> GGUF's name of a norm of a layer.
    heads: function from a configuration to {GGUF's name of a matrix: number of heads},
      for the matrices with interleaved rotary pairs.
    optional: names of the tensors that a file may lack.
  """

  config: Callable
  expected: Mapping[str, tuple]
  norms: Mapping[str, str]
  heads: Callable
  optional: frozenset[str] = frozenset()


# Where a field is missing, the format's defaults hold, as in llama.cpp.
def _llama(meta, tensors):
  heads = meta('attention.head_count')
  return LlamaConfig(
    vocab_size=int(tensors['token_embd.weight'].shape[1]),
    num_layers=meta('block_count'),
    start_token=start_tokens.of_gguf(meta),
    d_model=meta('embedding_length'),
    num_heads=heads,
    num_kv_heads=meta('attention.head_count_kv', heads),
    d_ff=meta('feed_forward_length'),
    rope_base=meta('rope.freq_base', 10_000.0),
    norm_epsilon=meta('attention.layer_norm_rms_epsilon'),
    tied='output.weight' not in tensors,
    key_length=meta('attention.key_length', 0) or None,
  )


def _gemma3(meta, tensors):
  return GemmaConfig(
    vocab_size=int(tensors['token_embd.weight'].shape[1]),
    d_model=meta('embedding_length'),
    num_heads=meta('attention.head_count'),
    num_kv_heads=meta('attention.head_count_kv', meta('attention.head_count')),
    head_dim=meta('attention.key_length'),
    d_ff=meta('feed_forward_length'),
    local_layers=every_sixth_global(meta('block_count')),
    window=meta('attention.sliding_window'),
    start_token=start_tokens.of_gguf(meta, always=True),
    rope_base=meta('rope.freq_base'),
    local_rope_base=meta('rope.freq_base_swa', 10_000.0),
    norm_epsilon=meta('attention.layer_norm_rms_epsilon'),
  )


_ARCHITECTURES = {
  'llama': _Architecture(
    _llama,
    {'attention.sliding_window': (0,)},
    _NORMS,
    lambda config: {'attn_q': config.num_heads, 'attn_k': config.num_kv_heads},
    frozenset({'output.weight'}),
  ),
  'gemma3': _Architecture(
    _gemma3,
    {'attention.sliding_window_pattern': (6,)},
    _NORMS | _GEMMA_NORMS,
    lambda config: {},
  ),
}


def read_gguf(path: str) -> tuple[LlamaConfig | GemmaConfig, dict]:
  """Reads a model from a GGUF file.

  Args:
    path: path of the file.

  Returns:
    (configuration, parameters of `Llama` or `Gemma` as float32 numpy arrays).

  Raises:
    ValueError: the file is damaged, has another architecture, lacks a field or tensor,
      or needs a computation that is not supported.
  """
  reader = model_files.open_gguf(path)
  name = _meta(path, reader.fields, 'general')('architecture')
  if name not in _ARCHITECTURES:
    raise ValueError(
      f'{path}: architecture {name!r}; expected one of {sorted(_ARCHITECTURES)}'
    )
  architecture = _ARCHITECTURES[name]
  meta = _meta(path, reader.fields, name)
  source = f'{path}: {name}'
  _check_fields(source, meta, _EXPECTED | architecture.expected)
  tensors = {tensor.name: tensor for tensor in reader.tensors}
  names = {*_MATRICES.values(), *architecture.norms.values()}
  layers = range(meta('block_count'))
  expected = {f'blk.{index}.{part}.weight' for index in layers for part in names}
  expected |= {'token_embd.weight', 'output_norm.weight'}
  _check_tensors(path, {*tensors}, expected, architecture.optional)
  config = architecture.config(meta, tensors)
  check_heads(config, path)
  width = (config.head_dim,)
  derived = {'rope.dimension_count': width, 'attention.value_length': width}
  _check_fields(source, meta, derived | {'vocab_size': (config.vocab_size,)})
  return config, _params(path, tensors, layers, architecture, config)


def _meta(path: str, fields: Mapping[str, Any], name: str) -> Callable:
  """Returns the function `meta` of `_Architecture`."""

  def meta(key, default=None):
    field = fields.get(f'{name}.{key}') or fields.get(key)
    if field is None and default is None:
      raise ValueError(f'{path}: no field {name}.{key}')
    value = default if field is None else field.contents()
    if isinstance(value, list):  # one value for each layer
      if len({*value}) != 1:
        raise ValueError(f'{path}: {name}.{key}={value}; expected one value')
      value = value[0]
    return value

  return meta


def _check_fields(source: str, meta: Callable, expected: Mapping[str, tuple]) -> None:
  """Checks fields that a file may lack; `expected` is as _EXPECTED.

  Raises:
    ValueError: a field has another value.
  """
  for key, values in expected.items():
    value = meta(key, values[0])
    if value not in values:
      raise ValueError(
        f'{source}.{key}={value!r}; expected {" or ".join(map(str, values))}; other '
        'values are not supported'
      )


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


def _params(path, tensors, layers, architecture, config) -> dict[str, Any]:
  heads = architecture.heads(config)

  def read(name):
    """Returns a tensor, [out, in] or [D]."""
    tensor = tensors[name]
    kind = tensor.tensor_type
    try:
      values = gguf.quants.dequantize(tensor.data, kind)
    except NotImplementedError as error:
      raise ValueError(
        f'{path}: tensor {name!r} has the type {kind.name}, which the package gguf '
        'cannot read; give the file in another quantization, such as Q8_0 or Q4_K_M'
      ) from error
    return np.asarray(values, np.float32)

  def all_layers(part):
    """Returns a tensor of all layers, [layers, in, out] or [layers, D]."""
    arrays = {name: read(name) for name in (f'blk.{x}.{part}.weight' for x in layers)}
    if part in heads:
      rows = heads[part] * config.head_dim
      arrays = {
        name: _unpermute(x, heads[part]) if len(x) == rows else x
        for name, x in arrays.items()
      }
    return stack.stacked({name: x.T for name, x in arrays.items()}, path)

  flat = {
    'embedder/embedding': read('token_embd.weight'),
    'final_norm/scale': read('output_norm.weight'),
  }
  for ours, part in _MATRICES.items():
    flat[f'layers/{ours}/kernel'] = all_layers(part)
  for ours, part in architecture.norms.items():
    flat[f'layers/{ours}/scale'] = all_layers(part)
  if 'output.weight' in tensors:
    flat['output/kernel'] = read('output.weight').T
  return traverse_util.unflatten_dict(flat, sep='/')


def _unpermute(x, heads):
  """Reorders the rows of a matrix from interleaved rotary pairs to two halves per head.

  GGUF stores the two components of a rotary pair next to each other; `layers.rope`
  expects the first components of all pairs before the second ones.
  """
  pairs = x.reshape(heads, x.shape[0] // heads // 2, 2, -1)
  return pairs.swapaxes(1, 2).reshape(x.shape)
