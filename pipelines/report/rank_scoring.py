"""Scores of a run that ranked candidates, beside methods that need no model."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipelines.report.asked_examples import (
  AskedCandidates,
  ReadExamples,
  read_asked_candidates,
)
from pipelines.report.example_means import better_method, summarize
from pipelines.report.example_results import ExampleResults
from pipelines.report.example_run import ExampleRun
from tasks import schema
from tasks.item_vectors import load_item_vectors
from tasks.rank_metrics import WORDS, padded_values, rank_scores
from tasks.user_folds import FOLDS, fold_of, folds_of

SCORE = 'ndcg_at_10'  # that methods are compared by
RANK_FLOORS = ('random', 'popularity', 'candidate_share', 'pooled_cosine')


@dataclasses.dataclass(frozen=True)
class RankResults(ExampleResults):
  """Holds everything that the page of a ranking shows.

  Attributes:
    scores: method -> name of a score -> [E] float64.
    item_ids: id of each item of the item table.
  """

  scores: Mapping[str, Mapping[str, np.ndarray]]
  item_ids: Sequence[str]


def score_rank_run(run: ExampleRun) -> RankResults:
  """Scores the rankings of a run and of methods without a model."""
  answered, run_info = run.answered, run.run_info
  read, users = answered.examples, answered.users
  items = pq.read_table(f'{run.histories_dir}/items.parquet', columns=['item_id'])
  ids = items['item_id'].to_pylist()
  values = model_values(answered.rows, read, ids)
  training = read_asked_candidates(run.histories_dir, run.question, 'train')
  values |= rank_floors(read, training, run.histories_dir, run.embeddings_dir)
  truth = read.samples.answers
  scores = {name: rank_scores(own, truth) for name, own in values.items()}
  methods = {name: summarize(own, users, run_info) for name, own in scores.items()}
  methods['persoma']['parse_failures'] = sum(not x['parse_ok'] for x in answered.rows)
  ours = max(('persoma', 'draft'), key=lambda x: methods.get(x, {}).get(SCORE, 0.0))
  return RankResults(
    scores=scores,
    item_ids=ids,
    methods=methods,
    better_baseline=better_method(
      *(scores, users, methods, run_info, SCORE, (ours, RANK_FLOORS), WORDS[SCORE]),
      'needs no language model',
    ),
    **run.shown,
  )


def model_values(
  rows: Sequence[Mapping[str, Any]], examples: ReadExamples, item_ids: Sequence[str]
) -> dict[str, np.ndarray]:
  """Returns values of the candidates by the model, and by its draft if it makes one.

  Where the decoder tells no probabilities, the candidate that it names comes first, and
  all others are in no order.

  Args:
    rows: rows of the prediction table.
    examples: E examples with C candidates or fewer.
    item_ids: id of each item of the item table.

  Returns:
    Each [E, C] float64, nan for padding.
  """

  def values(name):
    def of_row(at, items):
      row = rows[at]
      told = dict(zip(row['candidates'], row[name], strict=False))
      told = told or {row['answer']: 1.0}
      return np.array([told.get(item_ids[item], 0.0) for item in items])

    return padded_values(examples.candidates, of_row)

  found = {'persoma': values('decoder_probabilities')}
  if any(row['draft_probabilities'] for row in rows):
    found['draft'] = values('draft_probabilities')
  return found


def rank_floors(
  examples: ReadExamples,
  training: Iterable[AskedCandidates],
  histories_dir: str,
  embeddings_dir: str = '',
) -> dict[str, np.ndarray]:
  """Returns values of the candidates by every method of RANK_FLOORS.

  'random' gives the expected scores of a random order. 'popularity' counts the events
  of training users with an item; where examples are divided by time, those before the
  first one for validation. 'candidate_share' is how often an item was the answer when
  it was a candidate of the training: well above popularity, it tells that the way of
  drawing candidates gives answers away. 'pooled_cosine' compares a candidate's vector
  with the mean vector of the history.

  Args:
    examples: E examples with C candidates or fewer.
    training: examples of the training.
    histories_dir: finished folder of the histories.
    embeddings_dir: finished folder of the item vectors; '' leaves out 'pooled_cosine'.

  Returns:
    Each [E, C] float64, nan for padding.
  """
  table = pq.read_table(f'{histories_dir}/items.parquet', columns=[schema.VALUE_COUNTS])
  folds = table[schema.VALUE_COUNTS].combine_chunks().flatten().to_numpy()
  counts = folds.reshape(table.num_rows, -1).sum(axis=1)
  of_candidates = lambda value: padded_values(examples.candidates, value)
  found = {
    'random': of_candidates(lambda _, items: np.zeros(len(items))),
    'popularity': of_candidates(lambda _, items: counts[items]),
  }
  share = _candidate_shares(examples, training, table.num_rows)
  found['candidate_share'] = of_candidates(share)
  if embeddings_dir:
    vectors = load_item_vectors(embeddings_dir).by_item(table.num_rows)
    # The mean over the items: what all of them share says nothing of a candidate.
    vectors = vectors - vectors.mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9
    pooled = lambda at: vectors[examples.samples.items[at]].sum(axis=0)
    cosine = lambda at, items: vectors[items] @ pooled(at)  # the order is the cosine's
    found['pooled_cosine'] = of_candidates(cosine)
  return found


def _candidate_shares(
  examples: ReadExamples, training: Iterable[AskedCandidates], num_items: int
) -> Callable[[int, np.ndarray], np.ndarray]:
  """Returns a function from an example's place and items to shares of answers.

  A share is how often an item was the answer as a candidate, with one candidature more
  that has the share of all items. An example of the training itself is compared with
  the folds of users that its own is not in.
  """
  (chosen, shown), trained = np.zeros((2, FOLDS, num_items)), set()
  for name, items, answer in training:
    trained.add(name)
    if answer >= 0:
      fold = fold_of(name[0].encode())
      shown[fold, items] += 1
      chosen[fold, items[answer]] += 1
  of_training = np.array([x in trained for x in examples.samples.names], bool)
  hidden = np.where(of_training, folds_of(examples.samples.user_ids), FOLDS)
  every = chosen.sum() / max(shown.sum(), 1)

  def share(at, items):
    others = np.arange(FOLDS) != hidden[at]
    count = lambda table: table[others][:, items].sum(axis=0)
    return (count(chosen) + every) / (count(shown) + 1)

  return share
