"""Reads GGUF files of decoder-only models, dequantized to float32."""

from collections.abc import Callable, Mapping
from typing import Any

import gguf
import numpy as np
from flax import traverse_util

from persoma_tf import model_files
from persoma_tf.decoders import stack, start_tokens
from persoma_tf.decoders.causal_lm import Config, names_in_file
from persoma_tf.decoders.decoder_only import check_heads
from persoma_tf.decoders.families import BY_ARCHITECTURE
from persoma_tf.decoders.families.family import Family, Meta, gguf_head_dim

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
_SANDWICH_NORMS = {
  'attention_out_norm': 'post_attention_norm',
  'mlp_out_norm': 'post_ffw_norm',
}
_HEAD_NORMS = {
  'attention/query_norm': 'attn_q_norm',
  'attention/key_norm': 'attn_k_norm',
}
_EMBEDDING, _OUTPUT, _FACTORS = (
  'token_embd.weight',
  'output.weight',
  'rope_freqs.weight',
)
# Field that changes the computation -> supported values; a file may lack it.
_EXPECTED = {
  'rope.scaling.attn_factor': (0, 1),
  'rope.scaling.yarn_attn_factor': (1,),
  'rope.scaling.yarn_ext_factor': (1, -1),
  'rope.scaling.yarn_log_multiplier': (0,),
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


def read_gguf(path: str) -> tuple[Config, dict]:
  """Reads a model from a GGUF file.

  Args:
    path: path of the file.

  Returns:
    (configuration, parameters of `CausalLm` as float32 numpy arrays).

  Raises:
    ValueError: the file is damaged, has another architecture, lacks a field or tensor,
      or needs a computation that is not supported.
  """
  reader = model_files.open_gguf(path)
  name, meta = _fields_in(path, reader)
  family = BY_ARCHITECTURE[name]
  source = f'{path}: {name}'
  _check_fields(source, meta, _EXPECTED | family.gguf_expected)
  tensors = {tensor.name: tensor for tensor in reader.tensors}
  config = _config(path, family, meta, tensors)
  names = {
    f'blk.{x}.{y}'
    for x in range(config.num_layers)
    for y in gguf_names(config).values()
  }
  _check_tensors(path, {*tensors}, names | {_EMBEDDING, 'output_norm.weight'})
  check_heads(config, path)
  width = (config.head_dim,)
  derived = {'rope.dimension_count': width, 'attention.value_length': width}
  _check_fields(source, meta, derived | {'vocab_size': (config.vocab_size,)})
  return config, _params(path, tensors, family, config)


def fields_of(path: str) -> Meta:
  """Returns the fields of a GGUF file of a known architecture.

  Raises:
    ValueError: its rotations are not described by fields alone.
  """
  reader = model_files.open_gguf(path)
  if _FACTORS in {tensor.name for tensor in reader.tensors}:
    raise ValueError(
      f'{path} divides its rotations by {_FACTORS}, for which config.json has no '
      'words; expected the Hugging Face folder of this model as decoder'
    )
  return _fields_in(path, reader)[1]


def _fields_in(path, reader) -> tuple[str, Meta]:
  """Returns the architecture of a file, and its fields."""
  name = _meta(path, reader.fields, 'general')('architecture')
  if name not in BY_ARCHITECTURE:
    raise ValueError(
      f'{path}: architecture {name!r}; expected one of {sorted(BY_ARCHITECTURE)}'
    )
  return name, _meta(path, reader.fields, name)


# Where a field is missing, the format's defaults hold, as in llama.cpp.
def _config(path, family: Family, meta, tensors) -> Config:
  heads, factors = meta('attention.head_count'), tensors.get(_FACTORS)
  embedding = tensors.get(_EMBEDDING)  # that it is there is checked with all others
  with model_files.named(path):
    own = family.fields(meta, factors and _read(path, factors))
  return Config(
    family=family.model_type,
    vocab_size=int(embedding.shape[1]) if embedding else 0,
    d_model=meta('embedding_length'),
    num_heads=heads,
    num_kv_heads=meta('attention.head_count_kv', heads),
    head_dim=gguf_head_dim(meta),
    d_ff=meta('feed_forward_length'),
    norm_epsilon=meta('attention.layer_norm_rms_epsilon'),
    start_token=start_tokens.of_gguf(meta, always=family.always_starts),
    tied=_OUTPUT not in tensors,
    **own,
  )


def gguf_names(config: Config) -> dict[str, str]:
  """Maps the parameters of a layer to GGUF's names in `blk.<number>.`."""
  norms = _NORMS | (_SANDWICH_NORMS if config.sandwich_norms else {})
  norms |= _HEAD_NORMS if config.query_key_norm else {}
  return names_in_file(config, _MATRICES, norms)


def _meta(path: str, fields: Mapping[str, Any], name: str) -> Callable:
  """Returns the `Meta` of a file."""

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


def _check_tensors(path, found, expected):
  """Checks that a file has exactly the tensors that the model reads.

  An unread tensor, such as a bias, would change the answers of the model.

  Raises:
    ValueError: tensors are missing or unknown.
  """
  for verb, wrong in (
    ('lacks', expected - found),
    ('has', found - expected - {_OUTPUT, _FACTORS}),
  ):
    if wrong:
      raise ValueError(
        f'{path}: {verb} {len(wrong)} tensors, such as {min(wrong)!r}; expected '
        f'exactly the {len(expected)} tensors of its architecture'
      )


def _read(path, tensor) -> np.ndarray:
  """Returns a tensor as float32, [out, in] or [D]."""
  kind = tensor.tensor_type
  try:
    values = gguf.quants.dequantize(tensor.data, kind)
  except NotImplementedError as error:
    raise ValueError(
      f'{path}: tensor {tensor.name!r} has the type {kind.name}, which the package '
      'gguf cannot read; give the file in another quantization, such as Q8_0 or Q4_K_M'
    ) from error
  return np.asarray(values, np.float32)


def _params(path, tensors, family: Family, config: Config) -> dict[str, Any]:
  paired = {'query': config.num_heads, 'key': config.num_kv_heads}
  paired = paired if family.interleaved else {}
  read = lambda name: _read(path, tensors[name])

  def all_layers(ours, part):
    """Returns a tensor of all layers, [layers, in, out] or [layers, D]."""
    names = [f'blk.{number}.{part}' for number in range(config.num_layers)]
    heads = paired.get(ours.split('/')[-2], 0)

    def of_layer(name):
      array = read(name)
      if heads and len(array) == heads * config.head_dim:
        array = _unpermute(array, heads)
      return array.T

    return stack.stacked(names, of_layer, path)

  flat = {
    'embedder/embedding': read(_EMBEDDING),
    'final_norm/scale': read('output_norm.weight'),
  }
  for ours, part in gguf_names(config).items():
    flat[f'layers/{ours}'] = all_layers(ours, part)
  if not config.tied:
    flat['output/kernel'] = read(_OUTPUT).T
  return traverse_util.unflatten_dict(flat, sep='/')


def _unpermute(x, heads):
  """Reorders the rows of a matrix from interleaved rotary pairs to two halves per head.

  GGUF stores the two components of a rotary pair next to each other; `rotary.rotate`
  expects the first components of all pairs before the second ones.
  """
  pairs = x.reshape(heads, x.shape[0] // heads // 2, 2, -1)
  return pairs.swapaxes(1, 2).reshape(x.shape)
