"""Adds SeqIO tasks that ask about examples, and gives the lengths of their features."""

import functools
from collections.abc import Callable, Mapping, Sequence

import seqio

from tasks import examples, task_features
from tasks.answers.example_question import ExampleQuestion
from tasks.example_features import Maker
from tasks.example_prompts import longest_example_prompt
from tasks.question_examples import AnsweredSource
from tasks.text_history import history_limits
from tasks.vocabularies import load_vocabulary, task_vocabulary


def example_lengths(question: ExampleQuestion, known: int = 0) -> dict[str, int]:
  """Returns the padded length of each feature, which no stored example exceeds.

  Prompts differ from example to example: all stored ones are written and encoded, see
  `longest_example_prompt`.

  Args:
    question: question of the recipe.
    known: E, number of interactions in each example whose categories and values are
      told, for `Stage.category_weight` and `Stage.value_weight`.
  """
  limits = history_limits()
  encode = load_vocabulary(task_vocabulary()).encode
  vectors = 0 if limits.text_tokens else limits.items
  longest = longest_example_prompt(question, bool(limits.text_tokens))
  features = [*task_features.KNOWN_FEATURES] if known and vectors else []
  return {
    'inputs': limits.text_tokens + longest,
    'targets': question.longest(encode) + 1,  # and the end of the sequence
    'history_embeddings': vectors,
    'history_mask': vectors,
    **dict.fromkeys(_asked_features(question) if vectors else (), question.num_asked),
    **dict.fromkeys(features, known),
  }


def _asked_features(question: ExampleQuestion) -> list[str]:
  """Returns the features of the items that examples are about."""
  names = [task_features.ASKED, task_features.ASKED_MASK]
  return names[: min(question.num_asked, 2)]  # one item needs no mask


def add_example_task(
  name: str,
  maker: Maker,
  features: Mapping[str, seqio.Feature],
  parse: Callable,
  scores: Callable,
) -> None:
  """Adds a SeqIO task about the stored examples that have an answer.

  Args:
    name: name of the task.
    maker: function from the room for an example to the function that makes one example.
    features: its features.
    parse: function from a text to a parsed answer.
    scores: function from parsed answers of the data and of a model to scores.
  """
  make = functools.partial(examples.parts_of_histories, maker=maker, task=name)
  seqio.TaskRegistry.add(
    name,
    source=AnsweredSource(),
    preprocessors=[make, seqio.preprocessors.append_eos],
    output_features=features,
    postprocess_fn=parse,
    metric_fns=[scores],
    shuffle_buffer_size=1,  # `read_answered` shuffles
  )


def answer_shares(name: str, targets: Sequence, predictions: Sequence) -> dict:
  """Computes the shares of right answers and of those that could not be parsed.

  Args:
    name: name of the share of right answers.
    targets: parsed labels.
    predictions: parsed model answers, aligned with `targets`.

  Returns:
    {name, 'parse_failures'}.
  """
  right = sum(x == y for x, y in zip(targets, predictions, strict=True))
  failures = sum(not answer.ok for answer in predictions)
  size = max(len(predictions), 1)
  return {name: right / size, 'parse_failures': failures / size}
