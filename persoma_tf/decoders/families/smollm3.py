"""SmolLM3: Llama's layers, of which every fourth does not know positions."""

from persoma_tf.decoders import rotary
from persoma_tf.decoders.families.family import (
  Family,
  gguf_head_dim,
  gguf_layers,
  head_dim_of,
  layers_of,
  rotation_of,
  usual_settings,
)

_EVERY = 4


def _settings(settings):
  every = settings.get('no_rope_layer_interval') or _EVERY
  numbers = range(1, settings['num_hidden_layers'] + 1)
  # 1 for a layer with a rotation.
  rotated = settings.get('no_rope_layers') or [number % every for number in numbers]
  layers = layers_of(settings, rotation_of(settings))
  return {'layers': _without(layers, rotated, head_dim_of(settings))}


def _fields(meta, factors):
  layers = gguf_layers(meta, factors)['layers']
  rotated = [number % _EVERY for number in range(1, len(layers) + 1)]
  return {'layers': _without(layers, rotated, gguf_head_dim(meta))}


def _without(layers, rotated, head_dim):
  fixed = rotary.no_rotation(head_dim)
  return tuple(
    layer if turned else layer._replace(rotation=fixed)
    for layer, turned in zip(layers, rotated, strict=True)
  )


FAMILY = Family(
  model_type='smollm3',
  settings=_settings,
  expected={
    'hidden_act': ('silu',),
    'attention_bias': (False, None),
    'mlp_bias': (False, None),
    'use_sliding_window': (False, None),
  },
  tied=True,
  architecture='smollm3',
  fields=_fields,
  interleaved=True,
  implementation='SmolLM3ForCausalLM',
  settings_of_gguf=usual_settings,
)
