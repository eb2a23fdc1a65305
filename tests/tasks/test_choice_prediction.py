"""Examples of a choice: what is asked, the history before it, the prompt of each."""

import json
import logging
import shutil

import gin
import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import seqio
import tensorflow as tf

from persoma_tf import losses, recipes
from persoma_tf.adapters.option_queries import OptionQueries
from persoma_tf.adapters.value_regression import ValueRegression
from persoma_tf.parameters import checkpoints
from persoma_tf.training import batching, trainer
from persoma_tf.training.training_run import Recipe, TrainingRun
from persoma_tf.training.vector_rows import gather, rows_lengths
from pipelines.common import tfrecord
from tasks import (
  choice_prediction,
  dataset_question,
  genre_prediction,
  item_statistics,
  question_examples,
)
from tasks.history_columns import HistoryColumns
from tasks.numbered_records import NumberedRecords
from tasks.questions import question_of_config
from tasks.vocabularies import VOCABULARY
from tests import choices

TASK = 'choice_v1'
SOURCE = question_examples.AnsweredSource()


def prompt_of(example, items):
  """The prompt of an example, written without the template's code."""
  because = example['field_asked_because']
  item = items[example['example_item'][0]]
  author = f' by {item["author"]}' if item['author'] else ''
  because = because[0] if because else ''
  return f'\n{because}: will the reader like {item["title"]}{author}?\nAnswer:'


@pytest.fixture
def items(choice_folder):
  """What the prompts can name of each item."""
  table = pq.read_table(choice_folder[0] / 'histories' / 'items.parquet')
  return table['fields'].to_pylist()


@pytest.fixture
def answered(choice_folder):
  """id -> training example with an answer."""
  found = choices.by_id(choice_folder[1]['train'])
  return {key: example for key, example in found.items() if example['answer']}


def dataset(task=TASK, split='train'):
  lengths = choice_prediction.choice_lengths()
  task = seqio.get_mixture_or_task(task)
  return list(task.get_dataset(lengths, split, shuffle=False).as_numpy_iterator())


def test_every_example_with_an_answer(choice_recipe, choice_folder, answered, items):
  choice_recipe()
  made = {row['example_id'].decode(): row for row in dataset()}
  assert (
    made.keys() == answered.keys() < choices.by_id(choice_folder[1]['train']).keys()
  )
  vectors = item_statistics.interaction_vectors()
  for key, example in answered.items():
    row, user = made[key], example['user_id'].encode()
    assert choices.strictly_before(example)
    assert VOCABULARY.decode(row['inputs'].tolist()) == prompt_of(example, items)
    text = VOCABULARY.decode(row['targets'][:-1].tolist())
    assert text == f' {example["answer"][0]}'
    assert row['targets'][-1] == VOCABULARY.eos_id
    assert row['answer_slots'].tolist() == [['Yes', 'No'].index(example['answer'][0])]
    shown = HistoryColumns.of_record(example).take(slice(12))
    history = vectors.gather(shown, user)
    np.testing.assert_array_equal(row['history_embeddings'], history)
    asked = vectors.gather_items(np.array(example['example_item']), user)
    np.testing.assert_array_equal(row['asked_embeddings'], asked)


def test_no_example_is_longer_than_the_lengths(choice_recipe, choice_folder, items):
  choice_recipe()
  lengths = choice_prediction.choice_lengths()
  every = [example for rows in choice_folder[1].values() for example in rows]
  sizes = [len(VOCABULARY.encode(prompt_of(example, items))) for example in every]
  assert lengths['inputs'] == max(sizes)
  assert (
    lengths['targets'] == max(len(VOCABULARY.encode(x)) for x in (' Yes', ' No')) + 1
  )
  assert (lengths['asked_embeddings'], lengths['answer_slots']) == (1, 1)


def ids(start, count, seed=5):
  rows = SOURCE.from_index('train', seed, start).take(count)
  return [row['example_id'].decode() for row in rows.as_numpy_iterator()]


def test_every_answered_example_comes_once_an_epoch(choice_recipe, answered):
  choice_recipe()
  size = len(answered)
  drawn = ids(0, 2 * size)
  assert sorted(drawn[:size]) == sorted(drawn[size:]) == sorted(answered)
  assert drawn[:size] != drawn[size:]
  assert ids(size + 3, 9) == drawn[size + 3 :][:9], 'entered by index'
  assert ids(0, size, seed=6) != drawn[:size]


