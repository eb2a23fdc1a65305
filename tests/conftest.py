"""Fixtures that several rooms use. Data that is not there skips a test."""

import contextlib
import gc
import importlib
import os
import pathlib
import re
import time
from collections.abc import Sequence

import gin
import pytest

_COMPILED = pathlib.Path(__file__).parents[1] / '.pytest_cache' / 'compiled'


def _keep_compiled() -> None:
  """Makes the folder of compiled code, and deletes what is older than a week.

  What one test has compiled, the next ones, their processes and the next runs need not
  compile again. JAX names an entry by program, flags, versions and devices; what it
  cannot read is compiled anew.
  """
  _COMPILED.mkdir(parents=True, exist_ok=True)
  for entry in _COMPILED.iterdir():
    with contextlib.suppress(FileNotFoundError):  # another run deletes, too
      if time.time() - entry.stat().st_mtime > 7 * 24 * 3600:
        entry.unlink()


if 'PYTEST_XDIST_WORKER' not in os.environ:  # workers have what their parent has
  _keep_compiled()
  os.environ['JAX_COMPILATION_CACHE_DIR'] = str(_COMPILED)
  # Tests compile much and compute little: code that is less fast, but made sooner, and
  # by one thread, as one part of LLVM's instead of up to 32.
  _FLAGS = '--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false '
  _FLAGS += '--xla_cpu_parallel_codegen_split_count=1'
  os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {_FLAGS}'
  # Nothing here uses tf.keras. TensorFlow takes two seconds to import Keras 3 for it,
  # but does without Keras 2, which is not installed.
  os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'
os.environ['JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES'] = '-1'

from persoma_tf import assets as pinned
from persoma_tf import recipes
from tests import movielens

# Files of few, long tests: first, so that no worker is left with one at the end.
_LONG = (
  *('test_predictor.py', 'test_batch_predict.py', 'test_engines.py', 'test_loop.py'),
  *('test_stages.py', 'test_chain.py', 'test_train.py', 'test_own_decoder.py'),
  *('test_generate.py', 'test_own_data.py', 'test_export_decoder.py'),
  *('test_question_mixture.py', 'test_predict_questions.py', 'test_try_dataset.py'),
)
_SHARED = pathlib.Path(__file__).parents[2] / 'shared' / 'data'


def pytest_addoption(parser):
  """Options of `make test-engine`."""
  group = parser.getgroup('job service', 'a service for tests/engines/test_job_service')
  group.addoption('--job_endpoint', help='host:port of a job service that runs')
  group.addoption(
    '--environment',
    default='LOOPBACK',
    help="where its workers run: type and configuration, such as 'DOCKER my-image'",
  )
  group.addoption('--kill', help='command that kills a worker')


def pytest_configure(config):
  """Loads what recipes set and fixtures use, in processes that run tests.

  xdist's first process runs none: its workers need not wait until it has loaded JAX,
  Beam and TensorFlow, too.
  """
  if hasattr(config, 'workerinput') or not config.getoption('numprocesses'):
    importlib.import_module('persoma_tf.training.training_run')
    importlib.import_module('tests.tiny')
    for name in ('traced_once', 'beam_once'):
      importlib.import_module(f'tests.{name}').install()


def pytest_runtest_setup(item):
  importlib.import_module('tests.traced_once').share(
    'monkeypatch' not in item.fixturenames
  )


def pytest_collection_modifyitems(items):
  """Orders the files."""
  items.sort(key=lambda item: item.path.name not in _LONG)
  gc.freeze()  # what the imports made stays: the collector need not look at it again


def pytest_sessionfinish(session):
  """Fails where a test was skipped for another reason than ALLOWED_SKIPS matches."""
  reporter = session.config.pluginmanager.get_plugin('terminalreporter')
  allowed = os.environ.get('ALLOWED_SKIPS')
  if not reporter or allowed is None:  # the workers of xdist have none
    return
  reasons = {report.longrepr[2] for report in reporter.stats.get('skipped', [])}
  if others := sorted(x for x in reasons if not re.search(allowed, x)):
    reporter.write_line(f'\nnot to be skipped here: {others}', red=True)
    session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _test_data(name: str) -> pathlib.Path:
  """A file or folder of real data, where the machine has it."""
  path = pathlib.Path(os.environ.get('PERSOMA_TEST_DATA', _SHARED)) / name
  if not path.exists():
    pytest.skip(f'{name} is not here; PERSOMA_TEST_DATA names the folder it lies in')
  return path


@pytest.fixture(autouse=True)
def _no_settings_left():
  """gin holds settings for the whole process: no test takes those of another one."""
  gin.clear_config()
  yield
  gin.clear_config()


