"""GGUF files of architecture llama, against numpy, and what they may lack or hold."""

import json

import gguf
import jax
import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import save_file

from persoma_tf import decoders
from persoma_tf.decoders import rotary
from persoma_tf.decoders.causal_lm import LayerKind
from tests import numpy_llama
from tests import tiny as tiny_parts

TOKENS = np.array([3, 9, 1, 12, 7])
_NAMES = {  # ours -> Hugging Face's name of a matrix of a layer
  'attention/query/kernel': 'self_attn.q_proj',
  'attention/key/kernel': 'self_attn.k_proj',
  'attention/value/kernel': 'self_attn.v_proj',
  'attention/out/kernel': 'self_attn.o_proj',
  'gate/kernel': 'mlp.gate_proj',
  'up/kernel': 'mlp.up_proj',
  'down/kernel': 'mlp.down_proj',
  'attention_norm/scale': 'input_layernorm',
  'mlp_norm/scale': 'post_attention_layernorm',
}


def write(path, change=lambda writer: None, **sizes):
  """A file of 13 tokens."""
  return str(tiny_parts.write_decoder(path / 'x.gguf', change, vocab_size=13, **sizes))


def without(*fields):
  """What takes fields out of a file."""
  return lambda writer: [writer.kv_data[0].pop(f'llama.{field}') for field in fields]


def wider(writer):
  """Says that heads are 6 wide, as Mistral Nemo's are wider than width / number."""
  writer.add_key_length(6)
  writer.add_value_length(6)
  writer.add_rope_dimension_count(6)
  writer.add_vocab_size(13)


def test_width_of_a_head(tmp_path):
  """4 heads of 6 in a model of width 16, from both formats."""
  path = write(tmp_path, wider, head=6)
  decoder = decoders.load_decoder(path)
  made = jax.jit(decoder.module.apply)({'params': decoder.params}, TOKENS[None])[0]
  reference = numpy_llama.Llama(path)
  table = reference._weights['token_embd']
  for length in (1, 5):
    expected = table @ reference._last(table[TOKENS[:length]])
    np.testing.assert_allclose(made[length - 1], expected, atol=1e-5)
  assert np.abs(expected).max() > 0.5
  copy = decoders.load_decoder(_as_hugging_face(tmp_path / 'folder', decoder))
  assert copy.module == decoder.module
  jax.tree.map(np.testing.assert_array_equal, copy.params, decoder.params)


def _as_hugging_face(folder, decoder):
  folder.mkdir()
  config = decoder.module.config
  settings = {
    'model_type': 'llama',
    'hidden_act': 'silu',
    'vocab_size': config.vocab_size,
    'hidden_size': config.d_model,
    'num_hidden_layers': config.num_layers,
    'num_attention_heads': config.num_heads,
    'num_key_value_heads': config.num_kv_heads,
    'head_dim': 6,
    'intermediate_size': config.d_ff,
    'rms_norm_eps': config.norm_epsilon,
    'tie_word_embeddings': True,
  }
  (folder / 'config.json').write_text(json.dumps(settings))
  params = traverse_util.flatten_dict(decoder.params, sep='/')
  tensors = {
    'model.embed_tokens.weight': params['embedder/embedding'],
    'model.norm.weight': params['final_norm/scale'],
  }
  for ours, theirs in _NAMES.items():
    for layer, values in enumerate(params[f'layers/{ours}']):
      name = f'model.layers.{layer}.{theirs}.weight'
      tensors[name] = np.ascontiguousarray(values.T)
  save_file(tensors, folder / 'model.safetensors')
  return str(folder)


def test_missing_fields_have_the_defaults_of_the_format(tmp_path):
  """As llama.cpp reads them."""
  lean = without('rope.freq_base', 'attention.head_count_kv')
  config = decoders.load_decoder(write(tmp_path, lean, kv_heads=4)).module.config
  rotation = rotary.unscaled(10_000.0, config.head_dim)
  assert config.layers == (LayerKind(rotation),) * config.num_layers
  assert (config.num_heads, config.num_kv_heads) == (4, 4)


def test_one_value_for_each_layer(tmp_path):
  """A list of equal values is one value."""

  def change(values):
    def write_list(writer):
      without('attention.head_count_kv')(writer)
      writer.add_array('llama.attention.head_count_kv', values)

    return write_list

  decoder = decoders.load_decoder(write(tmp_path, change([2, 2])))
  assert decoder.module.config.num_kv_heads == 2
  with pytest.raises(ValueError, match=r'head_count_kv=\[2, 1\]; expected one value'):
    decoders.load_decoder(write(tmp_path, change([2, 1])))


def replace_query(**changes):
  """What writes one matrix in another type."""

  def change(writer):
    name = 'blk.1.attn_q.weight'
    old = writer.tensors[0].pop(name).tensor
    changed = changes.get('values', old)
    writer.add_tensor(name, changed, raw_dtype=changes.get('kind'))

  return change


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (
      lambda x: x.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE),
      r"x\.gguf: rope_type='longrope'; expected one of",
    ),
    (lambda x: x.add_final_logit_softcapping(30.0), 'final_logit_softcapping=30.0'),
    (lambda x: x.add_logit_scale(0.5), r'logit_scale=0\.5; expected 0 or 1'),
    (lambda x: x.add_sliding_window(64), r'attention\.sliding_window=64; expected 0'),
    (lambda x: x.add_causal_attention(False), r'causal=False; expected True'),
    (lambda x: x.add_rope_dimension_count(2), r'dimension_count=2; expected 4'),
    (lambda x: x.add_value_length(8), r'value_length=8; expected 4'),
    (lambda x: x.add_vocab_size(14), r'llama\.vocab_size=14; expected 13'),
    (lambda x: x.add_key_length(5), r'head_dim=5; expected .* an even'),
    (
      lambda x: x.add_key_length(8),
      r'query/kernel \(2, 16, 16\) instead of \(2, 16, 32',
    ),
    (lambda x: x.add_uint16('split.count', 2), 'is one of 2 parts: join them with'),
    (without('block_count'), r'no field llama\.block_count'),
    (lambda x: x.kv_data[0].pop('general.architecture'), 'no field general.archit'),
    (
      replace_query(values=np.ones((16, 16), np.int8)),
      r"tensor 'blk\.1\.attn_q\.weight' has the type I8, which the package gguf cannot",
    ),
    (
      replace_query(kind=99),
      r'x\.gguf cannot be read as GGUF: its quantization type 99',
    ),
    (
      replace_query(values=np.ones((15, 16), np.float32)),
      r'blk\.0\.attn_q\.weight and blk\.1\.attn_q\.weight have different shapes',
    ),
  ],
)
def test_other_files_are_refused(tmp_path, change, message):
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(write(tmp_path, change))
