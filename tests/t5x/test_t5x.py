"""The recipes for T5X, run by T5X itself on a small decoder.

Skipped where t5x is not installed (make setup-t5x); REQUIRE_T5X=1 makes that an error.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from flax import traverse_util

from persoma_tf.parameters import checkpoints
from tests import tiny
from tests.t5x import installed

pytestmark = [pytest.mark.t5x, pytest.mark.assets]
installed.require()

ROOT = pathlib.Path(__file__).parents[2]
SMALL = [
  x for x in tiny.RECIPE if not x.startswith(('histories/', 'decoder/', 'train.'))
]
FEW = ('TRAIN_STEPS = 4', 'EVAL_PERIOD = 2', 'BATCH_SIZE = 4')


class Runs:
  """Commands on the small folders."""

  def __init__(self, folder, folders, decoder, recipe='runs/quickstart.gin'):
    self.folder, self._decoder, self._recipe = folder, decoder, recipe
    self.histories, self.embeddings = folders

  def start(self, module: str, *flags: str, devices: int = 1) -> subprocess.Popen:
    """A process; what it prints goes into a file."""
    option = f'--xla_force_host_platform_device_count={devices}'
    variables = {**os.environ, 'XLA_FLAGS': f'{os.environ["XLA_FLAGS"]} {option}'}
    with (self.folder / 'log').open('w') as log:
      return subprocess.Popen(
        [sys.executable, '-m', module, *flags],
        cwd=ROOT,
        env=variables,
        stdout=log,
        stderr=subprocess.STDOUT,
      )

  def finish(self, process: subprocess.Popen, expect: int = 0) -> str:
    """What a process printed. T5X may hang behind an error: it is not waited for."""
    try:
      code = process.wait(200)
    except subprocess.TimeoutExpired:
      process.kill()
      code = 'none in 200 s'
    text = (self.folder / 'log').read_text()
    assert code == expect, text[-3000:]
    return text

  def native(self, module: str, *flags: str, gin_bindings=()) -> None:
    """A command of ours."""
    folders = [f'--histories_dir={self.histories}']
    folders += [f'--embeddings_dir={self.embeddings}']
    values = [x.replace(' = ', '=', 1) for x in gin_bindings]
    process = self.start(module, *folders, *flags, *(f'--gin.{x}' for x in values))
    self.finish(process)

  def convert(self, output, *flags, bindings=()) -> pathlib.Path:
    """persoma_tf.convert_checkpoint with the small recipe."""
    self.native(
      'persoma_tf.convert_checkpoint',
      f'--gin_file={self._recipe}',
      f'--output_dir={self.folder / output}',
      *flags,
      gin_bindings=[*SMALL, f"build.decoder = '{self._decoder}'", *bindings],
    )
    return self.folder / output

  def t5x(self, program: str, recipe: str, *bindings: str, devices=1, mode=''):
    """Starts t5x.<program> with one of our recipes, or several, with spaces."""
    values = [
      f"HISTORIES_DIR = '{self.histories}'",
      f"EMBEDDINGS_DIR = '{self.embeddings}'",
      f"build.decoder = '{self._decoder}'",
      *SMALL,
      *bindings,
    ]
    flags = ['--gin_search_paths=.']
    flags += [f'--gin_file=persoma_tf/configs/t5x/{x}.gin' for x in recipe.split()]
    flags += [f'--gin.{x.replace(" = ", "=", 1)}' for x in values]
    flags += [f'--run_mode={mode}'] if mode else []
    return self.start(f't5x.{program}', *flags, devices=devices)

  def train(self, output, start, *bindings, recipe='train', devices: int = 1) -> str:
    """t5x.train to its end; returns what it printed."""
    return self.finish(
      self.t5x(
        'train', recipe, *self.folders(output, start), *bindings, devices=devices
      )
    )

  def folders(self, output, start):
    """Where a training writes and begins."""
    return (
      f"MODEL_DIR = '{self.folder / output}'",
      f"INITIAL_CHECKPOINT_PATH = '{start}'",
      *FEW,
    )

  def infer(
    self, checkpoint, output, *bindings, recipe='infer', key='user_id'
  ) -> dict[str, dict]:
    """t5x.infer over the test users; user id -> line."""
    values = [f"CHECKPOINT_PATH = '{checkpoint}'"]
    values += [f"INFER_OUTPUT_DIR = '{self.folder / output}'"]
    self.finish(self.t5x('infer', recipe, *values, *bindings))
    (file,) = (self.folder / output).glob('*.jsonl-00000-of-00001')
    lines = [json.loads(line) for line in file.open()]
    return {line['inputs'][key]: line for line in lines}

  def predict(self, model, output, *flags: str, key='user_id') -> dict[str, dict]:
    """pipelines.batch_predict over the test users; user id -> row."""
    folders = (f'--model_dir={model}', f'--output_dir={self.folder / output}')
    # T5X's answers are free, and in the type of the restored parameters.
    free = ('--noconstrained', '--weights=float32', '--format=json')
    self.native('pipelines.batch_predict', *folders, *free, *flags)
    return self.rows(output, key)

  def answers(self, model, lines, output, key='user_id') -> dict[str, dict]:
    """pipelines.t5x_answers of what `infer` wrote; user id -> row."""
    flags = [f'--answers_dir={self.folder / lines}', f'--model_dir={model}']
    flags += [f'--histories_dir={self.histories}', '--format=json']
    table = f'--output_dir={self.folder / output}'
    self.finish(self.start('pipelines.t5x_answers', *flags, table))
    return self.rows(output, key)

  def rows(self, output, key) -> dict[str, dict]:
    """The rows of a table."""
    files = (self.folder / output).glob('predictions*')
    lines = [line for file in files for line in file.open()]
    return {row[key]: row for row in map(json.loads, lines)}


@pytest.fixture(scope='module')
def runs(tmp_path_factory, assets, folders, tiny_decoder) -> Runs:
  assets('smollm2-135m-instruct')  # the vocabulary
  return Runs(tmp_path_factory.mktemp('t5x'), folders, tiny_decoder)


@pytest.fixture(scope='module')
def start(runs) -> pathlib.Path:
  """What a training begins with."""
  return runs.convert('start') / 'checkpoint_0'


@pytest.fixture(scope='module')
def trained(runs, start) -> pathlib.Path:
  """An uncut run."""
  log = runs.train('model', start)
  assert 'movielens_genre_prediction_v1/f1 at step 4' in log, 'no scores in training'
  return runs.folder / 'model' / 'checkpoint_4'


@pytest.fixture(scope='module')
def exported(runs, trained) -> pathlib.Path:
  """A model folder of T5X's checkpoint."""
  return runs.convert('exported', f'--checkpoint={trained}')


