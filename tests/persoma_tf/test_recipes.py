"""Recipe files and flags."""

import gin
import pytest

from persoma_tf import recipes
from persoma_tf.training import training_run  # noqa: F401  registers what recipes set


def test_flags():
  found = recipes.bindings_of(['--gin.A.b=3', '--model_dir=x', "--gin.C='a=b'"])
  assert found == (['A.b = 3', "C = 'a=b'"], ['--model_dir=x'])


def test_bindings_win_from_any_folder(tmp_path, monkeypatch):
  """Folders of the same names as recipe folders are no obstacle."""
  monkeypatch.chdir(tmp_path)
  for name in ('runs', 'models', 'adapters'):
    (tmp_path / name).mkdir()
  folders = ["HISTORIES_DIR = 'h'", "EMBEDDINGS_DIR = 'e'"]
  recipes.parse_recipes(['runs/quickstart.gin'], ['train.seed = 9', *folders])
  assert gin.query_parameter('train.seed') == 9
  assert gin.query_parameter('Perceiver.width') == 128
  recipes.bind_parameter('Perceiver.width', 64)
  assert gin.query_parameter('Perceiver.width') == 64


def test_t5_replaces_the_decoder_of_a_run():
  data = ["HISTORIES_DIR = 'h'", "EMBEDDINGS_DIR = 'e'"]
  no_adapter = ['build.resampler = None', 'build.readout = None']
  files = ['runs/quickstart.gin', 'models/t5.gin']
  t5 = ["T5_DIR = '/models/t5'", "T5_VOCABULARY = '/models/spiece.model'"]
  recipes.parse_recipes(files, [*t5, *data, *no_adapter])
  assert gin.get_bindings('build')['decoder'] == '/models/t5'
  assert gin.get_bindings('task_vocabulary')['decoder'] == '/models/spiece.model'


def test_own_file(tmp_path):
  (tmp_path / 'own.gin').write_text(
    "include 'persoma_tf/configs/adapters/perceiver.gin'\nPerceiver.width = 32\n"
  )
  recipes.parse_recipes([str(tmp_path / 'own.gin')])
  assert gin.query_parameter('Perceiver.width') == 32


@gin.configurable
def layer(width=1, name='x'):
  """Something that reads parameters."""
  return width, name


@gin.configurable
def unasked(width=1):
  """Something that this recipe does not make."""
  return width


@pytest.mark.parametrize(
  ('binding', 'read'),
  [
    ('layer.width = 3', True),
    ('here/layer.width = 3', True),
    ('test_recipes.layer.width = 3', True),
    ('WIDTH = 4', True),
    ('unasked.width = 3', False),
    ('there/layer.width = 3', False),
    ('WITDH = 4', False),
    ("layer.name = 'z'", False),  # in the only scope that asks there is another
    ("layer.name = 'y'", True),
  ],
)
def test_bindings_that_nothing_reads(binding, read):
  gin.parse_config(f"WIDTH = 3\nlayer.width = %WIDTH\nhere/layer.name = 'y'\n{binding}")
  with gin.config_scope('here'):
    layer()
  assert recipes.without_effect([binding]) == ([] if read else [binding])


def test_a_scope_that_nothing_runs_in(tmp_path):
  own = tmp_path / 'own.gin'
  own.write_text("include 'persoma_tf/configs/runs/quickstart.gin'\n")
  folders = ["HISTORIES_DIR = 'h'", "EMBEDDINGS_DIR = 'e'"]
  recipes.parse_recipes([str(own)], ['train.stages = [@histories/Stage()]', *folders])
  gin.clear_config()
  mine = ['train.stages = [@mine/Stage()]', 'mine/Stage.steps = 1']
  recipes.parse_recipes([str(own)], [*mine, *folders])
  gin.clear_config()
  own.write_text(own.read_text() + 'history/Stage.steps = 5\n')
  with pytest.raises(ValueError, match=r"scope 'history'; did you mean histories"):
    recipes.parse_recipes([str(own)], folders)


def test_words_that_lack_something():
  with pytest.raises(ValueError, match=r'--gin.a.b: expected --gin.NAME=VALUE'):
    recipes.bindings_of(['--gin.a.b', '3'])
  with pytest.raises(ValueError, match='a text needs quotes'):
    recipes.parse_recipes(['runs/quickstart.gin'], ['train.tuning = lora'])


@pytest.mark.parametrize('binding', ['Perceiver.widht = 3', 'No.such = 1', 'a b'])
def test_errors_name_the_recipe(binding):
  with pytest.raises(ValueError, match=r'quickstart\.gin'):
    recipes.parse_recipes(['runs/quickstart.gin'], [binding])
