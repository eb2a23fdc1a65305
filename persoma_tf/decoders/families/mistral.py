"""Mistral: Llama's layers, in some versions with a window in all of them.

Its GGUF files have Llama's architecture.
"""

from persoma_tf.decoders.families.family import Family, layers_of, rotation_of


def _settings(settings):
  window = settings.get('sliding_window') or 0
  return {'layers': layers_of(settings, rotation_of(settings), window)}


FAMILY = Family(
  model_type='mistral',
  settings=_settings,
  expected={'hidden_act': ('silu',)},
  implementation='MistralForCausalLM',
)