@pytest.fixture(scope='module')
def answers(runs, trained) -> dict[str, dict]:
  """What T5X answers by greedy search."""
  return runs.infer(trained, 'answers')


def flat(checkpoint) -> dict[str, np.ndarray]:
  return traverse_util.flatten_dict(checkpoints.load_params(str(checkpoint)), sep='/')


def changed(before, after) -> set[str]:
  """Parameters that two checkpoints do not have alike, bit for bit."""
  before, after = bits(flat(before)), bits(flat(after))
  assert before.keys() == after.keys()
  return {path for path, x in before.items() if x != after[path]}


def bits(params: dict[str, np.ndarray]) -> dict[str, bytes]:
  return {path: np.asarray(x).tobytes() for path, x in params.items()}


def test_only_what_should_train_moves(start, trained):
  words = {'adapter/draft/words', 'adapter/draft/template'}
  assert changed(start, trained) == words


def test_a_killed_run_goes_on(runs, start):
  folder = runs.folder / 'killed'
  process = runs.t5x('train', 'train', *runs.folders('killed', start))
  deadline = time.monotonic() + 150
  while not (folder / 'checkpoint_2' / 'commit_success.txt').exists():
    assert process.poll() is None
    assert time.monotonic() < deadline
    time.sleep(0.1)
  process.send_signal(signal.SIGKILL)
  process.wait()
  kept = bits(flat(folder / 'checkpoint_2'))
  log = runs.train('killed', start)
  assert 'checkpoint_2' in log
  assert (folder / 'checkpoint_4').exists()
  assert bits(flat(folder / 'checkpoint_2')) == kept


