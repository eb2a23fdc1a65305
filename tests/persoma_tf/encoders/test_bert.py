"""Encoders of Hugging Face folders against transformers.

benchmarks/record_bert_references.py made the folders and recorded the vectors.
"""

import json
import pathlib
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from persoma_tf import encoders

FOLDERS = pathlib.Path(__file__).parent / 'tiny_encoders'
NAMES = sorted(path.name for path in FOLDERS.iterdir())


def loaded(folder, prefix=''):
  return encoders.load_encoder(str(folder), prefix=prefix)


@pytest.mark.parametrize('name', NAMES)
def test_vectors_equal_transformers(name):
  """Control tokens of titles, an empty text and one that is cut are among them."""
  reference = np.load(FOLDERS / name / 'vectors.npz')
  encoder = loaded(FOLDERS / name, str(reference['prefix']))
  vectors = encoder.encode(reference['texts'].tolist())
  np.testing.assert_allclose(vectors, reference['vectors'], atol=1e-5)
  assert encoder.width == 24
  assert encoder.encode([]).shape == (0, 24)


def test_the_checksum_is_of_what_decides_the_vectors(tmp_path):
  plain, asked = loaded(FOLDERS / 'e5'), loaded(FOLDERS / 'e5', 'query: ')
  copy = shutil.copytree(FOLDERS / 'e5', tmp_path / 'copy')
  assert loaded(copy).sha256 == plain.sha256 != asked.sha256
  shutil.rmtree(copy / '2_Normalize', ignore_errors=True)
  modules = json.loads((copy / 'modules.json').read_text())
  (copy / 'modules.json').write_text(json.dumps(modules[:2]))
  assert loaded(copy).sha256 != plain.sha256


def test_tensors_of_a_whole_model(tmp_path):
  """Under the name of the model, as a model with a head stores them."""
  copy = shutil.copytree(FOLDERS / 'bge', tmp_path / 'copy')
  tensors = load_file(copy / 'model.safetensors')
  tensors = {f'bert.{name}': x for name, x in tensors.items()}
  tensors['cls.predictions.bias'] = np.ones(3, np.float32)
  tensors['bert.embeddings.position_ids'] = np.arange(32)[None]
  save_file(tensors, copy / 'model.safetensors')
  reference = np.load(FOLDERS / 'bge' / 'vectors.npz')
  vectors = loaded(copy).encode(reference['texts'].tolist())
  np.testing.assert_allclose(vectors, reference['vectors'], atol=1e-5)


@pytest.mark.parametrize(
  ('file', 'changes', 'message'),
  [
    ('config.json', {'model_type': 'mpnet'}, "model_type='mpnet'; expected an encoder"),
    ('config.json', {'hidden_act': 'relu'}, "hidden_act='relu'; expected 'gelu'"),
    (
      'config.json',
      {'position_embedding_type': 'relative_key'},
      "position_embedding_type='relative_key'; expected 'absolute'",
    ),
    (
      '1_Pooling/config.json',
      {'pooling_mode_max_tokens': True},
      r"'pooling_mode_max_tokens'\]; expected one of",
    ),
  ],
)
def test_other_models_are_refused(file, changes, message, tmp_path):
  copy = shutil.copytree(FOLDERS / 'e5', tmp_path / 'copy')
  content = json.loads((copy / file).read_text())
  (copy / file).write_text(json.dumps(content | changes))
  with pytest.raises(ValueError, match=message):
    loaded(copy)


def test_a_module_that_is_not_computed(tmp_path):
  copy = shutil.copytree(FOLDERS / 'e5', tmp_path / 'copy')
  modules = json.loads((copy / 'modules.json').read_text())
  modules.append({'type': 'sentence_transformers.models.Dense', 'path': '3_Dense'})
  (copy / 'modules.json').write_text(json.dumps(modules))
  with pytest.raises(ValueError, match=r"modules\.json: \['Dense', 'Norm"):
    loaded(copy)


def test_missing_files(tmp_path):
  copy = shutil.copytree(FOLDERS / 'e5', tmp_path / 'copy')
  (copy / 'model.safetensors').unlink()
  with pytest.raises(ValueError, match=r'model\.safetensors cannot be read as safet'):
    loaded(copy)
  (copy / 'tokenizer.json').unlink()
  with pytest.raises(ValueError, match=r'tokenizer\.json cannot be read as tokenizer'):
    loaded(copy)


def test_a_prefix_is_for_folders():
  with pytest.raises(ValueError, match=r"encoder_prefix='q: ' is for Hugging Face"):
    encoders.load_encoder('all-MiniLM-L6-v2', prefix='q: ')