def test_compressed_files_and_places_agree(tmp_path):
  records = pa.array([f'{number}'.encode() for number in range(20)], pa.binary())
  kept = lambda x: tf.strings.to_number(x, tf.int32) % 3 > 0
  found = []
  for name, compression in (('a.tfrecord', ''), ('a.tfrecord.gz', 'gzip')):
    path = tmp_path / name
    path.write_bytes(tfrecord.frame_records(records, compression))
    state = path.stat()
    state = (state.st_size, state.st_mtime_ns)
    numbered = NumberedRecords([str(path)], [state], kept)
    assert (len(numbered), numbered.left_out) == (13, 7)
    found.append(numbered.drawn(np.arange(13), 0).tolist())
  assert found[0] == found[1]
  assert {int(x) % 3 for x in found[0]} == {1, 2}


def test_what_is_left_out_is_told(choice_recipe, choice_folder, answered, caplog):
  choice_recipe()
  question_examples._log_left_out.cache_clear()
  with caplog.at_level(logging.INFO):
    SOURCE.records('train')
  whole = len(choice_folder[1]['train'])
  left = f'{whole - len(answered)} examples have no answer and are left out'
  assert left in caplog.text


def test_rows_are_the_same_examples(choice_recipe):
  choice_recipe('choice_lengths.known = 5')
  lengths = choice_prediction.choice_lengths()
  first = lambda lengths: next(batching.training_batches(TASK, 'train', lengths, 8, 0))
  vectors, rows = first(lengths), first(rows_lengths(lengths))
  assert rows['asked_rows'].shape == (8, 1, 2)  # of the item, of its statistics
  made = jax.device_get(gather(rows, genre_prediction.interaction_tables()))
  assert made.keys() == vectors.keys()
  there = vectors['history_mask'] > 0
  for name, x in vectors.items():
    keep = there if name == 'history_embeddings' else slice(None)  # padding may differ
    np.testing.assert_array_equal(made[name][keep], x[keep], err_msg=name)


def test_known_interactions_are_of_the_history(choice_recipe, choice_folder):
  choice_recipe('choice_lengths.known = 5')
  lengths = rows_lengths(choice_prediction.choice_lengths())
  batch = next(batching.training_batches(TASK, 'train', lengths, 8, 0))
  folder = choice_folder[0]
  stars = pq.read_table(folder / 'embeddings' / 'ratings.parquet')['rating'].to_numpy()
  genres = genre_prediction.load_genres(f'{folder}/histories').of_items
  for row, (shown, known) in enumerate(
    zip(batch['history_rows'], batch['known_rows'], strict=True)
  ):
    shown = {tuple(x) for x in shown[batch['history_mask'][row] > 0]}
    assert {tuple(x) for x in known} <= shown
    # The scale 1 to 5, told as that of 0.5 to 5 around 3.
    values = (stars[known[:, -1]] - 1) * 4.5 / 4 - 2.5
    np.testing.assert_allclose(batch['known_values'][row], values, atol=1e-5)
    np.testing.assert_array_equal(
      batch['known_categories'][row], genres[known[:, 0]].astype(float)
    )


def test_the_history_as_text(choice_recipe, answered, items):
  choice_recipe('history_limits.text_tokens = 300')
  made = dataset('choice_text_v1')
  lengths = choice_prediction.choice_lengths()
  assert lengths['history_mask'] == 0
  assert 'asked_embeddings' not in lengths
  for row in made:
    text = VOCABULARY.decode(row['inputs'].tolist())
    assert len(row['inputs']) <= lengths['inputs']
    example = answered[row['example_id'].decode()]
    assert text.startswith('The book ')
    assert text.endswith(f'stars\n{prompt_of(example, items)}')
  choice_recipe()
  with pytest.raises(ValueError, match=r'history_limits\.text_tokens is 0'):
    dataset('choice_text_v1')


def test_scores():
  answer = choice_prediction.ChosenOption
  targets = [answer('Yes'), answer('No'), answer('No'), answer('Yes')]
  found = [answer('Yes'), answer('Yes'), answer(None), answer('Yes')]
  scores = choice_prediction.choice_scores(targets, found)
  assert scores == {'accuracy': 0.5, 'parse_failures': 0.25}


@pytest.fixture
def own(choice_folder, choice_recipe, tmp_path):
  """A function that asks a changed folder; it takes a function of the folder."""

  def ask(change, *bindings):
    folder = tmp_path / 'histories'
    shutil.copytree(choice_folder[0] / 'histories', folder)
    change(folder)
    choice_recipe(f'HISTORIES_DIR = {str(folder)!r}', *bindings)

  return ask