def test_answers_equal_those_of_batch_predict(runs, trained, exported, answers):
  """T5X's checkpoint in our pipeline, in T5X, and our checkpoint in T5X: one answer."""
  ours, theirs = runs.predict(exported, 'predictions'), answers
  assert ours.keys() == theirs.keys()
  assert len(ours) >= 5
  for user, row in ours.items():
    assert theirs[user]['prediction'] == row['text']
    assert theirs[user]['aux']['scores'] == pytest.approx(row['log_prob'], rel=1e-5)
    assert sum(theirs[user]['inputs']['history_mask']) == row['history_length']
  # One command makes the same table of T5X's lines.
  for user, row in runs.answers(exported, 'answers', 'table').items():
    ours_row = ours[user]
    for column in ('predicted_liked', 'predicted_disliked', 'text', 'parse_ok'):
      assert row[column] == ours_row[column]
  # A native checkpoint has only what was trained; the converter adds the decoder.
  native = runs.folder / 'native'
  kept = {'adapter': checkpoints.load_params(str(trained))['adapter']}
  checkpoints.save(checkpoints.manager(str(native)), 4, kept, {})
  shutil.copy(exported / 'inputs.json', native)
  begin = runs.convert('of_native', f'--start={native / "checkpoint_4"}')
  again = runs.infer(begin / 'checkpoint_0', 'again')
  assert {user: x['prediction'] for user, x in again.items()} == {
    user: x['prediction'] for user, x in theirs.items()
  }


def test_beams_equal_those_of_batch_predict(runs, trained, exported, answers):
  """Two searches by different code have the same answers, and not greedy search's.

  Their scores say nothing of greedy search's: here four beginnings of two tokens are
  likelier than the greedy one, and each leads to a less likely answer of 24 tokens.
  """
  ours = runs.predict(exported, 'beam_predictions', '--beams=4')
  theirs = runs.infer(trained, 'beam', 'PersomaModel.beams = 4')
  assert ours.keys() == theirs.keys() == answers.keys()
  for user, row in ours.items():
    # Of answers that end, the two searches keep others: then they may differ.
    assert theirs[user]['prediction'] == row['text']
    assert theirs[user]['aux']['scores'] == pytest.approx(row['log_prob'], rel=1e-5)
  assert any(
    x['prediction'] != answers[user]['prediction'] for user, x in theirs.items()
  )


def test_score_is_the_log_likelihood(runs, trained):
  lines = runs.infer(trained, 'scores', "infer.mode = 'score'")
  assert all(x['score'] < 0 for x in lines.values())


def test_evaluation(runs, trained):
  output = runs.folder / 'evaluation'
  values = [f"CHECKPOINT_PATH = '{trained}'", f"EVAL_OUTPUT_DIR = '{output}'"]
  log = runs.finish(runs.t5x('eval', 'eval', *values))
  assert 'movielens_genre_prediction_v1/f1' in log


def test_a_choice(tmp_path, choice_folder):
  """Trained, asked and written as a table: that of batch_predict, where T5X asks."""
  folder, examples = choice_folder
  decoder = folder / 'small_decoder'
  places = folder / 'histories', folder / 'embeddings'
  runs = Runs(tmp_path, places, decoder, 'runs/choice.gin')
  own = f"DECODER = '{decoder}'"
  start = runs.convert('start', bindings=[own]) / 'checkpoint_0'
  log = runs.train('model', start, own, recipe='train choice')
  assert 'choice_items_v1/accuracy at step 4' in log
  trained = tmp_path / 'model' / 'checkpoint_4'
  assert changed(start, trained) == {'adapter/draft/words', 'adapter/draft/template'}
  of = {'key': 'example_id'}
  lines = runs.infer(trained, 'lines', own, recipe='infer choice', **of)
  answered = {x['example_id'] for x in examples['test'] if x['answer']}
  assert lines.keys() == answered
  exported = runs.convert('exported', f'--checkpoint={trained}', bindings=[own])
  ours = runs.predict(exported, 'predictions', **of)
  table = runs.answers(exported, 'lines', 'table', **of)
  assert table.keys() == answered < ours.keys()
  for name, row in table.items():
    same = ('user_id', 'item_id', 'text', 'answer', 'parse_ok', 'history_length')
    assert [row[x] for x in same] == [ours[name][x] for x in same]
    assert row['log_prob'] == pytest.approx(ours[name]['log_prob'], rel=1e-5)
  (rejects,) = (tmp_path / 'table').glob('rejects*')
  assert len(rejects.read_text().splitlines()) == len(ours) - len(table) > 0


