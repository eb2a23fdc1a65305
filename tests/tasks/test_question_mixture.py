"""Examples of several questions in one mixture, and a model that trains on them."""

import collections
import json
import shutil

import gin
import jax
import numpy as np
import pytest
import seqio

from persoma_tf import recipes
from persoma_tf.gin_settings import settings
from persoma_tf.training import batching, trainer
from persoma_tf.training.training_run import Recipe, TrainingRun
from persoma_tf.training.vector_rows import gather, rows_lengths
from tasks import (
  choice_prediction,
  dataset_question,
  genre_prediction,
  item_statistics,
  question_mixture,
  training_size,
)
from tests import choices

LIKE, SUBJECTS = choices.NAME, 'book_subjects_v1'
SHELF = 'book_shelf_v1'


@pytest.fixture(scope='module')
def folder(choice_folder, tmp_path_factory):
  """The folder of a choice and lists, with a question in free words. Read only."""
  folder = tmp_path_factory.mktemp('questions')
  shutil.copytree(choice_folder[0], folder, dirs_exist_ok=True)
  file = folder / 'histories' / 'dataset_info.json'
  info = json.loads(file.read_text())
  place = folder / 'histories' / 'questions'
  shutil.copytree(place / LIKE, place / SHELF)
  words = {'kind': 'text', 'prompt': '\nA name for it:\n', 'max_tokens': 4}
  words |= {'asks_item': False, 'fields': ['asked_because']}
  info['dataset']['questions'][SHELF] = words
  for about in (info['counts']['examples'], info['examples']):
    about[SHELF] = about[LIKE]
  file.write_text(json.dumps(info))
  return folder


@pytest.fixture
def recipe(folder):
  """Parses the recipe of all questions for the small parts; with bindings."""

  def parse(*bindings: str) -> None:
    gin.clear_config()
    small = choices.settings_of(folder)
    recipes.parse_recipes(['runs/questions.gin'], [*small, *bindings])

  return parse


def examples(task, count=None, split='train'):
  lengths = question_mixture.question_lengths()
  found = seqio.get_mixture_or_task(task).get_dataset(lengths, split, shuffle=False)
  return list(found.take(count or -1).as_numpy_iterator())


def test_the_questions_of_the_folder_in_their_order(recipe):
  recipe()
  asked = dataset_question.asked_questions()
  assert [*asked] == [LIKE, SUBJECTS, SHELF]
  assert [x.KIND for x in asked.values()] == ['choice', 'lists', 'text']
  config = gin.operative_config_str()
  assert settings(config)['own_questions.names'] == (LIKE, SUBJECTS, SHELF)
  recipe(f"own_questions.names = ('{SHELF}', '{LIKE}')")
  assert [*dataset_question.asked_questions()] == [SHELF, LIKE]
  recipe("own_questions.names = ('nobody_v1',)")
  with pytest.raises(ValueError, match=r"own_questions\.names=\('nobody_v1',\): expe"):
    dataset_question.asked_questions()


def test_one_question_is_asked_at_a_time(recipe, choice_recipe):
  recipe()
  with pytest.raises(ValueError, match="but '' is asked for: expected one of them"):
    dataset_question.asked_question()
  with dataset_question.asking(LIKE):
    assert dataset_question.asked_question().name == LIKE
    with dataset_question.asking(SUBJECTS):
      assert dataset_question.asked_lists().name == SUBJECTS
    assert dataset_question.asked_choice().name == LIKE
  choice_recipe()
  assert [*dataset_question.asked_questions()] == [LIKE]


def test_lengths_are_the_longest_of_all_questions(recipe):
  recipe()
  longest = question_mixture.question_lengths(known=2)
  with dataset_question.asking(LIKE):
    choice = choice_prediction.choice_lengths(known=2)
  with dataset_question.asking(SUBJECTS):
    lists = genre_prediction.feature_lengths(known=2)
  assert longest['inputs'] == max(choice['inputs'], lists['inputs'])
  assert longest['targets'] == max(choice['targets'], lists['targets'], 4)
  assert (longest['answer_slots'], longest['question']) == (4, 1)
  assert (longest['asked_embeddings'], longest['known_values']) == (1, 2)
  assert 'history_statistics' not in longest


