"""The draft's answers about single films, beside methods without a model.

    python -m benchmarks.like --data=/path/to/ml-latest-small [--question=like|stars] \
      [--sets=tallrec,ml-100k,ml-latest-small] [--seeds=0,1,2] [--folds=0,1,2,3,4] \
      [--work_dir=runs/like]

Asks "Will the user like {title}?" and scores AUC, or asks for stars and scores the
errors MAE and RMSE of the expected number. What the sets are, and their folds, says
`benchmarks.movielens_sets`. All jobs are the product's, up to the first stage of
`runs/choice.gin`; no decoder runs.

`item_mean`, `item_mean_user_bias` and `logistic_regression` are those of a report and
read training answers. Two methods read what the draft is told, too:
`value_mean_user_bias` is the mean of all values that training users gave to the item,
and the mean deviation of the user's values from such means, each with 5 values at the
overall mean more; `matrix_factorization` is that of a library
(`benchmarks.factorization`), not for tallrec, whose users have ten ratings each time.

A finished cell is kept in the work folder and is not run again. Writes
`benchmarks/results/like.json` or `stars.json`, and keeps the sets there that are not
asked for. Intervals are bootstrapped over users, of the mean over the seeds.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from benchmarks import draft_cells
from benchmarks.decoding import machine
from benchmarks.factorization import factorized
from benchmarks.movielens_sets import FOLDS, LIKE, STARS, dataset, ratings, tables
from pipelines.common import job
from pipelines.report.choice_floors import answer_choice_floors
from tasks import choice_metrics
from tasks.baselines import ChoiceSamples
from tasks.choice_metrics import OptionAnswers
from tasks.schema import VALUE_COUNTS, VALUE_SUMS

SETS = {'tallrec': 1, 'ml-100k': FOLDS, 'ml-latest-small': FOLDS}
_QUESTIONS = {'like': LIKE, 'stars': STARS}
_SCORES = {'like': ('auc',), 'stars': ('mae', 'rmse')}
_OF_THE_MEAN = 5.0
_DRAWS = 1_000
_RESULTS = pathlib.Path(__file__).parent / 'results'


def main() -> None:
  """Runs what is missing and writes all that is there."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data', default='', help='the folder of ml-latest-small')
  parser.add_argument('--question', default='like', choices=[*_QUESTIONS])
  parser.add_argument('--sets', default='')
  parser.add_argument('--seeds', default='0,1,2')
  parser.add_argument('--folds', default='0,1,2,3,4')
  parser.add_argument('--work_dir', default='runs/like')
  flags = parser.parse_args()
  sets = flags.sets.split(',') if flags.sets else [*SETS]
  path = _RESULTS / f'{flags.question}.json'
  found = json.loads(path.read_text())['results'] if path.exists() else {}
  seeds, folds = ([*map(int, x.split(','))] for x in (flags.seeds, flags.folds))
  for name in sets:
    if (flags.question, name) == ('stars', 'tallrec'):
      continue
    own = [fold for fold in folds if fold < SETS[name]]
    cells = [[cell(Cell(flags, name, fold, seed)) for fold in own] for seed in seeds]
    about = {'seeds': seeds, 'folds': own, 'of_folds': SETS[name]}
    found[name] = about | summary(cells, flags.question)
    print(json.dumps(found[name], indent=2))
    about = {
      'command': f'python -m benchmarks.like --question={flags.question}',
      'date': time.strftime('%Y-%m-%d'),
      'machine': machine(),
      'versions': job.versions('jax', 'flax', 'scikit-surprise'),
      'results': found,
    }
    path.write_text(json.dumps(about, indent=2) + '\n')


class Cell(NamedTuple):
  """One training: the flags, the set, the fold that is tested, and the seed."""

  flags: argparse.Namespace
  name: str
  fold: int
  seed: int

  @property
  def model(self) -> pathlib.Path:
    """The folder of the model."""
    return self.histories.parent / f'{self.flags.question}_{self.seed}'

  @property
  def histories(self) -> pathlib.Path:
    """The folder of the histories, the same for all seeds and questions."""
    return pathlib.Path(self.flags.work_dir, self.name, f'fold_{self.fold}/histories')

  @property
  def embeddings(self) -> pathlib.Path:
    """The folder of the vectors, the same for all folds."""
    return pathlib.Path(self.flags.work_dir, self.name, 'embeddings')

  @property
  def question(self) -> str:
    """The name of the question."""
    return _QUESTIONS[self.flags.question]


def cell(one: Cell) -> dict[str, np.ndarray]:
  """What a trained draft and the other methods answer to the users of a fold.

  Returns:
    'users' [E]; 'truth' [E] option; 'numbers' [O] of the options; by method [E] the
    expected number, or a number that is the higher, the more probable the first option
    is; 'spent' and 'steps', what the training took.
  """
  kept = one.model.with_suffix('.npz')
  if not kept.exists():
    if not (one.histories / 'COMPLETED').exists():
      about = dataset(one.histories.parents[1], one.name, one.fold, one.flags.data)
      draft_cells.prepare(one.histories, one.embeddings, about)
    spent = draft_cells.train(
      *(one.model, 'runs/choice.gin', (one.histories, one.embeddings), one.seed),
      *draft_cells.DRAFT_ALONE,
      f"--gin.question.name='{one.question}'",
    )
    steps = spent['steps']['histories']
    np.savez(kept, **answers(one), spent=spent['processor_seconds'], steps=steps)
  return dict(np.load(kept))


