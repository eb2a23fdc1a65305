"""Recipe files and flags."""

import gin
import pytest

from persoma_tf import recipes
from persoma_tf.training import training_run  # noqa: F401  registers what recipes set
from tasks.predictor import Predictor


def test_flags():
  found = recipes.bindings_of(['--gin.A.b=3', '--model_dir=x', "--gin.C='a=b'"])
  assert found == (['A.b = 3', "C = 'a=b'"], ['--model_dir=x'])


def test_bindings_win_from_any_folder(tmp_path, monkeypatch):
  """Folders of the same names as recipe folders are no obstacle."""
  monkeypatch.chdir(tmp_path)
  for name in ('runs', 'models', 'adapters'):
    (tmp_path / name).mkdir()
  folders = ["HISTORIES_DIR = 'h'", "EMBEDDINGS_DIR = 'e'"]
  recipes.parse_recipes(['runs/perceiver.gin'], ['train.seed = 9', *folders])
  assert gin.query_parameter('train.seed') == 9
  assert gin.query_parameter('Perceiver.width') == 128
  recipes.bind_parameter('Perceiver.width', 64)
  assert gin.query_parameter('Perceiver.width') == 64


def test_t5_replaces_the_decoder_of_a_run():
  data = ["HISTORIES_DIR = 'h'", "EMBEDDINGS_DIR = 'e'"]
  no_adapter = ['build.resampler = None', 'build.readout = None']
  files = ['runs/perceiver.gin', 'models/t5.gin']
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
  own.write_text("include 'persoma_tf/configs/runs/perceiver.gin'\n")
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


def test_a_folder_is_not_taken_for_a_package(tmp_path, monkeypatch):
  """After a quickstart there is a folder runs/, which gin imports to look into it."""
  (tmp_path / 'runs_of_mine').mkdir()
  (tmp_path / 'own.gin').write_text("include 'runs_of_mine/none.gin'\n")
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(ValueError, match=r'Unable to open file: runs_of_mine/none\.gin'):
    recipes.parse_recipes([str(tmp_path / 'own.gin')])


@pytest.mark.parametrize(
  ('text', 'hint'),
  [
    (b'train.tuning = lora', 'a text needs quotes'),
    (b'HISTORIES_DIR = runs/x/histories', 'a text needs quotes'),
    (b'HISTORIES_DIR = /runs/x', 'a text needs quotes'),
    (b'HISTORIES_DIR = ../x', 'a text needs quotes'),
    (b'include runs/perceiver.gin', 'a text needs quotes'),
    ('train.tuning = ‘lora’'.encode(), 'a text needs quotes'),
    (b'\xef\xbb\xbftrain.seed = 1', 'byte order mark .* UTF-8 without it'),
    (b"include 'runs/none.gin'", r'own\.gin.*Unable to open file: runs/none'),
  ],
)
def test_slips_in_a_file_get_a_hint(tmp_path, text, hint):
  (tmp_path / 'own.gin').write_bytes(text + b'\n')
  with pytest.raises(ValueError, match=f'(?s){hint}'):
    recipes.parse_recipes([str(tmp_path / 'own.gin')])