def test_lora(runs):
  begin = (
    runs.convert('lora_start', bindings=["train.tuning = 'lora'"]) / 'checkpoint_0'
  )
  runs.train('lora', begin, recipe='finetune_lora')
  moved = changed(begin, runs.folder / 'lora' / 'checkpoint_4')
  decoder = {path for path in moved if path.startswith('decoder/')}
  assert decoder
  assert all(path.rsplit('/', 1)[-1] in ('lora_a', 'lora_b') for path in decoder)


@pytest.mark.parametrize('family', ['gemma', 't5'])
def test_other_decoders(runs, family):
  """Trained and asked, each with a vocabulary of its own."""
  pieces, folder = runs.folder / 'own.model', runs.folder / family
  pieces.write_bytes(tiny.train_sentence_piece())
  if family == 't5':
    decoder = tiny.write_t5(folder, 370)
  else:
    decoder = tiny.write_gemma(folder.with_suffix('.gguf'), tiny.random_gemma(370))
  bindings = [f"build.decoder = '{decoder}'", f"task_vocabulary.decoder = '{pieces}'"]
  begin = runs.convert(f'{family}_start', bindings=bindings) / 'checkpoint_0'
  runs.train(f'{family}_model', begin, *bindings)
  end = runs.folder / f'{family}_model' / 'checkpoint_4'
  words = {'adapter/draft/words', 'adapter/draft/template'}
  assert changed(begin, end) == words
  answers = runs.infer(end, f'{family}_answers', *bindings)
  assert len(answers) >= 5
  assert all(line['aux']['scores'] < 0 for line in answers.values())


def test_full(runs, start):
  runs.train('full', start, recipe='finetune_full')
  moved = changed(start, runs.folder / 'full' / 'checkpoint_4')
  assert 'decoder/layers/attention/query/kernel' in moved


def test_a_checkpoint_without_the_decoder_is_an_error(runs, start):
  params = checkpoints.load_params(str(start))
  partial = runs.folder / 'partial'
  del params['decoder']['layers']['attention']['query']
  checkpoints.save(checkpoints.manager(str(partial)), 0, params, {})
  process = runs.t5x('train', 'train', *runs.folders('never', partial / 'checkpoint_0'))
  expected, log = 'missing [.decoder/layers/attention/query/kernel.]', ''
  deadline = time.monotonic() + 150
  while 'does not fit the model' not in log and time.monotonic() < deadline:
    time.sleep(1)
    log = (runs.folder / 'log').read_text()
  process.kill()  # T5X hangs behind an error
  process.wait()
  assert expected.replace('.', "'") in log
  shutil.rmtree(runs.folder / 'never', ignore_errors=True)


def test_eight_devices_have_the_loss_of_one(runs, start):
  """Data on four, the decoder's matrices on two."""
  same = (
    'TRAIN_STEPS = 2',
    'BATCH_SIZE = 8',
    'trainer.Trainer.num_microbatches = None',
  )
  runs.train('one', start, *same)
  two = 'partitioning.PjitPartitioner.num_partitions = 2'
  runs.train('eight', start, *same, two, devices=8)
  one, eight = (flat(runs.folder / x / 'checkpoint_2') for x in ('one', 'eight'))
  begin = flat(start)
  for path, x in one.items():
    np.testing.assert_allclose(eight[path], x, atol=1e-5, err_msg=path)
  words = 'adapter/draft/words'
  assert np.abs(one[words] - begin[words]).max() > 1e-3, 'nothing was learned'


def test_precompile(runs):
  """The compiled step of the whole model, without weights or a training."""
  installed.require('t5')
  output = runs.folder / 'compiled'
  values = [f"MODEL_DIR = '{output}'", 'BATCH_SIZE = 4']
  values += ['partitioning.PjitPartitioner.backend = None']  # this machine's own
  runs.finish(runs.t5x('main', 'precompile', *values, mode='precompile'))
  compiled = (output / 'lowered_hlo_post_optimization').read_bytes()
  assert b'jit_train_step' in compiled
