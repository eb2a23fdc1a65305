"""Gemma 3, text part: normalized queries and keys, norms on both sides, five local
layers and then a global one, scaled embeddings.
"""

from persoma_tf.decoders import rotary
from persoma_tf.decoders.causal_lm import LayerKind
from persoma_tf.decoders.families.family import (
  FULL,
  SLIDING,
  Family,
  gguf_head_dim,
  gguf_rotation,
  gguf_scaling,
  scaling_of_v4,
)

_EVERY = 6  # layers up to a global one
_LAYERS_27B = 62  # of the model whose GGUF files mean another scale of the scores


def _settings(settings):
  rope, width = settings.get('rope_parameters') or {}, settings['head_dim']
  every = settings.get('sliding_window_pattern') or _EVERY
  numbers = range(1, settings['num_hidden_layers'] + 1)
  kinds = settings.get('layer_types') or [
    SLIDING if number % every else FULL for number in numbers
  ]
  base = lambda name, key: rope.get(name, {}).get('rope_theta') or settings[key]
  scaling = rope.get(FULL) or settings.get('rope_scaling') or {}
  of = {
    FULL: LayerKind(rotary.scaled(base(FULL, 'rope_theta'), width, scaling)),
    SLIDING: LayerKind(
      rotary.scaled(
        base(SLIDING, 'rope_local_base_freq'), width, rope.get(SLIDING, {})
      ),
      settings['sliding_window'],
    ),
  }
  scalar = settings.get('query_pre_attn_scalar') or width
  return _own(settings['hidden_size'], scalar) | {
    'layers': tuple(of[kind] for kind in kinds)
  }


def _fields(meta, factors):
  layers = meta('block_count')
  local = rotary.unscaled(meta('rope.freq_base_swa', 10_000.0), gguf_head_dim(meta))
  of = (
    LayerKind(gguf_rotation(meta, factors)),
    LayerKind(local, meta('attention.sliding_window')),
  )
  return _own(meta('embedding_length'), _scalar(meta)) | {
    'layers': tuple(of[number % _EVERY > 0] for number in range(1, layers + 1))
  }


def _scalar(meta):
  """Returns 1 / (the scale of the attention scores) ** 2."""
  if meta('block_count') == _LAYERS_27B:
    return meta('embedding_length') // meta('attention.head_count')
  return gguf_head_dim(meta)


def _settings_of_gguf(meta):
  base, local = meta('rope.freq_base'), meta('rope.freq_base_swa', 10_000.0)
  layers, scaling = range(1, meta('block_count') + 1), gguf_scaling(meta)
  return {
    **scaling_of_v4(scaling),
    'hidden_activation': 'gelu_pytorch_tanh',
    'query_pre_attn_scalar': _scalar(meta),
    'sliding_window': meta('attention.sliding_window'),
    'sliding_window_pattern': _EVERY,
    'layer_types': [SLIDING if number % _EVERY else FULL for number in layers],
    'rope_theta': base,
    'rope_local_base_freq': local,
    'rope_parameters': {
      FULL: {'rope_theta': base, **scaling},
      SLIDING: {'rope_theta': local, 'rope_type': 'default'},
    },
  }


def _own(d_model, scalar):
  return {
    'query_key_norm': True,
    'sandwich_norms': True,
    'activation': 'gelu_tanh',
    'attention_scale': scalar**-0.5,
    'embedding_scale': d_model**0.5,
  }


FAMILY = Family(
  model_type='gemma3_text',
  settings=_settings,
  expected={
    'hidden_activation': ('gelu_pytorch_tanh',),
    'attention_bias': (False, None),
    'use_bidirectional_attention': (False, None),
    'tie_word_embeddings': (True, None),
  },
  # The config.json of a model with images leaves out what transformers takes as given.
  defaults={
    'vocab_size': 262_208,
    'num_attention_heads': 8,
    'num_key_value_heads': 4,
    'head_dim': 256,
    'rms_norm_eps': 1e-6,
    'rope_theta': 1e6,
    'rope_local_base_freq': 1e4,
    'query_pre_attn_scalar': 256,
    'hidden_activation': 'gelu_pytorch_tanh',
    'bos_token_id': 2,
  },
  tied=True,
  norm_offset=1.0,
  always_starts=True,
  architecture='gemma3',
  fields=_fields,
  gguf_expected={'attention.sliding_window_pattern': (_EVERY,)},
  implementation='Gemma3ForCausalLM',
  settings_of_gguf=_settings_of_gguf,
)
