"""Hugging Face folders (config.json, safetensors) of llama architecture to `Llama`."""

from typing import Any

import numpy as np

from persoma_tf.decoders.hugging_face_folder import Folder
from persoma_tf.decoders.llama import LlamaConfig

# Our name -> Hugging Face's, of a matrix in each layer. Stored as [out, in].
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
# Settings that change the computation, and the only values that `Llama` computes.
_EXPECTED = {
  'model_type': ('llama',),
  'hidden_act': ('silu',),
  'attention_bias': (False, None),
  'mlp_bias': (False, None),
  'rope_scaling': (None,),
}


def load(folder: str) -> tuple[LlamaConfig, dict]:
  """Reads a model.

  Args:
    folder: see `Folder`.

  Returns:
    Its configuration and the parameters of `Llama`, as float32 numpy arrays.

  Raises:
    ValueError: a file is missing, or the model is of another kind.
  """
  opened = Folder(folder)
  opened.expect(_EXPECTED)
  found = opened.config
  rope = found.get('rope_parameters') or {}
  if rope.get('rope_type', 'default') != 'default':
    raise ValueError(
      f'{opened.file}: rope_parameters.rope_type={rope["rope_type"]!r}; expected '
      'default'
    )
  config = LlamaConfig(
    vocab_size=found['vocab_size'],
    num_layers=found['num_hidden_layers'],
    d_model=found['hidden_size'],
    num_heads=found['num_attention_heads'],
    num_kv_heads=found.get('num_key_value_heads') or found['num_attention_heads'],
    d_ff=found['intermediate_size'],
    rope_base=rope.get('rope_theta') or found.get('rope_theta', 10_000.0),
    norm_epsilon=found['rms_norm_eps'],
    tied=found.get('tie_word_embeddings', False),
  )
  width = found.get('head_dim') or config.head_dim
  if width != config.head_dim:
    raise ValueError(f'{opened.file}: head_dim={width}; expected {config.head_dim}')
  return config, _params(opened, config)


def _params(folder: Folder, config: LlamaConfig) -> dict:
  read = folder.read

  def stacked(name):
    """One tensor of all layers, [layers, in, out] or [layers, D]."""
    layers = range(config.num_layers)
    return np.stack([read(f'model.layers.{index}.{name}.weight').T for index in layers])

  layers: dict[str, Any] = {'attention': {}}
  for name, theirs in _MATRICES.items():
    *parent, leaf = name.split('/')
    (layers[parent[0]] if parent else layers)[leaf] = {'kernel': stacked(theirs)}
  for name, theirs in _NORMS.items():
    layers[name] = {'scale': stacked(theirs)}
  params = {
    'embedder': {'embedding': read('model.embed_tokens.weight')},
    'layers': layers,
    'final_norm': {'scale': read('model.norm.weight')},
  }
  if not config.tied:
    params['output'] = {'kernel': read('lm_head.weight').T}
  return params
