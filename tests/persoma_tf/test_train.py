"""The trainer on small parts: learning, freezing, going on, files."""

import itertools
import json
import pathlib
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from flax import traverse_util
from safetensors.numpy import load_file

from persoma_tf import decoders, gin_settings, operand_types, train
from persoma_tf.parameters import checkpoints, freezing
from persoma_tf.training import model_card, t5x_export, trainer, training_run
from persoma_tf.training.training_run import Recipe, TrainingRun
from tasks import item_prediction, vocabularies

pytestmark = pytest.mark.assets


def adapter(model_dir) -> dict[str, np.ndarray]:
  return load_file(pathlib.Path(model_dir) / 'adapter' / 'adapter.safetensors')


def assert_same(first: dict, second: dict) -> None:
  assert first.keys() == second.keys()
  for path, x in first.items():
    np.testing.assert_array_equal(x, second[path], err_msg=path)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Folder of an uncut run, made by the first test that needs it."""
  return tmp_path_factory.mktemp('whole') / 'model'


GROUPED = "decoder/Stage.group_by = 'targets'"  # going on must find the same batches
ROUNDED = "train.dtype = 'bfloat16'"


def test_a_run(recipe, whole, folders):
  recipe(GROUPED, ROUNDED)
  trainer.train(str(whole))
  names = {path.name for path in whole.iterdir()}
  assert {'config.gin', 'checkpoint_11', 'adapter', 'metrics.jsonl'} <= names
  assert 'COMPLETED' in names
  assert any(name.startswith('events.out.tfevents') for name in names)
  rows = [json.loads(line) for line in (whole / 'metrics.jsonl').open()]
  assert [row['step'] for row in rows] == [2, 3, 4, 6, 8, 9, 10, 11]
  assert 'histories/slot_loss' in rows[0]
  assert 'decoder/lm_loss' in rows[-1]
  stored = checkpoints.load_params(str(whole / 'checkpoint_11'))
  assert stored.keys() == {'adapter'}, 'the frozen decoder is in its own file'
  manifest = json.loads((whole / 'adapter' / 'manifest.json').read_text())
  assert manifest['step'] == 11
  assert manifest['task_prompt'] == '\nGenres:\n'
  encoder = json.loads((folders[1] / 'encoder_info.json').read_text())
  of_vectors = ('encoder_sha256', 'template', 'nouns')
  assert manifest['vectors'] == {name: encoder.get(name) for name in of_vectors}
  data = json.loads((folders[0] / 'dataset_info.json').read_text())
  assert manifest['genres'] == data['genres']
  card = (whole / 'adapter' / 'README.md').read_text()
  assert card == model_card.card_of_folder(str(whole))
  assert '\n# persoma-11-' in card
  for path, x in adapter(whole).items():
    np.testing.assert_array_equal(x, _at(stored, path))


def _at(tree, path):
  for key in path.split('/'):
    tree = tree[key]
  return tree


@pytest.mark.parametrize('steps', [6, 9])
def test_cut_and_continued_is_the_same(recipe, whole, tmp_path, steps, monkeypatch):
  """Stops behind a checkpoint, between two stages and within one; then goes on."""
  save = checkpoints.save

  def save_and_stop(manager, step, *rest):
    save(manager, step, *rest)
    if step == steps:
      raise KeyboardInterrupt

  recipe(GROUPED, ROUNDED)
  monkeypatch.setattr(checkpoints, 'save', save_and_stop)
  with pytest.raises(KeyboardInterrupt):
    trainer.train(str(tmp_path))
  monkeypatch.undo()
  assert not (tmp_path / 'COMPLETED').exists()
  recipe(GROUPED)  # the type is the one of the run
  trainer.train(str(tmp_path))
  assert_same(adapter(whole), adapter(tmp_path))
  ours, theirs = ((x / 'metrics.jsonl').read_text() for x in (tmp_path, whole))
  losses = lambda text: [
    {key: value for key, value in json.loads(line).items() if 'second' not in key}
    for line in text.splitlines()
  ]
  assert losses(ours) == losses(theirs)


def test_only_the_patterns_of_a_stage_move(recipe, tmp_path):
  stages = ('train.stages = [@decoder/Stage()]', 'decoder/Stage.steps = 2')
  recipe(*stages)
  trainer.train(str(tmp_path / 'moved'))
  recipe(*stages, 'decoder/Stage.learning_rate = 0.0')
  trainer.train(str(tmp_path / 'still'))
  moved, still = adapter(tmp_path / 'moved'), adapter(tmp_path / 'still')
  changed = {path for path, x in moved.items() if not np.array_equal(x, still[path])}
  assert changed == {'adapter/readout/words', 'adapter/readout/template'}
  stored = checkpoints.load_params(checkpoints.latest(str(tmp_path / 'moved')))
  every = traverse_util.flatten_dict({'adapter': stored['adapter']}, sep='/')
  assert moved.keys() == every.keys(), 'a part of the adapter cannot answer'


def test_a_checkpoint_has_what_lora_trains(recipe, tmp_path):
  recipe("train.tuning = 'lora'")
  run = TrainingRun(Recipe())
  params = run.fresh_params()
  moved = {path: x + 1 for path, x in run.trained_part(params).items()}
  kept = freezing.join_params(moved, {})
  checkpoints.save(checkpoints.manager(str(tmp_path)), 3, kept, {})
  found = run.params_at(str(tmp_path / 'checkpoint_3'))
  assert any(path.startswith('decoder/') for path in moved)
  del kept['decoder']
  checkpoints.save(checkpoints.manager(str(tmp_path)), 4, kept, {})
  with pytest.raises(
    ValueError, match=r'lacks parameters that the run trains: .*lora_'
  ):
    run.params_at(str(tmp_path / 'checkpoint_4'))
  trees = found, freezing.overlay(params, moved)
  assert_same(*(traverse_util.flatten_dict(x, sep='/') for x in trees))


def test_other_settings_are_refused(recipe, whole):
  recipe('train.seed = 5')
  with pytest.raises(ValueError, match=r'train.seed = 5'):
    trainer.train(str(whole))


@pytest.fixture(scope='module')
def copies(tmp_path_factory, folders, tiny_decoder):
  """A folder with copies of the inputs, and of a run on them that was cut."""
  folder = tmp_path_factory.mktemp('cut')
  for path in folders:
    shutil.copytree(path, folder / path.name)
  shutil.copy(tiny_decoder, folder / 'copy.gguf')
  return folder


@pytest.fixture
def cut_run(recipe, copies, monkeypatch):
  """Reads the recipe of the run that was cut, and returns the folder of all."""
  small = [
    f'{x.upper()}_DIR = {str(copies / x)!r}' for x in ('histories', 'embeddings')
  ]
  small += [f'build.decoder = {str(copies / "copy.gguf")!r}']
  small += ['train.stages = [@decoder/Stage()]', 'decoder/Stage.steps = 2']
  recipe(*small, 'train.checkpoint_period = 1')
  if not (copies / 'model').exists():

    def stop(*_):
      raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, 'prune', stop)
    with pytest.raises(KeyboardInterrupt):
      trainer.train(str(copies / 'model'))
    monkeypatch.undo()
  return copies


def test_a_run_resumes_only_with_the_decoder_of_its_start(cut_run, monkeypatch):
  file, model = cut_run / 'copy.gguf', cut_run / 'model'
  before = file.read_bytes()
  (cut_run / 'whole.gguf').write_bytes(before)
  file.write_bytes(before[:-64] + bytes(64))
  run, checkpoint = TrainingRun(Recipe()), str(cut_run / 'whole' / 'checkpoint_1')
  # As T5X writes it, and the trainer did before: with the frozen decoder.
  params = checkpoints.load_params(str(model / 'checkpoint_1'))
  params['decoder'] = decoders.load_decoder(str(cut_run / 'whole.gguf')).params
  checkpoints.save(checkpoints.manager(str(cut_run / 'whole')), 1, params, {})
  with pytest.raises(ValueError, match='differs from the decoder of the recipe'):
    run.params_at(checkpoint)
  with pytest.raises(ValueError, match='differs from the decoder of the recipe'):
    t5x_export.export_checkpoint(checkpoint, run, str(cut_run / 'exported'))
  assert not (cut_run / 'exported').exists()
  monkeypatch.setattr(trainer, 'TrainingRun', lambda _: run)
  with pytest.raises(
    ValueError, match=r'decoder .*copy.gguf was \w{12}… and is \w{12}…'
  ):
    trainer.train(str(model))
  file.write_bytes(before)


def test_a_run_resumes_only_with_the_data_of_its_start(cut_run):
  kept = [cut_run / 'histories/COMPLETED', cut_run / 'embeddings/embeddings.parquet']
  before = [file.read_bytes() for file in kept]
  kept[0].write_text(json.dumps(json.loads(before[0]) | {'fingerprint': 'made again'}))
  table = pq.read_table(kept[1])
  others = table['title_genres'].take([*range(len(table))][::-1])
  pq.write_table(table.set_column(1, 'title_genres', others), kept[1])
  wanted = 'histories .*histories was .* and is made again; vectors .* was .* and is'
  with pytest.raises(ValueError, match=wanted):
    trainer.train(str(cut_run / 'model'))
  for file, content in zip(kept, before, strict=True):
    file.write_bytes(content)


def test_an_adapter_that_cannot_answer_is_not_certified(cut_run, monkeypatch):
  exported, model = checkpoints.save_adapter, cut_run / 'model'

  def spoilt(folder, trained, manifest):
    broken = {'adapter/readout/words': trained['adapter/readout/words'] * np.nan}
    return exported(folder, trained | broken, manifest)

  monkeypatch.setattr(checkpoints, 'save_adapter', spoilt)
  with pytest.raises(ValueError, match='an answer with a log probability of nan'):
    trainer.train(str(model))
  assert not (model / 'COMPLETED').exists()
  monkeypatch.undo()
  # New copies, and what a later job records on purpose, are the same input.
  file = cut_run / 'histories' / 'COMPLETED'
  file.write_text(json.dumps(json.loads(file.read_text()) | {'deleted_users': ['7']}))
  trainer.train(str(model))
  assert (model / 'COMPLETED').exists()


def test_a_finished_run_is_left_as_it_is(recipe, whole):
  recipe(GROUPED)
  before = {path: path.stat().st_mtime_ns for path in whole.rglob('*')}
  trainer.train(str(whole))
  assert before == {path: path.stat().st_mtime_ns for path in whole.rglob('*')}


def test_nothing_is_deleted_or_written_before_all_is_there(recipe, tmp_path):
  foreign, model = tmp_path / 'foreign', tmp_path / 'model'
  foreign.mkdir()
  (foreign / 'thesis.txt').write_text('x')
  recipe()
  with pytest.raises(ValueError, match='which is not a PERSOMA run'):
    trainer.train(str(foreign), overwrite=True)
  recipe('train.initialize_only = True')
  trainer.train(str(model))
  files = sorted(model.rglob('*'))
  recipe("EMBEDDINGS_DIR = 'nowhere'")
  for folder in (model, tmp_path / 'new'):
    with pytest.raises(FileNotFoundError, match='not a finished folder'):
      trainer.train(str(folder), overwrite=True)
  assert sorted(model.rglob('*')) == files
  assert (foreign / 'thesis.txt').exists()
  assert not (tmp_path / 'new').exists()
  recipe('train.initialize_only = True', 'train.seed = 5')
  trainer.train(str(model), overwrite=True)
  assert 'train.seed = 5' in (model / 'config.gin').read_text()


def test_a_run_keeps_its_type_on_every_machine(recipe, tmp_path, monkeypatch):
  chosen_type = operand_types.chosen_type
  machine = lambda fastest: monkeypatch.setattr(
    operand_types, 'chosen_type', lambda x: fastest if x == 'auto' else chosen_type(x)
  )

  def dtype(*more, **options):
    recipe('train.initialize_only = True', *more)
    trainer.train(str(tmp_path), **options)
    config = gin_settings.settings((tmp_path / 'config.gin').read_text())
    return config['train.dtype']

  machine('bfloat16')
  assert dtype() == 'bfloat16'
  machine('float32')
  assert dtype() == 'bfloat16'
  with pytest.raises(ValueError, match='with other settings'):
    dtype("train.dtype = 'float32'")
  assert dtype(overwrite=True) == 'float32'


def test_a_corrected_command_just_runs(recipe, tmp_path):
  """A wrong setting of any stage ends a run before its first step."""
  short = ('decoder/Stage.steps = 1', 'histories/Stage.steps = 1')
  for stage in ('histories', 'decoder'):
    recipe(*short, f"{stage}/Stage.trainable = ('adapter/nothing',)")
    with pytest.raises(ValueError, match="'adapter/nothing' matches no parameter"):
      trainer.train(str(tmp_path))
    assert not list(tmp_path.glob('checkpoint_*'))
  recipe(*short)
  trainer.train(str(tmp_path))
  assert (tmp_path / 'COMPLETED').exists()


def test_a_binding_that_nothing_reads_is_named(recipe, tmp_path, caplog):
  recipe('train.initialize_only = True', 'Mlp.width = 3')
  chosen = ['train.initialize_only = True', 'Mlp.width = 3']
  with caplog.at_level('WARNING', 'persoma_tf.training.trainer'):
    trainer.train(str(tmp_path), chosen=chosen)
  messages = [record.message for record in caplog.records if 'reads' in record.message]
  assert messages == ['nothing in this recipe reads --gin.Mlp.width = 3']


def test_it_learns(recipe, tmp_path):
  """The slot loss on a fixed small set falls well below that of the first steps."""
  settings = ('histories/Stage.steps = 150', 'train.checkpoint_period = 1000')
  settings += ("histories/Stage.group_by = 'history'",)
  recipe('train.stages = [@histories/Stage()]', *settings)
  trainer.train(str(tmp_path))
  rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').open()]
  losses = [row['histories/slot_loss'] for row in rows]
  assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_unknown_task(recipe):
  recipe("train.task = 'movielens'")
  known = (
    "there is no task 'movielens'; .*movielens_genre_prediction_v1.*import the module"
  )
  with pytest.raises(ValueError, match=known):
    TrainingRun(Recipe())


def test_unknown_recipe(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'runs/quickstart\.gin'):
    train.main(['--gin_file=runs/quikstart.gin', f'--model_dir={tmp_path}'])


def test_no_prompt_of_a_mixture_is_cut_off(recipe, monkeypatch):
  asked = '\nThe films that this user has seen, with their genres:\n'
  monkeypatch.setattr(item_prediction, 'TASK_PROMPT', asked)
  recipe("train.task = 'movielens_items_and_genres_v1'", 'train.seed = 1')
  run = TrainingRun(Recipe())
  batches = itertools.islice(run.data(run.stages[0], 0, 0), 4)
  prompts = {
    vocabularies.VOCABULARY.decode(row[row > 0].tolist())
    for batch in batches
    for row in batch['encoder_input_tokens']
  }
  assert prompts == {'\nGenres:\n', asked}


def test_a_stage_with_a_task_of_its_own(recipe, tmp_path, monkeypatch):
  """Items first, then the real task, before the linear readout."""
  asked, batches = [], training_run.training_batches

  def recorded(task, split, *rest):
    asked.append(task)
    return batches(task, split, *rest)

  monkeypatch.setattr(training_run, 'training_batches', recorded)
  recipe(
    'items/Stage.steps = 2',
    'items/Stage.batch_size = 2',
    "items/Stage.group_by = ''",
    'decoder/Stage.steps = 1',
    files=['runs/item_warmup.gin'],
  )
  trainer.train(str(tmp_path))
  items = 'movielens_items_and_genres_v1'
  genres = 'movielens_genre_prediction_subhistories_v1'
  # To check the data; for the initial parameters; to train; for the task prompt.
  assert asked == [items, genres, items, items, genres, genres]
  rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').open()]
  assert [key for row in rows for key in row if key.endswith('/lm_loss')] == [
    'items/lm_loss',
    'decoder/lm_loss',
  ]
  assert 'adapter/readout/out/kernel' in adapter(tmp_path)
