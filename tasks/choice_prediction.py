"""Registers the choice as SeqIO tasks, for the questions of dataset files.

`choice_v1` asks about the examples that have an answer. `choice_random_answers_v1` is
for stages with `Stage.teach`: what a decoder copies from a draft has nothing to do with
the user, so every option comes equally often. `choice_text_v1` has the history as text
in the prompt; it is the baseline for soft prompts.

The folders with the data are gin parameters: `data_folders.histories_dir`,
`.embeddings_dir`; `question.name` names one of several questions in the folder.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import gin
import seqio

from persoma_tf import recipes
from persoma_tf.adapters.asked_item import AskedItem
from persoma_tf.adapters.option_queries import OptionQueries
from persoma_tf.answer_form import AnswerTemplate
from persoma_tf.setting_types import Count
from tasks import choice_examples, examples, task_features
from tasks.answers.choice import ChosenOption
from tasks.choice_prompts import longest_choice_prompt
from tasks.dataset_question import asked_choice
from tasks.histories import data_folders, load_genres
from tasks.item_vectors import load_item_vectors
from tasks.question_examples import AnsweredSource
from tasks.text_history import history_limits
from tasks.vocabularies import load_vocabulary, task_vocabulary


@gin.configurable
def choice_template() -> AnswerTemplate:
  """Returns the form of a draft, with a slot for one of the options."""
  return asked_choice().draft_form


@gin.configurable
def choice_draft() -> nn.Module:
  """Returns the draft module of the recipe's question, for `build.draft`.

  A question about items asks with the item; any other lets its options query the
  history.
  """
  if not asked_choice().asks_item:
    return OptionQueries(of_categories=False)
  vectors = load_item_vectors(data_folders().embeddings_dir)
  has_values = len(vectors.tables) > 1
  # Without values only answers can train it.
  return AskedItem() if has_values else AskedItem(answers_train_all=True)


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
  `longest_choice_prompt`.

  Args:
    known: E, number of interactions in each example whose categories and values are
      told, for `Stage.category_weight` and `Stage.value_weight`.
  """
  limits, question = history_limits(), asked_choice()
  encode = load_vocabulary(task_vocabulary()).encode
  vectors = 0 if limits.text_tokens else limits.items
  longest = longest_choice_prompt(question, bool(limits.text_tokens))
  features = [*task_features.KNOWN_FEATURES] if known and vectors else []
  return {
    'inputs': limits.text_tokens + longest,
    # + 1 for the end of the sequence.
    'targets': max(map(len, question.target_tokens(encode))) + 1,
    'history_embeddings': vectors,
    'history_mask': vectors,
    'answer_slots': 1,
    **({task_features.ASKED: 1} if question.asks_item and vectors else {}),
    **dict.fromkeys(features, known),
  }


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
  right = sum(x == y for x, y in zip(targets, predictions, strict=True))
  failures = sum(not answer.ok for answer in predictions)
  size = max(len(predictions), 1)
  return {'accuracy': right / size, 'parse_failures': failures / size}


def _add_choice(name: str, maker: choice_examples.Maker) -> None:
  """Adds one SeqIO task."""
  make = functools.partial(examples.parts_of_histories, maker=maker, task=name)
  seqio.TaskRegistry.add(
    name,
    source=AnsweredSource(),
    preprocessors=[make, seqio.preprocessors.append_eos],
    output_features=task_features.CHOICE_FEATURES,
    postprocess_fn=parse_choice,
    metric_fns=[choice_scores],
    shuffle_buffer_size=1,  # `read_answered` shuffles
  )


_add_choice('choice_v1', choice_examples.of_choice)
_add_choice('choice_random_answers_v1', choice_examples.with_drawn_options)
_add_choice('choice_text_v1', choice_examples.with_text_history)
