"""Finds the question of a recipe: a registered one, or one of a dataset file.

Histories that were made from a dataset file carry its questions. The first task that
asks for one gives it to gin as `own_question`, so that the model's `config.gin` has all
of its words, and answers need neither the dataset file nor a module.

A recipe may ask several questions (`own_questions`). Whatever depends on a single one
then runs within `asking`.
"""

import contextlib
import contextvars
import functools
import json
import logging
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gin

from persoma_tf import recipes
from tasks import questions
from tasks.answers.choice import Choice
from tasks.answers.example_question import ExampleQuestion
from tasks.answers.rank import Rank
from tasks.histories import data_folders
from tasks.questions import AnyQuestion, Question

logger = logging.getLogger(__name__)
_asking: contextvars.ContextVar[str] = contextvars.ContextVar('asking', default='')


@gin.configurable
def own_question(
  name: str = gin.REQUIRED, words: Mapping[str, Any] = gin.REQUIRED
) -> AnyQuestion:
  """Returns a question that no module registers.

  Args:
    name: name of the question.
    words: its other fields, see `questions.from_words`.

  Raises:
    ValueError: the kind is unknown, or the parser could not read answers.
  """
  return questions.from_words(name, words)


@gin.configurable
def own_questions(
  names: Sequence[str] = (), words: Mapping[str, Any] | None = None
) -> dict[str, AnyQuestion]:
  """Returns the questions of a recipe that asks several, in their order.

  Args:
    names: names of questions of the histories' dataset file; () for all of them.
    words: the other fields of each, see `questions.from_words`; None for those of the
      dataset file, which the first call keeps.

  Raises:
    ValueError: the dataset file has no such question, or none at all.
  """
  if words is None:
    stored = _stored_questions()
    # A ranking asks about many items, and all questions of a batch about as many.
    stored = {x: asked for x, asked in stored.items() if not isinstance(asked, Rank)}
    if not stored or {*names} - {*stored}:
      raise ValueError(
        f'own_questions.names={tuple(names)}: expected names of questions of the '
        f'dataset file of these histories, without rankings: {list(stored)}'
      )
    chosen = {name: _words(stored[name]) for name in names or stored}
    # The order of a dictionary is lost in config.gin.
    recipes.bind_parameter('own_questions.names', tuple(chosen))
    recipes.bind_parameter('own_questions.words', chosen)
    return own_questions()
  return {name: questions.from_words(name, words[name]) for name in names}


def asks_several() -> bool:
  """Tells whether the recipe asks several questions, or would if there were more."""
  return bool(gin.get_bindings('own_questions', resolve_references=False))


def asked_questions() -> dict[str, AnyQuestion]:
  """Returns all questions of the recipe, by name.

  A question's place is its number in the features of a batch.

  Raises:
    ValueError: see `own_questions` and `asked_question`.
  """
  if asks_several():
    return own_questions()
  found = _only_question()
  return {found.name: found}


@contextlib.contextmanager
def asking(name: str) -> Iterator[None]:
  """Makes a question the one that `asked_question` returns.

  Args:
    name: name of one of `asked_questions` or, for user tokens without a draft, of
      another question of the histories' dataset file.
  """
  token = _asking.set(name)
  try:
    yield
  finally:
    _asking.reset(token)


def asked_question() -> AnyQuestion:
  """Returns the question of the recipe.

  It is `question.name` if a recipe sets it; else the first one of the dataset file of
  the histories, if they were made from one; else MovieLens's. Within `asking` it is
  the one that is named there.

  Raises:
    ValueError: no question of this name is registered, or in the dataset file; or there
      are several, and none is being asked.
  """
  name = _asking.get()
  if not (name or asks_several()):
    return _only_question()
  trained = asked_questions()
  found = {**_stored_questions(), **trained}
  if name not in found:
    raise ValueError(
      f'the recipe asks the questions {list(trained)}, but {name!r} is asked for: '
      'expected one of them, or a recipe for one question'
    )
  return found[name]


