"""Qwen 3: the queries and keys of each head are normalized."""

from persoma_tf.decoders.families import qwen2
from persoma_tf.decoders.families.family import Family, gguf_layers, usual_settings

_OWN = {'query_key_norm': True, 'biases': ()}

FAMILY = Family(
  model_type='qwen3',
  settings=lambda settings: qwen2.FAMILY.settings(settings) | _OWN,
  expected={'hidden_act': ('silu',), 'attention_bias': (False, None)},
  architecture='qwen3',
  fields=lambda meta, factors: gguf_layers(meta, factors) | _OWN,
  implementation='Qwen3ForCausalLM',
  settings_of_gguf=usual_settings,
)
