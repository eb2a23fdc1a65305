"""Recall, NDCG and MRR of "Which movie will the user watch next?" by the draft.

    python -m benchmarks.rank --data=/path/to/ml-latest-small [--seeds=0,1,2] \
      [--sets=ml-100k,ml-latest-small] [--negatives=uniform,popularity] \
      [--work_dir=runs/rank]

Each of a user's last ten films stands among 19 that the user had no rating of, drawn
alike or in proportion to their ratings. Users are divided anew for each seed. All jobs
are the product's, up to the first stage of `runs/rank.gin`; no decoder runs. Beside the
draft are the methods of a report: the number of ratings, how often a candidate was the
answer in the training, the likeness of vectors, and chance; and item-based
collaborative filtering (Sarwar et al. 2001, doi 10.1145/371920.372071): candidates that
the training users rated together with the films of the history.

A finished cell is kept in the work folder and is not run again. Writes
`benchmarks/results/rank.json`; intervals are bootstrapped over users, of the mean over
the seeds.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse

from benchmarks import draft_cells
from benchmarks.decoding import machine
from benchmarks.movielens_sets import tables
from pipelines.common import job
from pipelines.report.asked_examples import read_asked_candidates, read_asked_examples
from pipelines.report.rank_scoring import rank_floors
from tasks import choice_metrics
from tasks.rank_metrics import WORDS, padded_values, rank_scores

_NAME = 'movielens_next_v1'
_CANDIDATES = 20
_DRAWS = 1_000
_RESULTS = pathlib.Path(__file__).parent / 'results' / 'rank.json'


def main() -> None:
  """Runs what is missing and writes all that is there."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data', default='', help='the folder of ml-latest-small')
  parser.add_argument('--sets', default='ml-100k,ml-latest-small')
  parser.add_argument('--negatives', default='uniform,popularity')
  parser.add_argument('--seeds', default='0,1,2')
  parser.add_argument('--work_dir', default='runs/rank')
  flags = parser.parse_args()
  seeds = [*map(int, flags.seeds.split(','))]
  found = json.loads(_RESULTS.read_text())['results'] if _RESULTS.exists() else {}
  for name in flags.sets.split(','):
    for by in flags.negatives.split(','):
      work = pathlib.Path(flags.work_dir, name)
      about = dataset(name, by, flags.data)
      cells = [cell(work, by, about, seed) for seed in seeds]
      key = f'{name}, negatives by: {by}'
      found[key] = {'seeds': seeds, **summary(cells)}
      print(key, json.dumps(found[key], indent=2))
      about = {
        'command': 'python -m benchmarks.rank',
        'date': time.strftime('%Y-%m-%d'),
        'machine': machine(),
        'versions': job.versions('jax', 'flax'),
        'results': found,
      }
      _RESULTS.write_text(json.dumps(about, indent=2) + '\n')


def dataset(name: str, by: str, data: str) -> dict:
  """The content of a dataset file, without the division of the users."""
  question = {
    'name': _NAME,
    'prompt': '\nNumber of the movie that the user will watch next:',
    'answer': {'rank': {'most': _CANDIDATES}},
    'examples': {
      'holdout': {'last': 10},
      'negatives': {'each': _CANDIDATES - 1, 'by': by},
    },
  }
  history = {'history': {'most': 100}}
  return {**tables(name, data), **history, 'questions': [question]}