def test_a_question_without_an_item(own):
  words = {'kind': 'choice', 'prompt': 'Asked {asked_because}\n', 'asks_item': False}
  words |= {'options': ['Good', 'Bad'], 'fields': ['asked_because']}

  def add(folder):
    made = choices.add_choice(folder, 'mood_v1', words)
    for split, rows in made.items():
      rows = [{**row, 'answer': ['Bad'], 'example_item': []} for row in rows]
      choices.write_examples(folder / 'questions' / 'mood_v1', split, rows, words)

  own(add, "question.name = 'mood_v1'")
  lengths = choice_prediction.choice_lengths()
  assert 'asked_embeddings' not in lengths
  batch = next(batching.training_batches(TASK, 'train', lengths, 4, 0))
  targets = {VOCABULARY.decode(row.tolist()) for row in batch['decoder_target_tokens']}
  assert targets == {'Bad'}
  run = TrainingRun(Recipe())
  assert isinstance(run.model.adapter.draft, OptionQueries)
  # Every word is an option, and options are no categories of interactions.
  params = {'adapter': run.fresh_params()['adapter']}
  batch = gather(next(run.data(run.stages[0], 0, 0)), run.recipe.vector_tables)
  found = jax.jit(lambda p: losses.mean_losses(run.model, p, batch, lm=False))(params)
  assert found.keys() == {'slot_loss', 'value_loss'}
  assert all(np.isfinite(x) for x in found.values())


def test_only_choices_and_no_categories(own):
  own(choices.only_choices)
  run = TrainingRun(Recipe())
  assert isinstance(run.model.adapter.draft, ValueRegression)
  batch = next(run.data(run.stages[0], 0, 0))
  assert batch['known_categories'].shape == (4, 16, 0)
  size = run.fresh_params()['adapter']['draft']['components'].shape[1]
  assert size == run.model.adapter.draft.num_components


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'answer': ['Maybe']}, r"has the answer 'Maybe': expected one of \['Yes', 'No'\]"),
    ({'example_item': []}, 'is about no item'),
    ({'answer': []}, r'none of \d+ examples in the split train has an answer'),
  ],
)
def test_wrong_examples(own, choice_folder, change, message):
  rows = [{**row, **change} for row in choice_folder[1]['train']]
  write = lambda folder: choices.write_examples(
    folder / 'questions' / choices.NAME, 'train', rows, choices.WORDS
  )
  own(write)
  lengths = choice_prediction.choice_lengths()
  with pytest.raises(ValueError, match=message):
    next(batching.training_batches(TASK, 'train', lengths, 4, 0))


def change_info(folder, change):
  file = folder / 'dataset_info.json'
  info = json.loads(file.read_text())
  change(info)
  file.write_text(json.dumps(info))


def test_a_prompt_of_unknown_columns(own):
  def change(info):
    words = info['dataset']['questions'][choices.NAME]
    words['prompt'] = 'By {publisher}?'

  own(lambda folder: change_info(folder, change))
  with pytest.raises(ValueError, match=r'its prompt names publisher, but .* has only'):
    choice_prediction.choice_lengths()


def test_a_split_without_examples(own):
  def change(info):
    info['counts']['examples'][choices.NAME] = dict.fromkeys(('train', 'test'), 0)

  own(lambda folder: change_info(folder, change))
  with pytest.raises(ValueError, match=r'no examples of question .* in the split'):
    SOURCE.records('train')


def test_recipes_of_another_kind(choice_recipe):
  choice_recipe("question.name = 'book_subjects_v1'")
  with pytest.raises(ValueError, match="subjects_v1 is of the kind 'lists', which"):
    choice_prediction.choice_lengths()
  choice_recipe()
  with pytest.raises(ValueError, match=r"book_like_v1 is of the kind 'choice', which"):
    genre_prediction.feature_lengths()


def test_the_configuration_has_all_words(choice_recipe):
  choice_recipe()
  dataset_question.asked_question()
  config = gin.operative_config_str()
  found = question_of_config(config)
  assert found == dataset_question.asked_choice()
  assert found.fields == ('asked_because',)


def test_a_prompt_that_ends_with_a_line(choice_folder, tmp_path):
  """Nothing stands before the slot of its draft; a model of it trains."""
  shutil.copytree(choice_folder[0], tmp_path, dirs_exist_ok=True)
  file = tmp_path / 'histories' / 'dataset_info.json'
  info = json.loads(file.read_text())
  info['dataset']['questions'][choices.NAME]['prompt'] += '\n'
  file.write_text(json.dumps(info))
  gin.clear_config()
  small = choices.settings_of(tmp_path)
  recipes.parse_recipes(['runs/choice.gin'], [*small, 'decoder/Stage.steps = 1'])
  trainer.train(str(tmp_path / 'model'))
  params = checkpoints.load_params(str(tmp_path / 'model' / 'checkpoint_7'))
  assert 'words' in params['adapter']['draft']
  assert 'template' not in params['adapter']['draft']
