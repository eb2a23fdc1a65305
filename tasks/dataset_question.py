"""Finds the question of a recipe: a registered one, or that of a dataset file.

Histories that were made from a dataset file carry its question. The first task that
asks for it gives it to gin as `own_question`, so that the model's `config.gin` has all
of its words, and answers need neither the dataset file nor a module.
"""

import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import gin

from persoma_tf import recipes
from tasks import questions
from tasks.histories import data_folders
from tasks.questions import Question


@gin.configurable
def own_question(
  name: str = gin.REQUIRED, words: Mapping[str, Any] = gin.REQUIRED
) -> Question:
  """Returns a question that no module registers.

  Args:
    name: name of the question.
    words: its other fields.

  Raises:
    ValueError: the parser could not read answers with these words.
  """
  return Question(name, **words)


def asked_question() -> Question:
  """Returns the question of the recipe.

  It is `question.name` if a recipe sets it; else that of the dataset file of the
  histories, if they were made from one; else MovieLens's.

  Raises:
    ValueError: no question of this name is registered, or the dataset file's has
      another name.
  """
  if 'name' in gin.get_bindings('own_question', resolve_references=False):
    return own_question()
  named = gin.get_bindings('question').get('name')
  stored = _stored_question()
  if stored and _is_asked(stored, named):
    _bind(stored)
    return own_question()
  if named is None:
    # Calling `question` here would add its default to config.gin. A run from before
    # this parameter existed could then not resume.
    return questions.MOVIELENS
  return questions.question()


def fix_question() -> None:
  """Fixes the question of a model that gin has read, whatever histories it answers.

  A model whose `config.gin` has no question asks MovieLens's.
  """
  own = gin.get_bindings('own_question', resolve_references=False)
  if 'name' not in own and 'name' not in gin.get_bindings('question'):
    _bind(questions.MOVIELENS)


def _bind(question: Question) -> None:
  """Gives gin a question as `own_question`."""
  words = {field: value for field, value in vars(question).items() if field != 'name'}
  recipes.bind_parameter('own_question.name', question.name)
  recipes.bind_parameter('own_question.words', words)


def _is_asked(stored: Question, named: str | None) -> bool:
  """Tells whether gin must be given the words of a stored question."""
  if named is None:
    return stored != questions.MOVIELENS
  return named == stored.name and not questions.is_known(stored)


def _stored_question() -> Question | None:
  """Returns the question of the histories' dataset file; None without one."""
  if 'histories_dir' not in gin.get_bindings('data_folders', resolve_references=False):
    return None
  file = pathlib.Path(data_folders().histories_dir, 'dataset_info.json')
  return _read_question(file, file.stat().st_mtime_ns) if file.exists() else None


@functools.cache
def _read_question(file: pathlib.Path, _: int) -> Question | None:
  """Reads the question of a file, once until it changes."""
  found = json.loads(file.read_text()).get('dataset')
  if not found:
    return None
  ((name, words),) = found['questions'].items()
  return Question(name, **words)