def _only_question() -> AnyQuestion:
  """Returns the question of a recipe that asks one."""
  if 'name' in gin.get_bindings('own_question', resolve_references=False):
    return own_question()
  named = recipes.look_up('question.name')
  stored = _stored_questions()
  found = stored.get(named) if named else next(iter(stored.values()), None)
  if found and _is_asked(found, named):
    if len(stored) > 1 and named is None:
      logger.info(
        'of the questions %s, the first is asked; question.name names another',
        ', '.join(stored),
      )
    _bind(found)
    return own_question()
  if named is None:
    # Calling `question` here would add its default to config.gin. A run from before
    # this parameter existed could then not resume.
    return questions.MOVIELENS
  try:
    return questions.question()
  except ValueError as error:
    if not stored:
      raise
    raise ValueError(
      f'{error}; or, of the dataset file of these histories, {list(stored)}'
    ) from None


def asked_lists() -> Question:
  """Returns the question of the recipe, which asks for lists.

  Raises:
    ValueError: the recipe asks another kind of question; see also `asked_question`.
  """
  return _of_kind(Question)


def asked_choice() -> Choice:
  """Returns the question of the recipe, which is a choice.

  Raises:
    ValueError: the recipe asks another kind of question; see also `asked_question`.
  """
  return _of_kind(Choice, but=Rank)


def asked_rank() -> Rank:
  """Returns the question of the recipe, which ranks candidates.

  Raises:
    ValueError: the recipe asks another kind of question; see also `asked_question`.
  """
  return _of_kind(Rank)


def asked_about_examples() -> ExampleQuestion:
  """Returns the question of the recipe, which is asked about examples.

  Raises:
    ValueError: the recipe asks about users; see also `asked_question`.
  """
  return _of_kind(ExampleQuestion)


def _of_kind(kind, but=()):
  found = asked_question()
  if not isinstance(found, kind) or isinstance(found, but):
    raise ValueError(
      f'question {found.name} is of the kind {found.KIND!r}, which the recipe is not '
      'for: expected runs/dataset.gin for lists, runs/choice.gin for a choice or a '
      'number, runs/rank.gin for a ranking, runs/text.gin for a text, or '
      'question.name = the name of another one'
    )
  return found


def fix_question() -> None:
  """Fixes the question of a model that gin has read, whatever histories it answers.

  A model whose `config.gin` has no question asks MovieLens's.
  """
  own = gin.get_bindings('own_question', resolve_references=False)
  if asks_several():
    return
  if 'name' not in own and recipes.look_up('question.name') is None:
    _bind(questions.MOVIELENS)


def _bind(question: AnyQuestion) -> None:
  """Gives gin a question as `own_question`."""
  recipes.bind_parameter('own_question.name', question.name)
  recipes.bind_parameter('own_question.words', _words(question))


def _words(question: AnyQuestion) -> dict[str, Any]:
  """Returns the fields of a question but its name, as `questions.from_words` reads."""
  words = {field: value for field, value in vars(question).items() if field != 'name'}
  if question.KIND != Question.KIND:  # which old config.gin files do not name
    words = {'kind': question.KIND, **words}
  return words


def _is_asked(stored: AnyQuestion, named: str | None) -> bool:
  """Tells whether gin must be given the words of a stored question."""
  if named is None:
    return stored != questions.MOVIELENS
  return named == stored.name and not questions.is_known(stored)


def _stored_questions() -> dict[str, AnyQuestion]:
  """Returns the questions of the histories' dataset file; none without one."""
  if 'histories_dir' not in gin.get_bindings('data_folders', resolve_references=False):
    return {}
  file = pathlib.Path(data_folders().histories_dir, 'dataset_info.json')
  return _read_questions(file, file.stat().st_mtime_ns) if file.exists() else {}


@functools.cache
def _read_questions(file: pathlib.Path, _: int) -> dict[str, AnyQuestion]:
  """Reads the questions of a file, once until it changes."""
  found = json.loads(file.read_text()).get('dataset') or {}
  return {
    name: questions.from_words(name, words)
    for name, words in found.get('questions', {}).items()
  }
