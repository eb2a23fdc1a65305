"""Recipe files and flags."""

import gin
import pytest

from persoma_tf import recipes, train  # noqa: F401  train registers what recipes set


def test_flags():
  found = recipes.bindings_of(['--gin.A.b=3', '--model_dir=x', "--gin.C='a=b'"])
  assert found == (['A.b = 3', "C = 'a=b'"], ['--model_dir=x'])


def test_bindings_win_from_any_folder(tmp_path, monkeypatch):
  """Folders of the same names as recipe folders are no obstacle."""
  monkeypatch.chdir(tmp_path)
  for name in ('runs', 'models', 'adapters'):
    (tmp_path / name).mkdir()
  folders = ["HISTORIES_DIR = 'h'", "EMBEDDINGS_DIR = 'e'"]
  recipes.parse(['runs/quickstart.gin'], ['train.seed = 9', *folders])
  assert gin.query_parameter('train.seed') == 9
  assert gin.query_parameter('Perceiver.width') == 128
  recipes.bind('Perceiver.width', 64)
  assert gin.query_parameter('Perceiver.width') == 64


def test_t5_replaces_the_decoder_of_a_run():
  data = ["HISTORIES_DIR = 'h'", "EMBEDDINGS_DIR = 'e'"]
  no_adapter = ['build.resampler = None', 'build.readout = None']
  files = ['runs/quickstart.gin', 'models/t5.gin']
  t5 = ["T5_DIR = '/models/t5'", "T5_VOCABULARY = '/models/spiece.model'"]
  recipes.parse(files, [*t5, *data, *no_adapter])
  assert gin.get_bindings('build')['decoder'] == '/models/t5'
  assert gin.get_bindings('task_vocabulary')['decoder'] == '/models/spiece.model'


def test_own_file(tmp_path):
  (tmp_path / 'own.gin').write_text(
    "include 'persoma_tf/configs/adapters/perceiver.gin'\nPerceiver.width = 32\n"
  )
  recipes.parse([str(tmp_path / 'own.gin')])
  assert gin.query_parameter('Perceiver.width') == 32


@pytest.mark.parametrize('binding', ['Perceiver.widht = 3', 'No.such = 1', 'a b'])
def test_errors_name_the_recipe(binding):
  with pytest.raises(ValueError, match=r'quickstart\.gin'):
    recipes.parse(['runs/quickstart.gin'], [binding])
