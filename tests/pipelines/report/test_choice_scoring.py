"""Reading examples and their predictions, and what is made of them."""

import dataclasses

import numpy as np
import pytest

from pipelines.common.job import JobError
from pipelines.report import (
  asked_examples,
  asked_question,
  choice_scoring,
)
from pipelines.report.choice_floors import CHOICE_FLOORS, answer_choice_floors
from tasks.choice_metrics import OptionAnswers
from tasks.prompt_texts import PromptTexts
from tests import choice_tables as choices

RUN = {'seed': 3, 'bootstrap_samples': 40}
SPLITS = choices.draw()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp('choice')
  choices.write_histories(path / 'histories', SPLITS)
  choices.write_item_vectors(path / 'vectors')
  return path


@pytest.fixture(scope='module')
def question(folder):
  return asked_question.questions_of(f'{folder}/histories')[choices.NAME]


def test_prompts(folder, question):
  writer = PromptTexts(question, f'{folder}/histories')
  title = f'Book 3 {choices.HOSTILE}'
  wanted = f'On a Monday: will the reader like {title}, 3 pages?'
  assert writer.write([3], {'weekday': 'Monday'}) == wanted
  assert writer.write([0], {'weekday': None}).startswith('On a : will the reader like')
  assert writer.write((), {'weekday': 'Monday'}) == (
    'On a Monday: will the reader like ?'
  )
  own = dataclasses.replace(question, prompt='{weekday}!')
  assert PromptTexts(own, f'{folder}/histories').write([2], {'weekday': 'Friday'}) == (
    'Friday!'
  )
  with pytest.raises(ValueError, match='its prompt names colour, but'):
    PromptTexts(dataclasses.replace(own, prompt='{colour}'), f'{folder}/histories')


def test_what_the_predictions_were_asked(folder, tmp_path):
  histories = f'{folder}/histories'
  rows = choices.answer(SPLITS['test'])
  asked = lambda path, **settings: asked_question.answered_question(
    histories, str(path), settings
  )
  for kind in ('json', 'parquet'):
    table = choices.write_predictions(tmp_path / kind, rows, kind)
    assert asked(table, format=kind).name == choices.NAME, 'the column says so'
  empty = choices.write_predictions(tmp_path / 'empty', [])
  assert asked(empty, format='json').name == choices.NAME
  lists = [{**row, 'task': 'book_subjects_v1'} for row in rows]
  other = choices.write_predictions(tmp_path / 'lists', lists)
  assert asked(other, format='json') is None
  words = {'name': choices.NAME, 'options': ['Yes', 'No']}
  assert asked('/nowhere', question=words).name == choices.NAME, 'the settings say so'
  assert asked('/nowhere', question={'name': 'book_subjects_v1'}) is None
  with pytest.raises(JobError, match=r"choose among \['No', 'Yes'\], the examples in"):
    asked('/nowhere', question={**words, 'options': ['No', 'Yes']})


def test_probabilities_of_the_model():
  rows = [
    {'answer': 'Yes', 'decoder_probabilities': [0.9, 0.1], 'draft_answer': 'No'},
    {'answer': 'No', 'decoder_probabilities': [0.4, 0.6], 'draft_answer': None},
  ]
  told = [[0.4, 0.5], [1.0, 1.0]]
  for row, each in zip(rows, told, strict=True):
    row['draft_probabilities'] = each
  found = choice_scoring.answers_of_model(rows, ('Yes', 'No'))
  np.testing.assert_allclose(found['persoma'].probabilities, [[0.9, 0.1], [0.4, 0.6]])
  np.testing.assert_array_equal(found['persoma'].chosen, [0, 1])
  np.testing.assert_allclose(found['draft'].probabilities, [[4 / 9, 5 / 9], [0.5, 0.5]])
  np.testing.assert_array_equal(found['draft'].chosen, [1, -1])
  some = [{**rows[0], 'decoder_probabilities': []}, rows[1]]
  found = choice_scoring.answers_of_model(some, ('Yes', 'No'))
  assert found['persoma'].probabilities is None, 'some have none'
  old = [{'answer': x, 'log_prob': 0.0} for x in ('Yes', None)]
  found = choice_scoring.answers_of_model(old, ('Yes', 'No'))
  assert found.keys() == {'persoma'}
  assert found['persoma'].probabilities is None, 'a table without the column'
  np.testing.assert_array_equal(found['persoma'].chosen, [0, -1])


