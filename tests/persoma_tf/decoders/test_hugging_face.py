"""Llama from safetensors, against logits that transformers computed.

benchmarks/record_llama_reference.py recorded them.
"""

import json
import pathlib
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from persoma_tf import decoders

MODELS = pathlib.Path(__file__).parent / 'tiny_llama'


@pytest.mark.parametrize('name', ['tied', 'untied'])
def test_equals_transformers(name):
  """The tied one is stored in bfloat16, the untied one in two files."""
  decoder = decoders.load_decoder(str(MODELS / name))
  reference = np.load(MODELS / name / 'logits.npz')
  params = {'params': decoder.wide_params}
  made = jax.jit(decoder.module.apply)(params, reference['tokens'])
  np.testing.assert_allclose(made, reference['logits'], atol=1e-4)
  assert np.abs(reference['logits']).max() > 1
  assert ('output' in decoder.params) is (name == 'untied')


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'model_type': 'qwen2_moe'},
      "model_type='qwen2_moe'; expected 'llama' or 'mistral' or 'qwen2' or 'qwen3' or",
    ),
    ({'model_type': 'qwen2'}, r"no tensor 'model\.layers\.0\.self_attn\.q_proj\.bias'"),
    (
      {'attention_bias': True},
      r"no tensor 'model\.layers\.0\.self_attn\.q_proj\.bias'",
    ),
    ({'mlp_bias': True}, 'mlp_bias=True; expected False'),
    (
      {'rope_parameters': None, 'rope_scaling': {'type': 'dynamic', 'factor': 2}},
      r"config\.json: rope_type='dynamic'; expected one of \['default', 'linear', 'l",
    ),
    ({'rope_parameters': {'rope_type': 'yarn'}}, "missing or wrong: 'factor'"),
    ({'rope_parameters': {'rope_type': 'longrope'}}, "rope_type='longrope'; expected"),
    ({'rope_parameters': {'partial_rotary_factor': 0.5}}, 'factor=0.5; expected 1'),
    ({'partial_rotary_factor': 0.5}, 'partial_rotary_factor=0.5; expected 1'),
    ({'sliding_window': 4}, 'sliding_window=4; expected None'),
    ({'layer_types': ['sliding_attention'] * 3}, 'expected sliding_window with it'),
    ({'layer_types': ['chunked_attention'] * 3}, r"layer_types has \['chunked_att"),
    ({'final_logit_softcapping': 30.0}, 'final_logit_softcapping=30.0; expected None'),
    ({'attn_logit_softcapping': 50.0}, 'attn_logit_softcapping=50.0; expected None'),
    ({'tie_word_embeddings': 'false'}, "tie_word_embeddings='false'; expected True or"),
    ({'quantization_config': {'bits': 8}}, 'quantization_config=.*GGUF'),
    ({'quantization': {'bits': 4, 'group_size': 64}}, 'quantization=.*GGUF'),
    ({'rms_norm_eps': None}, r'config\.json: no field rms_norm_eps'),
    ({'vocab_size': 51}, r'embedder/embedding \(50, 24\) instead of \(51, 24\)'),
    ({'head_dim': 8}, r'query/kernel \(3, 24, 24\) instead of \(3, 24, 48\)'),
    ({'num_key_value_heads': 4}, 'num_heads=6, num_kv_heads=4'),
    ({'num_hidden_layers': 4}, r"no tensor 'model\.layers\.3\.self_attn\.q_proj"),
    ({'num_hidden_layers': 2}, r"unknown tensors \['model\.layers\.2\.input_layer"),
  ],
)
def test_other_models_are_refused(tmp_path, changes, message):
  folder = shutil.copytree(MODELS / 'tied', tmp_path / 'model')
  config = json.loads((folder / 'config.json').read_text())
  (folder / 'config.json').write_text(json.dumps(config | changes))
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(str(folder))


def _rewritten(folder, name, change):
  """A copy of a small model whose tensors `change` has changed."""
  shutil.copytree(MODELS / name, folder)
  tensors = {}
  for file in folder.glob('*.safetensors*'):
    tensors |= load_file(file) if file.suffix == '.safetensors' else {}
    file.unlink()
  change(tensors)
  save_file(tensors, folder / 'model.safetensors')
  return str(folder)


@pytest.mark.parametrize(
  ('tensors', 'message'),
  [
    (
      # As bitsandbytes stores a matrix: int8 with the scale of each row.
      {'up_proj.weight': np.ones((40, 24), np.int8), 'up_proj.SCB': np.ones(40)},
      r"unknown tensors \['model\.layers\.1\.mlp\.up_proj\.SCB'\]",
    ),
    (
      {'up_proj.weight': np.ones((40, 24), np.int8)},
      r"tensor 'model\.layers\.1\.mlp\.up_proj\.weight' has dtype I8; expected one of",
    ),
    (
      {'up_proj.weight': np.ones((40, 24), ml_dtypes.float8_e4m3fn)},
      "up_proj.weight' has dtype F8_E4M3; expected one of",
    ),
    (  # MLX, 4 bits
      {'up_proj.weight': np.ones((40, 3), np.uint32), 'up_proj.scales': np.ones(40)},
      r"unknown tensors \['model\.layers\.1\.mlp\.up_proj\.scales'\]",
    ),
    ({'up_proj.bias': np.ones(40)}, r'unknown tensors .*mlp\.up_proj\.bias'),
    (
      {'up_proj.weight': np.ones((39, 24), np.float32)},
      r'layers\.1\.mlp\.up_proj\.weight.* different shapes; expected one shape',
    ),
  ],
)
def test_other_tensors_are_refused(tmp_path, tensors, message):
  change = lambda old: old.update(
    {f'model.layers.1.mlp.{name}': values for name, values in tensors.items()}
  )
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(_rewritten(tmp_path / 'model', 'untied', change))


def test_copies_and_angles_are_read_past(tmp_path):
  """Old folders store the angles of the rotations, and the one matrix twice."""
  expected = decoders.load_decoder(str(MODELS / 'tied'))

  def change(tensors):
    tensors['model.layers.0.self_attn.rotary_emb.inv_freq'] = np.ones(2, np.float32)
    tensors['lm_head.weight'] = tensors['model.embed_tokens.weight'].copy()

  found = decoders.load_decoder(_rewritten(tmp_path / 'same', 'tied', change))
  assert found.module == expected.module
  jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)

  def differ(tensors):
    change(tensors)
    tensors['lm_head.weight'][3, 4] += 1

  with pytest.raises(
    ValueError, match=r'lm_head\.weight differs from model\.embed_tok'
  ):
    decoders.load_decoder(_rewritten(tmp_path / 'other', 'tied', differ))


def test_missing_files(tmp_path):
  with pytest.raises(ValueError, match=r'no config\.json in this folder'):
    decoders.load_decoder(str(tmp_path))
  shutil.copy(MODELS / 'tied' / 'config.json', tmp_path)
  with pytest.raises(ValueError, match=r'no model\.safetensors and no'):
    decoders.load_decoder(str(tmp_path))
