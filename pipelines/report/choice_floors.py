"""Answers to a choice of methods that need no language model."""

import pyarrow.parquet as pq

from pipelines.report.asked_choice import AskedChoice
from pipelines.report.choice_results import read_choice_examples
from tasks import baselines
from tasks.baselines import ChoiceSamples, ChosenProbabilities
from tasks.item_vectors import load_item_vectors

# Names of the methods; each needs no language model.
CHOICE_FLOORS = ('majority', 'item_mean', 'item_mean_user_bias', 'logistic_regression')


def answer_choice_floors(
  histories_dir: str,
  question: AskedChoice,
  samples: ChoiceSamples,
  embeddings_dir: str = '',
) -> dict[str, ChosenProbabilities]:
  """Answers examples with every method of CHOICE_FLOORS that the data have enough for.

  Those about items are left out if the training has no answer about an item.

  Args:
    histories_dir: finished folder of the histories.
    question: words of the question.
    samples: E examples to answer; their answers are not read.
    embeddings_dir: finished folder of the item vectors, for the method that reads them;
      '' leaves it out.
  """
  read = lambda split: read_choice_examples(histories_dir, question, split).samples
  train, num_options = read('train'), len(question.options)
  num_items = pq.read_metadata(f'{histories_dir}/items.parquet').num_rows
  counts = baselines.count_options(train, num_items, num_options)
  found: dict[str, ChosenProbabilities | None] = {
    'majority': baselines.majority(counts, samples)
  }
  if (train.asked[train.answers >= 0] >= 0).any():
    found['item_mean'] = baselines.item_mean(counts, train, samples)
    if num_options == 2:
      found['item_mean_user_bias'] = baselines.item_mean_user_bias(
        counts, train, samples, num_items
      )
    if embeddings_dir:
      vectors = load_item_vectors(embeddings_dir).by_item(num_items)
      found['logistic_regression'] = baselines.asked_regression(
        vectors, train, read('validation'), samples, num_options
      )
  return {name: x for name, x in found.items() if x is not None}
