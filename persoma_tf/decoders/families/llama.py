"""Llama 2 and 3, SmolLM2, and the many models with their configuration."""

from persoma_tf.decoders.families.family import (
  Family,
  gguf_layers,
  layers_of,
  rotation_of,
  usual_settings,
)

_BIASES = ('query', 'key', 'value', 'out')


def _settings(settings):
  return {
    'layers': layers_of(settings, rotation_of(settings)),
    'biases': _BIASES if settings.get('attention_bias') else (),
  }


FAMILY = Family(
  model_type='llama',
  settings=_settings,
  expected={
    'hidden_act': ('silu',),
    'mlp_bias': (False, None),
    'sliding_window': (None,),
  },
  architecture='llama',
  fields=gguf_layers,
  interleaved=True,
  gguf_expected={'attention.sliding_window': (0,), 'expert_count': (0,)},
  implementation='LlamaForCausalLM',
  settings_of_gguf=usual_settings,
)