def same(found, expected, names):
  for name in names:
    np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_examples_of_the_mixture_are_those_of_each_question(
  recipe, choice_recipe, choice_folder
):
  """With the number of the question, and the features that another one needs."""
  recipe()
  shown = ('inputs', 'targets', 'history_embeddings', 'history_mask')
  found = {
    name: examples(question_mixture.question_task(name))
    for name in dataset_question.asked_questions()
  }
  number = {name: place for place, name in enumerate(found)}
  for name, rows in found.items():
    assert {row['question'].tolist()[0] for row in rows} == {number[name]}
    assert {len(row['answer_slots']) for row in rows} == {4}
    about = {len(row['asked_embeddings']) for row in rows}
    assert about == ({1} if name == LIKE else {0})
    assert not any('history_statistics' in row for row in rows)
  # An answer of one word; the end fills the slots behind it.
  drafted = {tuple(row['answer_slots'].tolist()) for row in found[SHELF]}
  assert drafted == {(1, 0, 0, 0), (2, 0, 0, 0)}
  choice_recipe('interaction_vectors.item_factors = False')  # as of several questions
  lengths = choice_prediction.choice_lengths()
  task = seqio.get_mixture_or_task('choice_v1')
  alone = [*task.get_dataset(lengths, 'train', shuffle=False).as_numpy_iterator()]
  for row, expected in zip(found[LIKE], alone, strict=True):
    same(row, expected, (*shown, 'asked_embeddings'))
    assert row['answer_slots'].tolist() == [*expected['answer_slots'], -1, -1, -1]
  # Lists alone read no statistics of items, which questions about items bring along.
  recipe(f"own_questions.names = ('{SUBJECTS}',)")
  for row, of_all in zip(
    examples(question_mixture.question_task(SUBJECTS)), found[SUBJECTS], strict=True
  ):
    same(row, of_all, ('inputs', 'targets', 'history_mask', 'answer_slots'))
    assert row['history_embeddings'].shape < of_all['history_embeddings'].shape


def test_a_user_is_told_the_same_of_items_whatever_is_asked(recipe):
  """The mean of an item leaves out the user's own fold."""
  recipe()
  vectors = item_statistics.interaction_vectors()
  assert vectors.num_statistics
  task = seqio.get_mixture_or_task(question_mixture.question_task(SUBJECTS))
  histories = {
    row['user_id']: row
    for row in task.source.get_dataset('train', False).as_numpy_iterator()
  }
  for row in examples(task.name):
    stored = histories[row['user_id']]
    columns = dict(zip(('items', 'ratings'), (stored['history_items'],), strict=False))
    items = columns['items'][: len(row['history_mask'])]
    told = vectors.gather_items(items, row['user_id'])
    width = told.shape[1]
    np.testing.assert_array_equal(row['history_embeddings'][:, :width], told)


def batches(task, count, lengths, size=12):
  stream = batching.training_batches(task, 'train', lengths, size, 3)
  return [next(stream) for _ in range(count)]


def test_rates_decide_how_often_each_is_asked(recipe):
  recipe(f"question_mixture.rates = {{'{LIKE}': 3.0, '{SHELF}': 0.5}}")
  lengths = question_mixture.question_lengths(known=2)
  rows = batches(question_mixture.question_mixture(), 9, lengths, 10)
  drawn = collections.Counter(np.concatenate([x['question'][:, 0] for x in rows]))
  assert [drawn[number] for number in range(3)] == [60, 20, 10]
  assert (rows[0]['known_values'][rows[0]['question'][:, 0] == 1] != 0).any()
  recipe("question_mixture.rates = {'nobody_v1': 1.0}")
  with pytest.raises(ValueError, match=r"rates has \['nobody_v1'\]: expected some of"):
    question_mixture.question_mixture()


def test_rows_stand_for_the_vectors_of_the_batch(recipe):
  recipe()
  lengths = question_mixture.question_lengths(known=2)
  task = question_mixture.question_mixture()
  (plain,), (rows,) = (batches(task, 1, x) for x in (lengths, rows_lengths(lengths)))
  made = jax.device_get(gather(rows, item_statistics.interaction_vectors().tables))
  shown = plain['history_mask'] > 0
  same(made, plain, ('question', 'inputs') if 'inputs' in plain else ('question',))
  found, expected = (x['history_embeddings'][shown] for x in (made, plain))
  np.testing.assert_array_equal(found, expected)
  like = plain['question'][:, 0] == 0
  same(
    {'asked': made['asked_embeddings'][like]},
    {'asked': plain['asked_embeddings'][like]},
    ['asked'],
  )
  same(made, plain, ['known_embeddings'])


