"""AUC of "Will the user like {title}?": the draft, beside methods without a model.

    python -m benchmarks.like --data=/path/to/ml-latest-small [--seeds=0,1,2] \
      [--sets=tallrec,ml-100k,ml-latest-small] [--work_dir=runs/like]

`ml-100k` and `ml-latest-small` ask about the last five ratings of every user, with the
100 newest ratings strictly before each. Users are divided anew for each seed. `tallrec`
is the movie set of TALLRec (Bao et al. 2023, arXiv 2305.00447), made again from
MovieLens-100K: ten ratings and the one after them, of which the last 1,000 are the
test; the users of the test are not in the training.

All jobs are the product's, up to the first stage of `runs/choice.gin`; no decoder runs.
`item_mean`, `item_mean_user_bias` and `logistic_regression` are those of a report and
read training answers. `value_mean_user_bias` reads what the draft is told, too: the
mean of all values that training users gave to the item, and the mean deviation of the
user's values from such means, each with 5 values at the overall mean more.

A finished cell is kept in the work folder and is not run again. Writes
`benchmarks/results/like.json`; intervals are bootstrapped over users, of the mean over
the seeds.
"""

import argparse
import csv
import itertools
import json
import pathlib
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow.parquet as pq
import yaml

from benchmarks.decoding import machine
from benchmarks.quality import run
from persoma_tf import assets
from persoma_tf.inference.decoding_settings import Decoding
from pipelines.common import job, tfrecord
from pipelines.histories import history_records
from pipelines.report.asked_question import questions_of
from pipelines.report.choice_floors import answer_choice_floors
from pipelines.report.example_results import read_asked_examples
from tasks import choice_metrics
from tasks.baselines import ChoiceSamples
from tasks.choice_metrics import OptionAnswers
from tasks.predictor import Predictor
from tasks.schema import VALUE_COUNTS, VALUE_SUMS

SETS = ('tallrec', 'ml-100k', 'ml-latest-small')
_NAME = 'movielens_like_v1'
_WINDOW, _ROWS, _TEST = 10, 10_000, 1_000  # of TALLRec
_OF_THE_MEAN = 5.0
_DRAWS = 1_000
_RESULTS = pathlib.Path(__file__).parent / 'results' / 'like.json'


