"""Llama from safetensors, against logits that transformers computed.

benchmarks/record_llama_reference.py recorded them.
"""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from persoma_tf import decoders

MODELS = pathlib.Path(__file__).parent / 'tiny_llama'


@pytest.mark.parametrize('name', ['tied', 'untied'])
def test_equals_transformers(name):
  """The tied one is stored in bfloat16, the untied one in two files."""
  decoder = decoders.load_decoder(str(MODELS / name))
  reference = np.load(MODELS / name / 'logits.npz')
  made = jax.jit(decoder.module.apply)({'params': decoder.params}, reference['tokens'])
  np.testing.assert_allclose(made, reference['logits'], atol=1e-4)
  assert np.abs(reference['logits']).max() > 1
  assert ('output' in decoder.params) is (name == 'untied')


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'model_type': 'qwen2'},
      "model_type='qwen2'; expected 'llama' or 'gemma3_text' or 't5'",
    ),
    ({'attention_bias': True}, 'attention_bias=True; expected False'),
    ({'rope_scaling': {'factor': 2}}, 'rope_scaling=.*expected None'),
    ({'rope_parameters': {'rope_type': 'yarn'}}, "rope_type='yarn'; expected default"),
    ({'head_dim': 8}, 'head_dim=8; expected 4'),
    ({'num_hidden_layers': 4}, r"no tensor 'model\.layers\.3\.self_attn\.q_proj"),
  ],
)
def test_other_models_are_refused(tmp_path, changes, message):
  folder = shutil.copytree(MODELS / 'tied', tmp_path / 'model')
  config = json.loads((folder / 'config.json').read_text())
  (folder / 'config.json').write_text(json.dumps(config | changes))
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(str(folder))


def test_missing_files(tmp_path):
  with pytest.raises(ValueError, match=r'no config\.json in this folder'):
    decoders.load_decoder(str(tmp_path))
  shutil.copy(MODELS / 'tied' / 'config.json', tmp_path)
  with pytest.raises(ValueError, match=r'no model\.safetensors and no'):
    decoders.load_decoder(str(tmp_path))
