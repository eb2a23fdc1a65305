"""Reads Hugging Face folders (config.json, safetensors) of Llama and Gemma 3 models."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from flax import traverse_util

from persoma_tf.decoders import stack, start_tokens
from persoma_tf.decoders.decoder_only import check_heads
from persoma_tf.decoders.gemma import GemmaConfig
from persoma_tf.decoders.hugging_face_folder import HuggingFaceFolder
from persoma_tf.decoders.llama import LlamaConfig

# Our name -> Hugging Face's name of a matrix of a layer. Stored as [out, in].
_MATRICES = {
  'attention/query': 'self_attn.q_proj',
  'attention/key': 'self_attn.k_proj',
  'attention/value': 'self_attn.v_proj',
  'attention/out': 'self_attn.o_proj',
  'gate': 'mlp.gate_proj',
  'up': 'mlp.up_proj',
  'down': 'mlp.down_proj',
}
_EMBEDDING, _OUTPUT = 'model.embed_tokens.weight', 'lm_head.weight'
# Angles of the rotations, which older folders store; they follow from config.json.
_ANGLES = re.compile(r'model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq')
_NORMS = {'attention_norm': 'input_layernorm', 'mlp_norm': 'post_attention_layernorm'}
_GEMMA_NORMS = {
  'attention/query_norm': 'self_attn.q_norm',
  'attention/key_norm': 'self_attn.k_norm',
  'attention_norm': 'input_layernorm',
  'attention_out_norm': 'post_attention_layernorm',
  'mlp_norm': 'pre_feedforward_layernorm',
  'mlp_out_norm': 'post_feedforward_layernorm',
}


class _Family(NamedTuple):
  """Describes how the folder of one `model_type` is read.

  Attributes:
    config: function from the content of config.json to the configuration.
    expected: field of config.json that changes the computation -> supported values.
    kinds: supported values in the field layer_types.
    norms: our name -> Hugging Face's name of a norm of a layer.
    offset: number to add to the stored weights of a norm.
  """

  config: Callable
  expected: Mapping[str, tuple]
  kinds: frozenset[str]
  norms: Mapping[str, str]
  offset: float


def _llama(settings):
  rope = settings.get('rope_parameters') or {}
  return LlamaConfig(
    vocab_size=settings['vocab_size'],
    num_layers=settings['num_hidden_layers'],
    d_model=settings['hidden_size'],
    num_heads=settings['num_attention_heads'],
    num_kv_heads=settings.get('num_key_value_heads') or settings['num_attention_heads'],
    d_ff=settings['intermediate_size'],
    rope_base=rope.get('rope_theta') or settings.get('rope_theta') or 10_000.0,
    norm_epsilon=settings['rms_norm_eps'],
    tied=settings.get('tie_word_embeddings', False),
    key_length=settings.get('head_dim'),
  )


def _gemma(settings):
  rope = settings.get('rope_parameters') or {}
  base = lambda layers, key: rope.get(layers, {}).get('rope_theta') or settings[key]
  if settings.get('layer_types'):
    local = tuple(kind == 'sliding_attention' for kind in settings['layer_types'])
  else:
    period = settings.get('sliding_window_pattern') or 6
    layers = range(settings['num_hidden_layers'])
    local = tuple((layer + 1) % period > 0 for layer in layers)
  return GemmaConfig(
    vocab_size=settings['vocab_size'],
    d_model=settings['hidden_size'],
    num_heads=settings['num_attention_heads'],
    num_kv_heads=settings['num_key_value_heads'],
    head_dim=settings['head_dim'],
    d_ff=settings['intermediate_size'],
    local_layers=local,
    window=settings['sliding_window'],
    rope_base=base('full_attention', 'rope_theta'),
    local_rope_base=base('sliding_attention', 'rope_local_base_freq'),
    norm_epsilon=settings['rms_norm_eps'],
  )


# Not only of the settings that a family's own implementation reads: a folder that has
# one was made for another implementation.
_COMMON = {
  'attention_bias': (False, None),
  'rope_scaling': (None,),
  'partial_rotary_factor': (1, None),
  'attn_logit_softcapping': (None,),
  'final_logit_softcapping': (None,),
}
FAMILIES = {
  'llama': _Family(
    _llama,
    _COMMON
    | {
      'hidden_act': ('silu',),
      'mlp_bias': (False, None),
      'sliding_window': (None,),
      'tie_word_embeddings': (True, False, None),
    },
    frozenset({'full_attention'}),
    _NORMS,
    0.0,
  ),
  'gemma3_text': _Family(
    _gemma,
    _COMMON
    | {
      'hidden_activation': ('gelu_pytorch_tanh',),
      'use_bidirectional_attention': (False, None),
      'tie_word_embeddings': (True, None),
    },
    frozenset({'full_attention', 'sliding_attention'}),
    _GEMMA_NORMS,
    1.0,
  ),
}


def read_hugging_face(folder: str) -> tuple[LlamaConfig | GemmaConfig, dict]:
  """Reads a model from a Hugging Face folder.

  Args:
    folder: path of the folder, see `HuggingFaceFolder`.

  Returns:
    (configuration, parameters of `Llama` or `Gemma` as float32 numpy arrays).

  Raises:
    ValueError: a file is missing, or the model is not supported.
  """
  opened = HuggingFaceFolder(folder)
  settings = opened.config
  family = FAMILIES[settings['model_type']]
  opened.expect(family.expected)
  _check_rope(opened)
  if unknown := {*(settings.get('layer_types') or ())} - family.kinds:
    raise ValueError(
      f'{opened.file}: layer_types has {sorted(unknown)}; expected only '
      f'{sorted(family.kinds)}'
    )
  config = family.config(settings)
  check_heads(config, opened.file)
  # The scale of the attention scores; other values than the head width: not supported.
  scalar = settings.get('query_pre_attn_scalar') or config.head_dim
  if scalar != config.head_dim:
    raise ValueError(
      f'{opened.file}: query_pre_attn_scalar={scalar}; expected {config.head_dim}'
    )
  start = start_tokens.of_folder(opened, always=isinstance(config, GemmaConfig))
  config = dataclasses.replace(config, start_token=start)
  return config, _params(opened, family, config)


def _check_rope(folder: HuggingFaceFolder) -> None:
  rope = folder.config.get('rope_parameters') or {}
  # Gemma 3 has one dict for each kind of layer.
  for part in (rope, *(value for value in rope.values() if isinstance(value, dict))):
    for field, value in (('rope_type', 'default'), ('partial_rotary_factor', 1)):
      if part.get(field, value) != value:
        raise ValueError(
          f'{folder.file}: rope_parameters.{field}={part[field]!r}; expected {value}'
        )


def _params(folder: HuggingFaceFolder, family: _Family, config) -> dict:
  tied = getattr(config, 'tied', True)
  once = {'embedder/embedding': _EMBEDDING, 'final_norm/scale': 'model.norm.weight'}
  once |= {} if tied else {'output/kernel': _OUTPUT}
  parts = {f'layers/{name}/kernel': theirs for name, theirs in _MATRICES.items()}
  parts |= {f'layers/{name}/scale': theirs for name, theirs in family.norms.items()}
  layers = range(folder.config['num_hidden_layers'])
  each = lambda part: [f'model.layers.{index}.{part}.weight' for index in layers]
  names = {*once.values(), *(name for part in parts.values() for name in each(part))}
  copies = [_OUTPUT] if tied else []
  folder.expect_tensors(names, [*copies, *filter(_ANGLES.fullmatch, folder.files)])
  folder.expect_copies(copies, _EMBEDDING)

  def ours(path, array):
    """Returns a tensor as our parameter; Gemma's norms are stored less `offset`."""
    if path.endswith('scale'):
      return array + family.offset
    return array.T if path.endswith('kernel') else array

  flat = {path: ours(path, folder.read(name)) for path, name in once.items()}
  for path, part in parts.items():
    arrays = {name: ours(path, folder.read(name)) for name in each(part)}
    flat[path] = stack.stacked(arrays, folder.path)
  return traverse_util.unflatten_dict(flat, sep='/')
