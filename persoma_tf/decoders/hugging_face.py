"""Reads Hugging Face folders (config.json, safetensors) of Llama and Gemma 3 models."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from flax import traverse_util

from persoma_tf.decoders import start_tokens
from persoma_tf.decoders.gemma import GemmaConfig, every_sixth_global
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
    norms: our name -> Hugging Face's name of a norm of a layer.
    offset: number to add to the stored weights of a norm.
  """

  config: Callable
  expected: Mapping[str, tuple]
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
    rope_base=rope.get('rope_theta') or settings.get('rope_theta', 10_000.0),
    norm_epsilon=settings['rms_norm_eps'],
    tied=settings.get('tie_word_embeddings', False),
  )


def _gemma(settings):
  rope = settings.get('rope_parameters') or {}
  base = lambda layers, key: rope.get(layers, {}).get('rope_theta') or settings[key]
  if 'layer_types' in settings:
    local = tuple(kind == 'sliding_attention' for kind in settings['layer_types'])
  else:
    local = every_sixth_global(settings['num_hidden_layers'])
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


FAMILIES = {
  'llama': _Family(
    _llama,
    {
      'hidden_act': ('silu',),
      'attention_bias': (False, None),
      'mlp_bias': (False, None),
      'rope_scaling': (None,),
    },
    _NORMS,
    0.0,
  ),
  'gemma3_text': _Family(
    _gemma,
    {
      'hidden_activation': ('gelu_pytorch_tanh',),
      'attention_bias': (False, None),
      'rope_scaling': (None,),
      'attn_logit_softcapping': (None,),
      'final_logit_softcapping': (None,),
      'use_bidirectional_attention': (False, None),
      'tie_word_embeddings': (True, None),
    },
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
  config = family.config(settings)
  # Both fields must equal the head width: other values are not supported.
  for field in ('head_dim', 'query_pre_attn_scalar'):
    if (settings.get(field) or config.head_dim) != config.head_dim:
      raise ValueError(
        f'{opened.file}: {field}={settings[field]}; expected {config.head_dim}'
      )
  start = start_tokens.of_folder(opened, always=isinstance(config, GemmaConfig))
  config = dataclasses.replace(config, start_token=start)
  return config, _params(opened, family, config)


def _check_rope(folder: HuggingFaceFolder) -> None:
  rope = folder.config.get('rope_parameters') or {}
  # Gemma 3 has one dict for each kind of layer.
  for part in (rope, *(value for value in rope.values() if isinstance(value, dict))):
    if part.get('rope_type', 'default') != 'default':
      raise ValueError(
        f'{folder.file}: rope_parameters.rope_type={part["rope_type"]!r}; expected '
        'default'
      )


def _params(folder: HuggingFaceFolder, family: _Family, config) -> dict:
  read = folder.read

  def stacked(name):
    """Returns a tensor of all layers, [layers, in, out] or [layers, D]."""
    layers = range(folder.config['num_hidden_layers'])
    return np.stack([read(f'model.layers.{index}.{name}.weight').T for index in layers])

  flat = {
    'embedder/embedding': read('model.embed_tokens.weight'),
    'final_norm/scale': read('model.norm.weight') + family.offset,
  }
  for name, theirs in _MATRICES.items():
    flat[f'layers/{name}/kernel'] = stacked(theirs)
  for name, theirs in family.norms.items():
    flat[f'layers/{name}/scale'] = stacked(theirs) + family.offset
  if not getattr(config, 'tied', True):
    flat['output/kernel'] = read('lm_head.weight').T
  return traverse_util.unflatten_dict(flat, sep='/')