def test_the_best_floor_is_named_with_the_difference(question):
  rng = np.random.default_rng(0)
  truth, users = rng.integers(0, 2, 120), np.arange(120) // 4

  def noisy(noise):
    first = np.clip((truth == 0) * 0.6 + 0.2 + rng.normal(0, noise, 120), 0.01, 0.99)
    told = np.stack([first, 1 - first], axis=1)
    return OptionAnswers(told.argmax(axis=1), told)

  answers = {'persoma': noisy(0.6), 'draft': noisy(1), 'majority': noisy(1)}
  answers |= {'item_mean': noisy(0.1)}
  methods = choice_scoring.score_choices(truth, users, answers, question, RUN, 2)
  assert methods['persoma']['parse_failures'] == 2
  found = choice_scoring.better_floor(truth, users, answers, methods, question, RUN)
  assert (found['method'], found['score']) == ('item_mean', 'auc')
  assert found['difference'] == methods['item_mean']['auc'] - methods['persoma']['auc']
  assert found['difference_low'] < found['difference'] < found['difference_high']
  assert 'persoma scores below item_mean, which needs no language m' in found['text']
  better = answers | {'persoma': noisy(0.01)}
  methods = choice_scoring.score_choices(truth, users, better, question, RUN)
  assert (
    choice_scoring.better_floor(truth, users, better, methods, question, RUN) is None
  )
  drafted = answers | {'draft': noisy(0.3)}
  methods = choice_scoring.score_choices(truth, users, drafted, question, RUN)
  found = choice_scoring.better_floor(truth, users, drafted, methods, question, RUN)
  assert found['text'].startswith('draft scores below item_mean')
  silent = answers | {'persoma': OptionAnswers(np.full(120, -1))}
  del silent['draft']
  methods = choice_scoring.score_choices(truth, users, silent, question, RUN)
  found = choice_scoring.better_floor(truth, users, silent, methods, question, RUN)
  assert found['score'] == 'accuracy'
  assert 'accuracy 0.000 against' in found['text']


def test_floors_read_only_the_training(folder, question, tmp_path):
  histories = f'{folder}/histories'
  read = asked_examples.read_asked_examples(histories, question, 'test').samples
  made = answer_choice_floors(histories, question, read, f'{folder}/vectors')
  assert tuple(made) == CHOICE_FLOORS
  blind = read._replace(answers=np.full(len(read.asked), -1))
  again = answer_choice_floors(histories, question, blind, f'{folder}/vectors')
  for name, found in made.items():
    assert found.answers.probabilities.shape == (len(read.asked), 2)
    np.testing.assert_allclose(found.answers.probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(
      found.answers.probabilities, again[name].answers.probabilities
    )
  assert [*answer_choice_floors(histories, question, read)] == [*CHOICE_FLOORS[:3]]


@pytest.mark.parametrize('split', ['train', 'all'])
def test_floors_of_training_examples_do_not_know_their_answers(
  split, folder, question, tmp_path
):
  histories = f'{folder}/histories'
  read = asked_examples.read_asked_examples(histories, question, split).samples
  made = answer_choice_floors(histories, question, read, f'{folder}/vectors')
  assert [*made] == ['majority', 'item_mean']
  first = SPLITS['train'][0]
  other = {**first, 'answer': [x for x in choices.OPTIONS if [x] != first['answer']]}
  changed = {**SPLITS, 'train': [other, *SPLITS['train'][1:]]}
  choices.write_histories(tmp_path / 'h', changed)
  again = answer_choice_floors(str(tmp_path / 'h'), question, read)
  row = read.example_ids.index(first['example_id'])
  np.testing.assert_array_equal(
    made['majority'].answers.probabilities[row],
    again['majority'].answers.probabilities[row],
  )


def test_no_items_and_more_options(tmp_path):
  options = ('Good', 'Fair', 'Poor')
  drawn = choices.draw(users=30, options=options)
  nothing = {
    split: [{**x, 'example_item': []} for x in examples]
    for split, examples in drawn.items()
  }
  for name, splits, wanted in (
    ('none', nothing, ['majority']),
    ('three', drawn, ['majority', 'item_mean', 'logistic_regression']),
  ):
    histories = str(choices.write_histories(tmp_path / name, splits, options))
    (question,) = asked_question.questions_of(histories).values()
    read = asked_examples.read_asked_examples(histories, question, 'test').samples
    vectors = str(choices.write_item_vectors(tmp_path / f'{name}-vectors'))
    made = answer_choice_floors(histories, question, read, vectors)
    assert [*made] == wanted
    for found in made.values():
      assert found.answers.probabilities.shape == (len(read.asked), 3)


def test_a_split_without_examples(folder, question):
  with pytest.raises(JobError, match=r'of likes_v1 in the split nobody \(train'):
    asked_question.require_examples(f'{folder}/histories', question, 'nobody')
  for split in ('test', 'all'):
    asked_question.require_examples(f'{folder}/histories', question, split)