@pytest.mark.parametrize(
  ('binding', 'message'),
  [
    ("decoder/Stage.trainable = 'adapter/.*'", 'expected a tuple with commas'),
    ("decoder/Stage.trainable = (1, 'a')", 'expected a tuple .* each entry a text'),
    ("decoder/Stage.learning_rate = '5e-3'", 'expected a number'),
    ('decoder/Stage.learning_rate = -1.0', 'expected at least 0'),
    ("decoder/Stage.steps = '5'", 'expected a whole number'),
    ('decoder/Stage.steps = 1e3', 'expected a whole number'),
    ('decoder/Stage.steps = True', 'expected a whole number'),
    ('decoder/Stage.steps = 0', 'expected at least 1'),
    ('decoder/Stage.batch_size = 0', 'expected at least 1'),
    ('decoder/Stage.accumulate = 0', 'expected at least 1'),
    ('decoder/Stage.warmup_steps = -1', 'expected at least 0'),
    ('decoder/Stage.name = 3', 'expected a text'),
    ('train.log_period = 0', 'expected at least 1'),
    ('train.checkpoint_period = 0', 'expected at least 1'),
    ('train.seed = -1', 'expected at least 0'),
    ("train.dtype = 'bf16'", r"expected one of \['auto', 'float32', 'bfloat16'"),
    ("train.initialize_only = 'False'", 'expected True or False'),
    ('lora.rank = 0', 'expected at least 1'),
    ('lora.targets = 1', 'expected a text or a tuple with commas'),
    ('Perceiver.width = 0', 'expected at least 1'),
    ('TemplateReadout.hidden = 0', 'expected at least 1'),
    ('build.num_task_tokens = -1', 'expected at least 0'),
    ('history_limits.items = 0', 'expected at least 1'),
    ('sub_history.min_items = 0', 'expected at least 1'),
    ("sub_history.window_share = '1'", 'expected a number'),
    ('feature_lengths.min_targets = 1.5', 'expected a whole number'),
  ],
)
def test_a_setting_of_a_wrong_type_or_size_is_named(binding, message):
  folders = ["HISTORIES_DIR = 'h'", "EMBEDDINGS_DIR = 'e'"]
  name = binding.split(' = ')[0]
  with pytest.raises(ValueError, match=f'^{name}=.*: {message}'):
    recipes.parse_recipes(['runs/perceiver.gin'], [*folders, binding])


def test_a_statistic_that_nothing_tells_is_named():
  folders = ["HISTORIES_DIR = 'h'", "EMBEDDINGS_DIR = 'e'"]
  binding = "OptionQueries.statistics = ('mean', 'median')"
  with pytest.raises(
    ValueError, match=r'^OptionQueries\.statistics=.*log_count.*share'
  ):
    recipes.parse_recipes(['runs/quickstart.gin'], [*folders, binding])


def test_a_wrong_value_of_a_macro_is_named():
  folders = ["HISTORIES_DIR = 'h'", "EMBEDDINGS_DIR = 'e'"]
  rate = ["RATE = '5e-3'", 'decoder/Stage.learning_rate = %RATE']
  with pytest.raises(
    ValueError, match=r"^decoder/Stage.learning_rate='5e-3': expected"
  ):
    recipes.parse_recipes(['runs/perceiver.gin'], [*folders, *rate])


@pytest.mark.parametrize(
  'line',
  [
    'import evil_module',
    'from runs.model import evil_module',
    'import persoma_tfx.evil_module',
    'from __gin__ import dynamic_registration',
    "include 'other.gin'",
    "include 'tasks.gin'",
  ],
)
def test_a_model_imports_only_what_is_trusted(tmp_path, monkeypatch, line):
  """Neither is it imported before it is refused."""
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.chdir(tmp_path)
  for folder in ('', 'runs/model/', 'persoma_tfx/'):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / 'evil_module.py').write_text("raise SystemExit('evil')\n")
  for name in ('other.gin', 'tasks.gin'):
    (tmp_path / name).write_text('import evil_module\n')
  (tmp_path / 'config.gin').write_text(f'{line}\nimport tasks.histories\n')
  with pytest.raises(ValueError, match=r'config\.gin imports .*--trusted_modules'):
    Predictor(str(tmp_path), 'h', 'e', 1)


def test_a_model_imports_what_is_named(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'my_own').mkdir()
  (tmp_path / 'my_own' / 'question.py').write_text('')
  file = tmp_path / 'config.gin'
  file.write_text('import my_own.question\nimport tasks.histories\ntrain.seed = 4\n')
  with pytest.raises(ValueError, match=r'imports my_own\.question; a model may import'):
    recipes.parse_model(str(file))
  recipes.parse_model(str(file), ['train.seed = 5'], ['my_own'])
  assert gin.query_parameter('train.seed') == 5


@pytest.mark.parametrize('binding', ['Perceiver.widht = 3', 'No.such = 1', 'a b'])
def test_errors_name_the_recipe(binding):
  with pytest.raises(ValueError, match=r'perceiver\.gin'):
    recipes.parse_recipes(['runs/perceiver.gin'], [binding])
