"""Registers the choice as SeqIO tasks, for the questions of dataset files.

`choice_v1` asks about the examples that have an answer. `choice_text_v1` has the
history as text in the prompt; it is the baseline for soft prompts. `choice_items_v1` is
`choice_v1` for questions about items in T5X: SeqIO's evaluator keeps only features that
a task names.

The folders with the data are gin parameters: `data_folders.histories_dir`,
`.embeddings_dir`; `question.name` names one of several questions in the folder.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import gin

from persoma_tf import recipes
from persoma_tf.adapters.asked_item import AskedItem
from persoma_tf.adapters.option_queries import OptionQueries
from persoma_tf.adapters.value_regression import ValueRegression
from persoma_tf.answer_form import AnswerTemplate
from persoma_tf.setting_types import Count
from tasks import example_features, task_features
from tasks.answers.choice import ChosenOption
from tasks.dataset_question import asked_choice
from tasks.example_tasks import add_example_task, answer_shares, example_lengths
from tasks.histories import data_folders, load_genres
from tasks.item_statistics import interaction_vectors


@gin.configurable
def choice_template() -> AnswerTemplate:
  """Returns the form of a draft, with a slot for one of the options."""
  return asked_choice().draft_form


@gin.configurable
def choice_draft(**form) -> nn.Module:
  """Returns the draft module of the recipe's question, for `build.draft`.

  A question about items asks with the item; any other lets its options query the
  history.

  Args:
    **form: fields of the module that gin does not set, of one of several questions.
  """
  if not asked_choice().asks_item:
    return OptionQueries(of_categories=False, **form)
  vectors, of_queries = interaction_vectors(), ('first_words', 'num_options')
  form = {name: value for name, value in form.items() if name not in of_queries}
  if not vectors.has_values:  # only answers can train it
    told = {'num_factors': vectors.num_factors}
    return AskedItem(answers_train_all=True, **told, **form)
  return ValueRegression(
    num_categories=choice_categories(),
    num_statistics=vectors.num_statistics,
    num_factors=vectors.num_factors,
    **form,
  )


@gin.configurable
def choice_categories(number: int | None = None) -> int:
  """Returns the number of categories of items, for `AskedItem.num_categories`.

  Args:
    number: the number, which the first call keeps, so that a model fits its parameters
      when it is asked about other histories; None for the folder's.
  """
  if number is None:
    number = len(load_genres(data_folders().histories_dir).names)
    recipes.bind_parameter('choice_categories.number', number)
    return choice_categories()  # config.gin has the number of the last call
  return number


@gin.configurable
def choice_lengths(known: Count = 0) -> dict[str, int]:
  """Returns the padded length of each feature, which no stored example exceeds.

  Prompts differ from example to example: all stored ones are written and encoded, see
  `longest_example_prompt`.

  Args:
    known: E, number of interactions in each example whose categories and values are
      told, for `Stage.category_weight` and `Stage.value_weight`.
  """
  return example_lengths(asked_choice(), known) | {'answer_slots': 1}


def parse_choice(output: str, **_) -> ChosenOption:
  """Parses an answer for SeqIO's metrics."""
  return asked_choice().parse(output)


def choice_scores(
  targets: Sequence[ChosenOption], predictions: Sequence[ChosenOption]
) -> dict[str, float]:
  """Computes shares of the answers, for SeqIO.

  Args:
    targets: parsed labels.
    predictions: parsed model answers, aligned with `targets`.

  Returns:
    {'accuracy', 'parse_failures'}.
  """
  return answer_shares('accuracy', targets, predictions)


_FEATURES = task_features.EXAMPLE_FEATURES
_add = functools.partial(
  add_example_task, features=_FEATURES, parse=parse_choice, scores=choice_scores
)
_add('choice_v1', example_features.of_question)
_add(
  'choice_items_v1',
  example_features.of_question,
  features={**_FEATURES, task_features.ASKED: task_features.ASKED_FEATURE},
)
_add('choice_text_v1', example_features.with_text_history)