@pytest.fixture
def ml_latest_small() -> pathlib.Path:
  """The real ml-latest-small folder."""
  return _test_data('ml-latest-small')


@pytest.fixture
def descriptions() -> pathlib.Path:
  """The folder of a real file of ml-latest-small's movies with their overviews."""
  return _test_data('descriptions')


@pytest.fixture
def t5_pieces() -> pathlib.Path:
  """T5's real SentencePiece model."""
  return _test_data('t5_vocab/spiece.model')


@pytest.fixture(scope='session')
def assets():
  """name -> folder of a pinned asset; skips where it cannot be had."""

  def folder(name: str) -> pathlib.Path:
    try:
      return pinned.path(name)
    except pinned.AssetError as error:
      pytest.skip(str(error))

  return folder


@pytest.fixture(scope='session')
def tiny(tmp_path_factory) -> pathlib.Path:
  """A generated MovieLens CSV folder: 40 users, 60 movies. Read only."""
  return movielens.write(tmp_path_factory.mktemp('movielens'))


@pytest.fixture(scope='session')
def folders(tmp_path_factory) -> tuple[pathlib.Path, pathlib.Path]:
  """(histories, embeddings) of a generated data set. Read only."""
  from tests import tiny as tiny_parts

  return tiny_parts.write_folders(tmp_path_factory.mktemp('folders'))


@pytest.fixture(scope='session')
def tiny_decoder(tmp_path_factory) -> pathlib.Path:
  """A GGUF file of 0.8 M random parameters."""
  from tests import tiny as tiny_parts

  return tiny_parts.write_decoder(tmp_path_factory.mktemp('decoder') / 'tiny.gguf')


@pytest.fixture
def recipe(assets, folders, tiny_decoder):
  """Parses the quickstart's recipe, or others, for the small parts; with bindings."""
  from tests import tiny as tiny_parts

  assets('smollm2-135m-instruct')  # the vocabulary
  histories, embeddings = folders

  def parse(*bindings: str, files: Sequence[str] = ('runs/perceiver.gin',)) -> None:
    gin.clear_config()
    recipes.parse_recipes(
      files,
      [
        f'HISTORIES_DIR = {str(histories)!r}',
        f'EMBEDDINGS_DIR = {str(embeddings)!r}',
        f'build.decoder = {str(tiny_decoder)!r}',
        *tiny_parts.RECIPE,
        *bindings,
      ],
    )

  return parse


@pytest.fixture(scope='session')
def _model_folder(tmp_path_factory) -> pathlib.Path:
  """Where `model` is trained."""
  return tmp_path_factory.mktemp('model')


@pytest.fixture
def model(recipe, _model_folder) -> pathlib.Path:
  """A model folder of the small quickstart's recipe, trained once. Read only."""
  from persoma_tf.training import trainer

  if not (_model_folder / 'COMPLETED').exists():
    recipe()
    trainer.train(str(_model_folder))
  return _model_folder


@pytest.fixture
def loaded_once(monkeypatch):
  """Lets a test's runs of equal settings share a predictor: to trace one takes long."""
  from pipelines.predictions import answer_shards

  predictors, load = {}, answer_shards.AnswerHandler.load_model
  names = (*answer_shards._READ, 'batch_size', 'decoding', 'batch_tokens', 'trusted')
  names += ('questions', 'drafts')

  def load_model(handler):
    key = repr([getattr(handler._config, name) for name in names])
    if key not in predictors:
      predictors[key] = load(handler)
    return predictors[key]

  monkeypatch.setattr(answer_shards.AnswerHandler, 'load_model', load_model)


@pytest.fixture(scope='session')
def choice_folder(tmp_path_factory):
  """(folder of `tests.choices.write_choice`, examples of each split). Read only."""
  from tests import choices

  folder = tmp_path_factory.mktemp('choice')
  return folder, choices.write_choice(folder)


@pytest.fixture(scope='session')
def choice_model_dir(tmp_path_factory) -> pathlib.Path:
  """A folder to train `choice_model` into once."""
  return tmp_path_factory.mktemp('choice_model')


@pytest.fixture
def choice_model(choice_recipe, choice_model_dir) -> pathlib.Path:
  """A small model, trained on the choice of `choice_folder`. Read only."""
  from persoma_tf.training import trainer

  if not (choice_model_dir / 'COMPLETED').exists():
    choice_recipe()
    trainer.train(str(choice_model_dir))
  return choice_model_dir


@pytest.fixture
def choice_recipe(choice_folder):
  """Parses the recipe of a choice for the small parts; with bindings."""
  from tests import choices

  def parse(*bindings: str, file: str = 'runs/choice.gin') -> None:
    gin.clear_config()
    settings = choices.settings_of(choice_folder[0])
    recipes.parse_recipes([file], [*settings, *bindings])

  return parse
