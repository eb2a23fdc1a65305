"""Answers to a choice of methods that need no language model."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from pipelines.report.asked_examples import read_asked_examples
from tasks import baselines
from tasks.answers.choice import Choice
from tasks.baselines import ChoiceSamples, ToldNumbers
from tasks.choice_metrics import OptionAnswers, most_probable
from tasks.item_vectors import load_item_vectors

# Names of the methods; each needs no language model.
CHOICE_FLOORS = ('majority', 'item_mean', 'item_mean_user_bias', 'logistic_regression')


class FloorAnswers(NamedTuple):
  """Holds a method's answers and the settings that they were made with.

  Attributes:
    answers: answers to E examples.
    settings: value of each setting.
  """

  answers: OptionAnswers
  settings: Mapping[str, float]


def answer_choice_floors(
  histories_dir: str,
  question: Choice,
  samples: ChoiceSamples,
  embeddings_dir: str = '',
) -> dict[str, FloorAnswers]:
  """Answers examples with every method of CHOICE_FLOORS that the data have enough for.

  Those about items are left out if the training has no answer about an item.

  Args:
    histories_dir: finished folder of the histories.
    question: words of the question.
    samples: E examples to answer; their answers are not read.
    embeddings_dir: finished folder of the item vectors, for the method that reads them;
      '' leaves it out.
  """
  read = lambda split: read_asked_examples(histories_dir, question, split).samples
  train, num_options = read('train'), len(question.options)
  numbers = question.numbers
  num_items = pq.read_metadata(f'{histories_dir}/items.parquet').num_rows
  counts = baselines.count_options(train, num_items, num_options)
  found = {'majority': baselines.majority(counts, samples)}
  if (train.asked[train.answers >= 0] >= 0).any():
    found['item_mean'] = baselines.item_mean(counts, train, samples)
    of_users = counts, train, samples, num_items
    if numbers is not None:
      told = baselines.item_mean_user_bias_number(*of_users, numbers)
      found['item_mean_user_bias'] = told
    elif num_options == 2:
      found['item_mean_user_bias'] = baselines.item_mean_user_bias(*of_users)
    if embeddings_dir:
      vectors = load_item_vectors(embeddings_dir).by_item(num_items)
      found['logistic_regression'] = baselines.asked_regression(
        vectors, train, read('validation'), samples, num_options
      )
  return {
    name: FloorAnswers(_to_options(x, numbers), x.settings)
    for name, x in found.items()
    if x is not None
  }


def _to_options(found, numbers):
  """Returns answers of probabilities, or of numbers and the options next to them."""
  if not isinstance(found, ToldNumbers):
    return most_probable(found.probabilities)
  nearest = np.abs(found.told[:, None] - numbers).argmin(axis=1)
  return OptionAnswers(nearest, told=found.told)