def answers(one: Cell) -> dict[str, np.ndarray]:
  """What the draft and the methods without a model answer to the test examples."""
  histories, embeddings = str(one.histories), str(one.embeddings)
  predictor, records, read = draft_cells.load(
    one.model, (one.histories, one.embeddings), one.question
  )
  question, samples = predictor.question, read.samples
  numbers = np.array([1.0, 0.0]) if question.numbers is None else question.numbers
  floors = answer_choice_floors(histories, question, samples, embeddings)
  values = {'value_mean_user_bias': value_means(histories, samples)}
  if SETS[one.name] > 1:
    values['matrix_factorization'] = factor_values(one, samples)
  if question.numbers is not None:
    values = {name: x.clip(numbers[0], numbers[-1]) for name, x in values.items()}
  return {
    'users': np.array(samples.user_ids),
    'truth': samples.answers,
    'numbers': numbers,
    'draft': predictor.draft_probabilities(records) @ numbers,
    **values,
    **{name: found.answers.numbers(numbers) for name, found in floors.items()},
  }


def value_means(histories: str, samples: ChoiceSamples) -> np.ndarray:
  """The item's mean value with the user's mean deviation, [E]."""
  table = pq.read_table(
    f'{histories}/items.parquet', columns=[VALUE_SUMS, VALUE_COUNTS]
  )
  flat = (column.combine_chunks().flatten().to_numpy() for column in table.columns)
  sums, counts = (values.reshape(len(table), -1).sum(axis=1) for values in flat)
  overall = sums.sum() / counts.sum()
  means = (sums + _OF_THE_MEAN * overall) / (counts + _OF_THE_MEAN)
  deviations = [
    np.sum(values - means[items]) / (len(items) + _OF_THE_MEAN)
    for items, values in zip(samples.items, samples.values, strict=True)
  ]
  return means[samples.asked] + np.array(deviations)


def factor_values(one: Cell, samples: ChoiceSamples) -> np.ndarray:
  """The values by matrix factorization, [E]; they are kept for the other question."""
  kept = one.histories.with_name('factorized.json')
  if not kept.exists():
    rows = ratings(tables(one.name, one.flags.data))
    told, settings = factorized(rows, one.fold)
    told = [[*pair, value] for pair, value in told.items()]
    kept.write_text(json.dumps({'settings': settings, 'told': told}))
  told = {(user, item): x for user, item, x in json.loads(kept.read_text())['told']}
  items = pq.read_table(one.histories / 'items.parquet')['item_id'].to_pylist()
  asked = zip(samples.user_ids, samples.asked.tolist(), strict=True)
  return np.array([told[user, items[row]] for user, row in asked])


def summary(cells: Sequence[Sequence[Mapping[str, np.ndarray]]], question: str) -> dict:
  """Scores of each method, and the draft's less them, mean over the seeds.

  Args:
    cells: of each seed, the answers of each fold, which are scored together.
    question: like or stars.
  """
  training = [fold for of_seed in cells for fold in of_seed]
  columns = [x for x in training[0] if x not in ('numbers', 'spent', 'steps')]
  pooled = [
    {name: np.concatenate([fold[name] for fold in of_seed]) for name in columns}
    for of_seed in cells
  ]
  numbers = training[0]['numbers']
  return {
    'examples': len(pooled[0]['truth']),
    'users': len(np.unique(pooled[0]['users'])),
    'training_processor_seconds': [int(x['spent']) for x in training],
    'training_steps': [int(x['steps']) for x in training],
    **{score: compared(pooled, score, numbers) for score in _SCORES[question]},
  }


def compared(
  pooled: Sequence[Mapping], score: str, numbers: np.ndarray, of: str = 'draft'
) -> dict:
  """A score of each method, and that of one method less it, with intervals.

  Args:
    pooled: answers of each seed, about the same examples.
    score: name of the score.
    numbers: [O] of the options.
    of: the one method.
  """
  known = np.unique(pooled[0]['users'])

  def measures(name):
    """Returns the score of a method with each seed, as functions of drawn users."""
    found = []
    for own in pooled:
      odds = np.stack([own[name], 1 - own[name]], axis=1)
      odds = odds if len(numbers) == 2 else None
      answers = OptionAnswers(own['truth'], odds, own[name])
      users = np.searchsorted(known, own['users'])
      parts = own['truth'], users, answers, len(numbers), numbers
      found.append(choice_metrics.choice_measures(*parts)[score])
    return found

  methods = {x: measures(x) for x in pooled[0] if x not in ('users', 'truth')}
  mean = lambda name, drawn: np.mean([x(drawn) for x in methods[name]])
  told = {name: lambda drawn, name=name: mean(name, drawn) for name in methods}
  told |= {
    f'{of} less {name}': lambda drawn, name=name: mean(of, drawn) - mean(name, drawn)
    for name in methods
    if name != of
  }
  intervals = choice_metrics.bootstrap_measures(
    told, len(known), samples=_DRAWS, seed=0
  )
  everybody = np.ones(len(known), np.int64)
  found = {
    name: {
      'value': float(measure(everybody)),
      'interval': [float(x) for x in intervals[name]],
    }
    for name, measure in told.items()
  }
  found[of]['of_seeds'] = [float(x(everybody)) for x in methods[of]]
  return found


if __name__ == '__main__':
  main()
