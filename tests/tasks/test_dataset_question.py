"""Which question a recipe asks: a registered one, or that of a dataset file."""

import json
import logging

import gin
import pytest

from persoma_tf import recipes
from persoma_tf.gin_settings import settings
from tasks import dataset_question, histories, questions
from tasks.answers.choice import Choice
from tasks.dataset_question import asked_question

WORDS = {
  'prompt': '\nTopics:\n',
  'likes': 'They like',
  'dislikes': ' but not',
  'none': 'nothing',
  'most': 2,
}
OWN = questions.Question('topics_v1', **WORDS)


@pytest.fixture
def folder(tmp_path):
  """Binds a folder of histories with a question; returns a function to set it."""

  def write(stored):
    info = {'dataset': {'questions': stored}} if stored else {}
    (tmp_path / 'dataset_info.json').write_text(json.dumps(info))
    gin.clear_config()
    gin.parse_config(
      f'data_folders.histories_dir = {str(tmp_path)!r}\n'
      "data_folders.embeddings_dir = 'e'"
    )

  return write


def test_the_question_of_the_folder_is_kept_in_the_configuration(folder):
  folder({'topics_v1': WORDS})
  assert asked_question() == OWN
  config = gin.operative_config_str()
  assert settings(config)['own_question.words'] == WORDS
  assert questions.question_of_config(config) == OWN
  # A model that was trained so asks it about other histories, too.
  folder({'others_v1': {**WORDS, 'most': 1}})
  gin.parse_config(config.split('# Parameters for data_folders')[0])
  gin.bind_parameter('own_question.name', 'topics_v1')
  gin.bind_parameter('own_question.words', WORDS)
  assert asked_question() == OWN


def test_folders_without_one_and_questions_by_name(folder):
  folder({})
  assert asked_question() is questions.MOVIELENS
  folder({'topics_v1': WORDS})
  name = questions.MOVIELENS.name
  gin.bind_parameter('question.name', name)
  assert asked_question() is questions.MOVIELENS
  gin.bind_parameter('question.name', 'topics_v1')
  assert asked_question() == OWN
  folder({'topics_v1': WORDS})
  gin.bind_parameter('question.name', 'nobody_v1')
  with pytest.raises(ValueError, match=r'question\.name=.nobody_v1.: expected one of'):
    asked_question()


def test_a_name_that_chooses_a_stored_question_is_no_binding_without_effect(folder):
  binding = "question.name = 'others_v1'"
  folder({'topics_v1': WORDS, 'others_v1': WORDS})
  recipes.parse_recipes([], [binding])
  assert recipes.without_effect([binding]) == [binding]
  assert asked_question().name == 'others_v1'
  assert recipes.without_effect([binding]) == []
  assert 'question.name' not in settings(gin.operative_config_str())
  # A model that carries its question does not ask for a name.
  gin.clear_config()
  own = "own_question.name = 'topics_v1'", f'own_question.words = {WORDS!r}'
  recipes.parse_recipes([], [binding, *own])
  assert asked_question() == OWN
  assert recipes.without_effect([binding]) == [binding]


def test_a_model_reads_as_much_as_in_its_training(folder, tmp_path):
  folder({})
  (tmp_path / 'dataset_info.json').write_text('{"max_history": 40}')
  assert histories.stored_length() == 40
  assert histories.shortest_part() == 8
  config = gin.operative_config_str()
  assert 'stored_length.length = 40\n' in config
  folder({})
  (tmp_path / 'dataset_info.json').write_text('{"max_history": 70}')
  gin.bind_parameter('stored_length.length', 40)
  assert histories.stored_length() == 40
  folder({})
  assert histories.stored_length() == 100


def test_movielens_changes_nothing_in_the_configuration(folder):
  words = dict(vars(questions.MOVIELENS))
  folder({words.pop('name'): words})
  assert asked_question() == questions.MOVIELENS
  assert 'own_question' not in gin.operative_config_str()


CHOICE = {'kind': 'choice', 'prompt': 'Like {x}?', 'options': ['Yes', 'No']}
CHOICE |= {'fields': ['x'], 'asks_item': False}


def test_one_of_several_questions(folder, caplog):
  both = {'like_v1': CHOICE, 'topics_v1': WORDS}
  folder(both)
  with caplog.at_level(logging.INFO):
    found = asked_question()
  assert 'of the questions like_v1, topics_v1, the first is asked' in caplog.text
  assert found == dataset_question.asked_choice()
  assert found == Choice(
    'like_v1', 'Like {x}?', ('Yes', 'No'), fields=['x'], asks_item=False
  )
  config = gin.operative_config_str()
  assert settings(config)['own_question.words']['kind'] == 'choice'
  assert questions.question_of_config(config) == found
  folder(both)
  gin.bind_parameter('question.name', 'topics_v1')
  assert asked_question() == dataset_question.asked_lists() == OWN
  with pytest.raises(
    ValueError, match="topics_v1 is of the kind 'lists', which the recipe"
  ):
    dataset_question.asked_choice()
  folder({'topics_v1': WORDS, 'like_v1': CHOICE})
  assert asked_question() == OWN
