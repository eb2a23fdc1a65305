"""Registers free text as SeqIO tasks, for the questions of dataset files.

`text_v1` asks about the examples that have an answer. `text_text_v1` has the history as
text in the prompt; it is the baseline for soft prompts.
"""

import functools
from collections.abc import Sequence

import gin

from persoma_tf.setting_types import Count
from tasks import example_features, task_features
from tasks.answers.text import WrittenText
from tasks.dataset_question import asked_about_examples
from tasks.example_tasks import add_example_task, answer_shares, example_lengths


@gin.configurable
def text_lengths(known: Count = 0) -> dict[str, int]:
  """Returns the padded length of each feature, see `example_lengths`.

  Args:
    known: E, number of interactions in each example whose categories and values are
      told, for `Stage.category_weight` and `Stage.value_weight`.
  """
  return example_lengths(asked_about_examples(), known)


def parse_text(output: str, **_) -> WrittenText:
  """Parses an answer for SeqIO's metrics."""
  return asked_about_examples().parse(output)


def text_scores(
  targets: Sequence[WrittenText], predictions: Sequence[WrittenText]
) -> dict[str, float]:
  """Computes the share of answers that are those of the data, for SeqIO.

  Args:
    targets: parsed labels.
    predictions: parsed model answers, aligned with `targets`.

  Returns:
    {'exact_match', 'parse_failures'}.
  """
  return answer_shares('exact_match', targets, predictions)


# Without a draft there are no slots to fill.
_FEATURES = {
  name: feature
  for name, feature in task_features.EXAMPLE_FEATURES.items()
  if name != 'answer_slots'
}
_add = functools.partial(
  add_example_task, features=_FEATURES, parse=parse_text, scores=text_scores
)
_add('text_v1', example_features.of_question)
_add('text_text_v1', example_features.with_text_history)