def test_known_interactions_are_of_the_own_history(recipe):
  recipe()
  vectors = item_statistics.interaction_vectors()
  lengths = rows_lengths(question_mixture.question_lengths(known=3))
  task = question_mixture.question_task(SUBJECTS, 'asked')
  source = seqio.get_mixture_or_task(task).source
  found = batches(task, 1, lengths, 5)[0]
  stored = [
    {*row['history_items'].tolist()}
    for row in source.get_dataset('train', False).as_numpy_iterator()
  ]
  for known in found['known_rows']:
    assert any({*known[:, 0].tolist()} <= items for items in stored)
  assert len(vectors.tables) == found['known_rows'].shape[-1]


def test_what_is_taught_has_random_lists(recipe):
  recipe()
  task = question_mixture.taught_mixture()
  names = [x.name for x in seqio.get_mixture_or_task(task).tasks]
  assert sorted(names) == [f'{x}.taught' for x in (LIKE, SHELF, SUBJECTS)]
  (batch,) = batches(task, 1, question_mixture.question_lengths(), 60)
  numbers = batch['question'][:, 0]
  assert sorted({*numbers.tolist()}) == [0, 1, 2]
  answers = {
    (name, use): [
      row['answer_slots'].tolist()
      for row in examples(question_mixture.question_task(name, use))
    ]
    for name in (LIKE, SUBJECTS, SHELF)
    for use in ('asked', 'taught')
  }
  for name in (LIKE, SHELF):
    assert answers[name, 'taught'] == answers[name, 'asked']
  assert answers[SUBJECTS, 'taught'] != answers[SUBJECTS, 'asked']


def test_texts_alone(recipe):
  recipe(f"own_questions.names = ('{SHELF}',)")
  run = TrainingRun(Recipe())
  run.check_data()
  (draft,) = run.model.adapter.draft.drafts
  assert run.option_tokens.shape[:3] == (1, 2, draft.num_words)


def test_examples_of_all_questions_count(recipe):
  recipe()
  both = training_size.num_examples()
  each = []
  for name in (LIKE, SUBJECTS, SHELF):
    recipe(f"own_questions.names = ('{name}',)")
    each.append(training_size.num_examples())
  assert both == sum(each)
  assert all(each)


def test_a_model_trains_and_resumes(recipe, tmp_path):
  """Its card names all prompts, and its config.gin all questions."""
  recipe('decoder/Stage.steps = 2')
  trainer.train(str(tmp_path / 'model'))
  card = (tmp_path / 'model' / 'adapter' / 'README.md').read_text()
  asked = dataset_question.asked_questions()
  for question in asked.values():
    assert json.dumps(question.prompt) in card
  config = (tmp_path / 'model' / 'config.gin').read_text()
  shutil.rmtree(tmp_path / 'model' / 'adapter')
  (tmp_path / 'model' / 'COMPLETED').unlink()
  recipe('decoder/Stage.steps = 2')
  trainer.train(str(tmp_path / 'model'))
  assert (tmp_path / 'model' / 'config.gin').read_text() == config
  # What answers reads the model's config.gin alone, whatever the folder asks.
  gin.clear_config()
  recipes.parse_model(str(tmp_path / 'model' / 'config.gin'))
  dataset_question.fix_question()
  assert dataset_question.asked_questions() == asked
  drafts = question_mixture.question_drafts()
  assert drafts.questions == tuple(asked)
  assert [draft.name for draft in drafts.drafts] == [LIKE, SUBJECTS, SHELF]


def test_weights_of_losses(recipe):
  recipe(f"question_drafts.weights = {{'{SUBJECTS}': 0.25}}")
  run = TrainingRun(Recipe())
  assert run.model.adapter.questions == {LIKE: 1.0, SUBJECTS: 0.25, SHELF: 1.0}
  recipe("question_drafts.weights = {'nobody_v1': 1.0}")
  with pytest.raises(ValueError, match=r'question_drafts\.weights has'):
    TrainingRun(Recipe())
