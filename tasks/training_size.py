"""Chooses steps and batch of a stage from the number of training examples.

A recipe names the rules as `NAME/Stage.steps = @steps_for_data()` and `.batch_size =
@batch_for_data()`. Numbers in their place, as of --gin.NAME/Stage.steps=60, win.
"""

import copy
import json
import pathlib
from collections.abc import Mapping

import gin

from persoma_tf import recipes
from persoma_tf.setting_types import Amount, Positive
from tasks.answers.example_question import ExampleQuestion
from tasks.dataset_question import asked_questions
from tasks.histories import data_folders
from tasks.questions import AnyQuestion


def num_examples() -> int:
  """Returns the number of training examples of the recipe's questions.

  These are the stored examples with an answer or, of a question about users, the users.
  """
  folder = data_folders().histories_dir
  info = json.loads((pathlib.Path(folder) / 'dataset_info.json').read_text())
  return sum(_examples_of(info, question) for question in asked_questions().values())


def _examples_of(info: Mapping, question: AnyQuestion) -> int:
  """Returns the number of a question's training examples."""
  if isinstance(question, ExampleQuestion):
    answers = info['examples'][question.name]['answers']['train']
    return sum(number for option, number in answers.items() if option)
  return info['counts']['users']['train']


@gin.configurable
def batch_for_data(least: Positive = 8, most: Positive = 64) -> int:
  """Returns the batch size of the stage in whose scope it is called.

  A batch has at most a sixteenth of the examples, so that an epoch has some updates: of
  few examples, larger batches would only be fewer steps. It is a power of two, which
  several devices can divide.

  Args:
    least: smallest batch.
    most: largest batch.
  """
  size = 1 << max(num_examples() // 16, 1).bit_length() - 1
  return _kept('batch_size', max(least, min(size, most)))


@gin.configurable
def steps_for_data(
  passes: Amount = 1.0, least: Positive = 1, most: Positive = 1_000_000
) -> int:
  """Returns the number of steps of the stage in whose scope it is called.

  Every example comes `passes` times: what is learned from each is bounded, and after
  more passes its answer is known by heart. There are at least as many steps as it takes
  to come from random parameters to any use at all, however few the examples are, and at
  most as many as one waits for.

  Args:
    passes: number of times that each example comes.
    least: smallest number of steps.
    most: largest number of steps.
  """
  size = gin.get_bindings('Stage', resolve_references=False).get('batch_size')
  size = copy.deepcopy(size) or batch_for_data()  # a copy of a reference is its value
  return _kept('steps', max(least, min(-int(-passes * num_examples() // size), most)))


def _kept(parameter: str, value: int) -> int:
  """Sets a parameter of the stage to the value, so that `config.gin` tells the number.

  A run that is resumed, and the model card, then need not ask the data again.
  """
  scope = gin.current_scope_str()
  recipes.bind_parameter(f'{scope}/Stage.{parameter}'.removeprefix('/'), value)
  return value