def cell(work: pathlib.Path, by: str, about: dict, seed: int) -> dict[str, np.ndarray]:
  """Scores of each test example: 'users' [E], '<method> <score>' [E], and the cost."""
  folder = work / f'{by}_{seed}'
  kept = folder / 'scores.npz'
  if not kept.exists():
    folders = folder / 'histories', work / 'embeddings'
    split = {'train': 0.7, 'validation': 0.1, 'test': 0.2, 'seed': seed}
    draft_cells.prepare(*folders, {**about, 'split': split})
    model = folder / 'model'
    spent = draft_cells.train(
      model, 'runs/rank.gin', folders, seed, *draft_cells.DRAFT_ALONE
    )
    predictor, records, read = draft_cells.load(model, folders, _NAME)
    told = predictor.draft_probabilities(records)
    training = read_asked_candidates(str(folders[0]), predictor.question, 'train')
    values = {
      'draft': padded_values(read.candidates, lambda at, x: told[at, : len(x)]),
      'item_neighbours': item_neighbours(read, str(folders[0]), predictor.question),
      **rank_floors(read, training, *map(str, folders)),
    }
    scores = {
      f'{method} {score}': of_examples
      for method, own in values.items()
      for score, of_examples in rank_scores(own, read.samples.answers).items()
    }
    users = np.array(read.samples.user_ids)
    took = {'spent': spent['processor_seconds'], 'steps': spent['steps']['histories']}
    np.savez(kept, users=users, **scores, **took)
  return dict(np.load(kept))


def item_neighbours(read, histories_dir: str, question) -> np.ndarray:
  """Sums the cosines of a candidate and the films of the history, [E, C] float64.

  The cosine of two films is that of the sets of training users who rated them.
  """
  training = read_asked_examples(histories_dir, question, 'train')
  rated = {}
  for user, items, candidates, answer in zip(
    training.samples.user_ids,
    training.samples.items,
    training.candidates,
    training.samples.answers,
    strict=True,
  ):
    rated.setdefault(user, set()).update([*items, candidates[answer]])
  pairs = [(row, item) for row, items in enumerate(rated.values()) for item in items]
  users, items = np.array(pairs).T
  total = pq.read_metadata(f'{histories_dir}/items.parquet').num_rows
  shape = len(rated), total
  matrix = scipy.sparse.csr_array((np.ones(len(users)), (users, items)), shape)
  norms = np.sqrt(matrix.sum(axis=0)) + 1e-9

  def cosines(at, candidates):
    shown = read.samples.items[at]
    together = (matrix[:, shown].T @ matrix[:, candidates]).toarray()
    return (together / norms[shown][:, None] / norms[candidates]).sum(axis=0)

  return padded_values(read.candidates, cosines)


def summary(cells: Sequence[dict[str, np.ndarray]]) -> dict:
  """Each score of each method, and the draft's less it, mean over the seeds."""
  known = np.unique(np.concatenate([cell['users'] for cell in cells]))
  numbered = [np.searchsorted(known, cell['users']) for cell in cells]

  def mean(name, drawn):
    """Returns the mean over the seeds of a score's mean over the drawn examples."""
    weights = [drawn[users] for users in numbered]
    return np.mean(
      [x @ cell[name] / x.sum() for x, cell in zip(weights, cells, strict=True)]
    )

  names = [x for x in cells[0] if x not in ('users', 'spent', 'steps')]
  told = {name: lambda drawn, name=name: mean(name, drawn) for name in names}
  for name in names:
    method, score = name.split(' ')
    if method != 'draft':
      told[f'draft less {name}'] = lambda drawn, name=name, score=score: (
        mean(f'draft {score}', drawn) - mean(name, drawn)
      )
  intervals = choice_metrics.bootstrap_measures(
    told, len(known), samples=_DRAWS, seed=0
  )
  everybody = np.ones(len(known), np.int64)
  tell = lambda name: {
    'value': float(told[name](everybody)),
    'interval': [float(x) for x in intervals[name]],
  }
  return {
    'examples': [len(cell['users']) for cell in cells],
    'training_processor_seconds': [int(cell['spent']) for cell in cells],
    'training_steps': [int(cell['steps']) for cell in cells],
    **{
      score: {x.removesuffix(f' {score}'): tell(x) for x in told if x.endswith(score)}
      for score in WORDS
    },
  }


if __name__ == '__main__':
  main()