def main() -> None:
  """Runs what is missing and writes all that is there."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data', default='', help='the folder of ml-latest-small')
  parser.add_argument('--sets', default=','.join(SETS))
  parser.add_argument('--seeds', default='0,1,2')
  parser.add_argument('--work_dir', default='runs/like')
  flags = parser.parse_args()
  work, seeds = pathlib.Path(flags.work_dir), [*map(int, flags.seeds.split(','))]
  found = {}
  for name in flags.sets.split(','):
    cells = [cell(work / name, name, seed, flags.data) for seed in seeds]
    found[name] = {**summary(cells), 'seeds': len(cells)}
    print(json.dumps(found[name], indent=2))
  about = {
    'command': f'python -m benchmarks.like --seeds={flags.seeds}',
    'date': time.strftime('%Y-%m-%d'),
    'machine': machine(),
    'versions': job.versions('jax', 'flax'),
    'results': found,
  }
  _RESULTS.write_text(json.dumps(about, indent=2) + '\n')


def cell(work: pathlib.Path, name: str, seed: int, data: str) -> dict[str, np.ndarray]:
  """The answers of one seed: users and truth [E], probabilities [E, 2] by method."""
  folder = work / f'seed_{seed}'
  kept = folder / 'answers.npz'
  if not kept.exists():
    folder.mkdir(parents=True, exist_ok=True)
    about = dataset(work, name, seed, data)
    (folder / 'dataset.yaml').write_text(yaml.safe_dump(about, sort_keys=False))
    histories, embeddings = folder / 'histories', work / 'embeddings'
    run(
      'pipelines.build_histories',
      f'--dataset={folder / "dataset.yaml"}',
      f'--output_dir={histories}',
    )
    # All seeds have the same items.
    if not (embeddings / 'COMPLETED').exists():
      folders = f'--histories_dir={histories}', f'--output_dir={embeddings}'
      run('pipelines.embed_items', *folders)
    run(
      'persoma_tf.train',
      '--gin_file=runs/choice.gin',
      f'--histories_dir={histories}',
      f'--embeddings_dir={embeddings}',
      f'--model_dir={folder / "model"}',
      '--gin.train.stages=[@histories/Stage()]',
      f'--gin.train.seed={seed}',
    )
    np.savez(kept, **answers(folder, embeddings))
  return dict(np.load(kept))


def answers(folder: pathlib.Path, embeddings: pathlib.Path) -> dict[str, np.ndarray]:
  """What the draft and the methods without a model answer to the test examples."""
  histories = str(folder / 'histories')
  question = questions_of(histories)[_NAME]
  samples = read_asked_examples(histories, question, 'test').samples
  predictor = Predictor(
    str(folder / 'model'), histories, str(embeddings), 64, Decoding()
  )
  examples = [
    history_records.decode_example(record, predictor.kinds)
    for path in history_records.list_history_files(histories, 'test', _NAME)
    for record in tfrecord.read_tfrecord(path)
  ]
  assert [x['example_id'] for x in examples] == [*samples.example_ids]
  floors = answer_choice_floors(histories, question, samples, str(embeddings))
  likes = value_means(histories, samples)
  return {
    'users': np.array(samples.user_ids),
    'truth': samples.answers,
    'draft': predictor.draft_probabilities(examples),
    'value_mean_user_bias': np.stack([likes, 1 - likes], axis=1),
    **{name: found.answers.probabilities for name, found in floors.items()},
  }


def value_means(histories: str, samples: ChoiceSamples) -> np.ndarray:
  """The item's mean value and the user's mean deviation, as odds that order [E]."""
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
  return 1 / (1 + np.exp(overall - means[samples.asked] - np.array(deviations)))


def summary(cells: Sequence[dict[str, np.ndarray]]) -> dict:
  """AUC of each method, and how far the draft is above it, mean over the seeds."""
  known = np.unique(np.concatenate([cell['users'] for cell in cells]))
  numbered = [np.searchsorted(known, cell['users']) for cell in cells]

  def measures(method):
    return [
      choice_metrics.choice_measures(
        cell['truth'],
        users,
        OptionAnswers(cell[method].argmax(axis=1), cell[method]),
        2,
      )['auc']
      for cell, users in zip(cells, numbered, strict=True)
    ]

  auc = {name: measures(name) for name in cells[0] if name not in ('users', 'truth')}
  mean = lambda name, drawn: np.mean([measure(drawn) for measure in auc[name]])
  told = {name: lambda drawn, name=name: mean(name, drawn) for name in auc}
  above = {
    f'above {name}': lambda drawn, name=name: mean('draft', drawn) - mean(name, drawn)
    for name in auc
    if name not in ('draft', 'majority')
  }
  intervals = choice_metrics.bootstrap_measures(
    told | above, len(known), samples=_DRAWS, seed=0
  )
  everybody = np.ones(len(known), np.int64)
  value = lambda name, measure: {
    'value': float(measure(everybody)),
    'interval': [float(x) for x in intervals[name]],
  }
  return {
    'examples': [len(cell['truth']) for cell in cells],
    'users': [len(np.unique(cell['users'])) for cell in cells],
    'auc': {name: value(name, measure) for name, measure in told.items()},
    'draft': {name: value(name, measure) for name, measure in above.items()},
    'draft_of_seeds': [float(measure(everybody)) for measure in auc['draft']],
  }


def dataset(work: pathlib.Path, name: str, seed: int, data: str) -> dict:
  """The content of a dataset file."""
  small = name == 'ml-latest-small'
  about = _of_small(data) if small else _of_100k()
  asked = {'holdout': {'last': 5}, 'answer': 'value > 3'}
  split = {'train': 0.7, 'validation': 0.1, 'test': 0.2, 'seed': seed}
  if name == 'tallrec':
    write_windows(work)
    place = str(work.absolute() / '{}')
    about['events'] |= {'files': place.format('events.csv'), 'time': 'rank'}
    about['events'] |= {'user': 'user', 'item': 'item', 'value': 'rating'}
    del about['events']['delimiter']
    asked = {'files': place.format('asked.csv'), 'user': 'user', 'item': 'item'}
    asked |= {'time': 'rank', 'answer': 'liked'}
    split = {'by': 'column', 'column': 'split'}
  question = {
    'name': _NAME,
    'prompt': '\nWill the user like {title}?\nAnswer:',
    'answer': {'choice': {'Yes': 1, 'No': 0} if name == 'tallrec' else ['Yes', 'No']},
    'examples': asked,
  }
  year = '' if small else '[ ({year})]'
  return {
    'name': _NAME.removesuffix('_v1'),
    **about,
    'texts': [
      f'The movie {{title}}{year} is listed with [genres {{genres}}|no genres]',
      'The movie is rated with {value:.1f} stars',
    ],
    'history': {'most': _WINDOW if name == 'tallrec' else 100},
    'questions': [question],
    'split': split,
  }


def _of_small(data: str) -> dict:
  """Where events and items of ml-latest-small are."""
  events = {'user': 'userId', 'item': 'movieId', 'value': 'rating'}
  events |= {'files': 'ratings.csv', 'time': 'timestamp', 'scale': '0.5:5:0.5'}
  items = {
    'files': 'movies.csv',
    'item': 'movieId',
    'lists': {'genres': '|'},
    'categories': 'genres',
  }
  return {
    'folder': str(pathlib.Path(data).absolute()),
    'events': events,
    'items': items,
  }


def _of_100k() -> dict:
  """Where events and items of MovieLens-100K are, as the quickstart downloads them."""
  events = {'user': 'user_id:token', 'item': 'item_id:token', 'value': 'rating:float'}
  events |= {'files': 'ml-100k.inter', 'delimiter': 'tab', 'scale': '1:5:1'}
  events |= {'time': 'timestamp:float'}
  columns = {'title': 'movie_title:token_seq', 'year': 'release_year:token'}
  columns |= {'genres': 'class:token_seq'}
  items = {'files': 'ml-100k.item', 'delimiter': 'tab', 'item': 'item_id:token'}
  items |= {'columns': columns, 'lists': {'genres': ' '}, 'categories': 'genres'}
  return {'folder': str(assets.path('ml-100k')), 'events': events, 'items': items}


def write_windows(work: pathlib.Path) -> None:
  """Writes the events with ranks as times, and TALLRec's rows."""
  users: dict[str, list] = {}
  with open(assets.path('ml-100k') / 'ml-100k.inter') as file:
    for user, *row in itertools.islice(csv.reader(file, delimiter='\t'), 1, None):
      users.setdefault(user, []).append(row)
  for rows in users.values():
    rows.sort(key=lambda row: row[2])  # the time as text, as TALLRec's code sorts
  windows = [
    (user, rows[rank][0], rank, int(float(rows[rank][1]) > 3))
    for user, rows in users.items()
    for rank in range(_WINDOW, len(rows))
  ]
  train, test = windows[-_ROWS:-_TEST], windows[-_TEST:]
  held_out = {row[0] for row in test}
  split = [(*row, 'train') for row in train if row[0] not in held_out]
  split += [(*row, 'test') for row in test]
  _write(work / 'asked.csv', ('user', 'item', 'rank', 'liked', 'split'), split)
  events = _ranked(users)
  _write(work / 'events.csv', ('user', 'item', 'rating', 'rank'), events)


def _ranked(users: dict[str, list]) -> Iterator[tuple]:
  """Yields a row for each rating, with its rank among those of the user."""
  for user, rows in users.items():
    for rank, (item, rating, _) in enumerate(rows):
      yield user, item, rating, rank


def _write(path: pathlib.Path, names: Sequence[str], rows) -> None:
  with open(path, 'w', newline='') as file:
    csv.writer(file).writerows([names, *rows])


if __name__ == '__main__':
  main()
