"""Registers questions by name, and makes them of words, whatever their kind.

The gin parameter `question.name` sets the question of a recipe.
"""

import contextlib
import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import gin

from persoma_tf import recipes
from persoma_tf.gin_settings import imports, setting, settings
from tasks.answers.choice import Choice
from tasks.answers.example_question import ExampleQuestion
from tasks.answers.lists import Question
from tasks.answers.number import Number
from tasks.answers.rank import Rank
from tasks.answers.text import Text

AnyQuestion = Question | ExampleQuestion
_KINDS = {kind.KIND: kind for kind in (Question, Choice, Number, Rank, Text)}
MOVIELENS = Question(
  name='movielens_genre_prediction_v1',
  prompt='\nGenres:\n',
  likes='The user likes',
  dislikes=" and doesn't like",
)
TASK_PROMPT = MOVIELENS.prompt
_known: dict[str, Question] = {}


def add_question(question: Question) -> None:
  """Registers a question under its name.

  Raises:
    ValueError: another question with this name is already registered.
  """
  if _known.setdefault(question.name, question) != question:
    raise ValueError(
      f'question {question.name}: another question with this name is already registered'
    )


@gin.configurable
def question(name: str = MOVIELENS.name) -> Question:
  """Returns the registered question of this name.

  Raises:
    ValueError: no question of this name is registered.
  """
  if name not in _known:
    raise ValueError(
      f'question.name={name!r}: expected one of {sorted(_known)}; for another '
      'question, the recipe must import the module that registers it'
    )
  return _known[name]


def is_known(question: Question) -> bool:
  """Tells whether a question is registered as it is."""
  return _known.get(question.name) == question


def from_words(name: str, words: Mapping[str, Any]) -> AnyQuestion:
  """Returns the question of a name and its other fields; 'kind' names other kinds.

  Raises:
    ValueError: the kind is unknown, or the parser could not read answers.
  """
  words = dict(words)
  kind = words.pop('kind', Question.KIND)
  if kind not in _KINDS:
    raise ValueError(f'question {name}: kind={kind!r}: expected one of {[*_KINDS]}')
  return _KINDS[kind](name, **words)


def in_other_words(question: AnyQuestion, prompt: str) -> AnyQuestion:
  """Returns a question with another prompt.

  The outer white space of its own prompt stays around the new one, so that an answer
  follows the prompt as it did in the training.
  """
  own = question.prompt
  before, after = own[: len(own) - len(own.lstrip())], own[len(own.rstrip()) :]
  return dataclasses.replace(question, prompt=f'{before}{prompt.strip()}{after}')


def question_of_config(config: str, trusted: Sequence[str] = ()) -> AnyQuestion:
  """Returns the question of a model.

  gin itself does not read the text: it would call whatever the text names.

  Args:
    config: text of the model's `config.gin`. Of the modules in its import lines, those
      are imported that are trusted, and register their questions.
    trusted: modules that are trusted, see `recipes.is_trusted`.

  Raises:
    ValueError: no module that could be imported registers the question.
  """
  found = settings(config)
  if own := setting(found, 'own_question.name'):
    return from_words(own, setting(found, 'own_question.words'))
  named = [key for key in found if f'.{key}'.endswith('.question.name')]
  if not named:
    return MOVIELENS
  name, left = setting(found, named[-1]), []
  for module in imports(config):
    if not recipes.is_trusted(module, trusted):
      left.append(module)
    elif name not in _known:
      with contextlib.suppress(ImportError):
        importlib.import_module(module)
  if name not in _known and left:
    raise ValueError(
      f'question.name={name!r}: expected one of {sorted(_known)}; the modules '
      f'{", ".join(left)} were not imported: name the one that registers the question '
      'in --trusted_modules, if you know this code'
    )
  return question(name)


def questions_of_config(
  config: str, trusted: Sequence[str] = ()
) -> dict[str, AnyQuestion]:
  """Returns all questions of a model, by name, in their order.

  Args:
    config: text of the model's `config.gin`.
    trusted: modules that are trusted, see `question_of_config`.

  Raises:
    ValueError: see `question_of_config`.
  """
  found = settings(config)
  if words := setting(found, 'own_questions.words'):
    names = setting(found, 'own_questions.names')
    return {name: from_words(name, words[name]) for name in names}
  only = question_of_config(config, trusted)
  return {only.name: only}


def search_query(genres: Sequence[str]) -> str:
  """Returns the task as a search query: all genre names that an answer may have."""
  return ' '.join(genres)


add_question(MOVIELENS)
