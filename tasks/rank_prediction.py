"""Registers the ranking as a SeqIO task, for the questions of dataset files.

`rank_v1` asks about the examples that have an answer.
"""

from collections.abc import Sequence

import flax.linen as nn
import gin

from persoma_tf.adapters.asked_item import AskedItem
from persoma_tf.answer_form import AnswerTemplate
from tasks import example_features, task_features
from tasks.answers.choice import ChosenOption
from tasks.dataset_question import asked_rank
from tasks.example_tasks import add_example_task, answer_shares, example_lengths
from tasks.item_statistics import interaction_vectors


@gin.configurable
def rank_template() -> AnswerTemplate:
  """Returns the form of a draft, with a slot for the number of a candidate."""
  return asked_rank().draft_form


@gin.configurable
def rank_draft() -> nn.Module:
  """Returns the draft module of the recipe's question, for `build.draft`."""
  asked_rank()
  vectors = interaction_vectors()
  told = vectors.num_statistics, vectors.num_factors
  own = dict(zip(('num_statistics', 'num_factors'), told, strict=True))
  return AskedItem(ranks=True, answers_train_all=True, **own)


@gin.configurable
def rank_lengths() -> dict[str, int]:
  """Returns the padded length of each feature, see `example_lengths`."""
  return example_lengths(asked_rank()) | {'answer_slots': 1}


def parse_rank(output: str, **_) -> ChosenOption:
  """Parses an answer for SeqIO's metrics."""
  return asked_rank().parse(output)


def rank_shares(
  targets: Sequence[ChosenOption], predictions: Sequence[ChosenOption]
) -> dict[str, float]:
  """Computes shares of the answers, for SeqIO.

  Args:
    targets: parsed labels.
    predictions: parsed model answers, aligned with `targets`.

  Returns:
    {'accuracy', 'parse_failures'}; the accuracy is recall@1.
  """
  return answer_shares('accuracy', targets, predictions)


add_example_task(
  'rank_v1',
  example_features.of_question,
  features=task_features.EXAMPLE_FEATURES,
  parse=parse_rank,
  scores=rank_shares,
)
