"""Qwen 2 and 2.5: queries, keys and values have biases."""

from persoma_tf.decoders.families.family import (
  Family,
  gguf_layers,
  layers_of,
  rotation_of,
  usual_settings,
)

_BIASES = ('query', 'key', 'value')
_FIRST = 28  # layer with a window where config.json does not say it


def _settings(settings):
  slides = settings.get('use_sliding_window') or False
  window = settings.get('sliding_window') or 0 if slides else 0
  first = settings.get('max_window_layers')
  first = _FIRST if first is None else first
  return {
    'layers': layers_of(settings, rotation_of(settings), window, first),
    'biases': _BIASES,
  }


def _fields(meta, factors):
  return gguf_layers(meta, factors) | {'biases': _BIASES}


FAMILY = Family(
  model_type='qwen2',
  settings=_settings,
  expected={'hidden_act': ('silu',)},
  architecture='qwen2',
  fields=_fields,
  implementation='Qwen2ForCausalLM',
  settings_of_gguf=usual_settings,
)
