"""Dataset files about MovieLens for the benchmarks of single questions.

`ml-100k` and `ml-latest-small` ask about the last five ratings of every user. Their
users are divided into five folds: a fold's users are tested once, by a model that was
trained without them. `tallrec` is the movie set of TALLRec (Bao et al. 2023, arXiv
2305.00447), made again from MovieLens-100K: ten ratings and the one after them, of
which the last 1,000 are the test; users of the test are not in the training.
"""

import csv
import itertools
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from persoma_tf import assets

FOLDS, LAST = 5, 5
LIKE, STARS = 'movielens_like_v1', 'movielens_stars_v1'
_WINDOW, _ROWS, _TEST = 10, 10_000, 1_000  # of TALLRec
_LIKED = 3.0  # values above it


class Rating(NamedTuple):
  """A row of the ratings file."""

  user: str
  item: str
  value: float
  time: float


def dataset(work: pathlib.Path, name: str, fold: int, data: str) -> dict:
  """Writes what is asked, and returns the content of a dataset file.

  Args:
    work: folder for the files.
    name: tallrec, ml-100k or ml-latest-small.
    fold: number of the fold; 0 for tallrec, which has one.
    data: folder of ml-latest-small.
  """
  about = tables(name, data)
  asked = {'files': str(work.absolute() / 'asked.csv'), 'user': 'user', 'item': 'item'}
  asked |= {'time': 'time'}
  like = {
    'name': LIKE,
    'prompt': '\nWill the user like {title}?\nAnswer:',
    'answer': {'choice': ['Yes', 'No']},
    'examples': {**asked, 'answer': f'value > {_LIKED:g}'},
  }
  if name == 'tallrec':
    _write_windows(work, ratings(about))
    events = {'files': str(work.absolute() / 'events.csv'), 'user': 'user'}
    events |= {'item': 'item', 'value': 'value', 'time': 'time', 'scale': '1:5:1'}
    about |= {'events': events, 'history': {'most': _WINDOW}, 'questions': [like]}
    return {**about, 'split': {'by': 'column', 'column': 'split'}}
  _write_folds(work, ratings(about))
  low, high, step = map(float, about['events']['scale'].split(':'))
  stars = {
    'name': STARS,
    'prompt': '\nStars of the user for {title}:',
    'answer': {'number': {'from': low, 'to': high, 'step': step}},
    'examples': {**asked, 'answer': 'value'},
  }
  about |= {'history': {'most': 100}, 'questions': [like, stars]}
  return {**about, 'split': {'by': 'column', 'column': f'fold_{fold}'}}


def tables(name: str, data: str) -> dict:
  """The parts of a dataset file that say where events and items are."""
  small = name == 'ml-latest-small'
  if small:
    events = {'user': 'userId', 'item': 'movieId', 'value': 'rating'}
    events |= {'files': 'ratings.csv', 'time': 'timestamp', 'scale': '0.5:5:0.5'}
    items = {'files': 'movies.csv', 'item': 'movieId', 'lists': {'genres': '|'}}
  else:
    events = {'user': 'user_id:token', 'item': 'item_id:token', 'value': 'rating:float'}
    events |= {'files': 'ml-100k.inter', 'delimiter': 'tab', 'scale': '1:5:1'}
    events |= {'time': 'timestamp:float'}
    columns = {'title': 'movie_title:token_seq', 'year': 'release_year:token'}
    columns |= {'genres': 'class:token_seq'}
    items = {'files': 'ml-100k.item', 'delimiter': 'tab', 'item': 'item_id:token'}
    items |= {'columns': columns, 'lists': {'genres': ' '}}
  year = '' if small else '[ ({year})]'
  return {
    'name': name.replace('-', '_'),
    'folder': str(pathlib.Path(data).absolute() if small else assets.path('ml-100k')),
    'events': events,
    'items': items | {'categories': 'genres'},
    'texts': [
      f'The movie {{title}}{year} is listed with [genres {{genres}}|no genres]',
      'The movie is rated with {value:.1f} stars',
    ],
  }


def ratings(about: dict) -> list[Rating]:
  """Reads all ratings, in the order of the file."""
  events = about['events']
  user, item, value, time = (events[x] for x in ('user', 'item', 'value', 'time'))
  delimiter = {'tab': '\t'}.get(events.get('delimiter'), ',')
  with open(pathlib.Path(about['folder'], events['files'])) as file:
    return [
      Rating(row[user], row[item], float(row[value]), float(row[time]))
      for row in csv.DictReader(file, delimiter=delimiter)
    ]


def split_of(tenth: int, fold: int) -> str:
  """The split of a tenth of the users: of ten, two are a fold's test, one validates."""
  return {0: 'test', 1: 'test', 2: 'validation'}.get((tenth - 2 * fold) % 10, 'train')


def tenths(users: Sequence[str]) -> dict[str, int]:
  """Divides users at random into ten parts of the same size."""
  drawn = np.random.default_rng(0).permutation(sorted(users)).tolist()
  return {user: at % 10 for at, user in enumerate(drawn)}


def last_ratings(rows: Sequence[Rating]) -> list[Rating]:
  """The last five ratings of each user; of one time, the later rows of the file."""
  found = []
  for own in _by_user(rows).values():
    found += sorted(own, key=lambda row: row.time)[-LAST:]
  return found


def _by_user(rows):
  users: dict[str, list[Rating]] = {}
  for row in rows:
    users.setdefault(row.user, []).append(row)
  return users


def _write_folds(work, rows):
  """Writes what is asked, with a column for each fold that says each user's split."""
  parts = tenths({row.user for row in rows})
  splits = [f'fold_{fold}' for fold in range(FOLDS)]
  asked = [
    (
      *(row.user, row.item, f'{row.time:.0f}', f'{row.value:g}'),
      *(split_of(parts[row.user], fold) for fold in range(FOLDS)),
    )
    for row in last_ratings(rows)
  ]
  _write(work / 'asked.csv', ('user', 'item', 'time', 'value', *splits), asked)


def _write_windows(work, rows):
  """Writes the events with ranks as times, and TALLRec's rows."""
  users = {
    # The time as text, as TALLRec's code sorts; the order of the file decides ties.
    user: sorted(own, key=lambda row: f'{row.time:.0f}')
    for user, own in _by_user(rows).items()
  }
  events = [
    (user, row.item, rank, f'{row.value:g}')
    for user, own in users.items()
    for rank, row in enumerate(own)
  ]
  windows = [row for row in events if row[2] >= _WINDOW][-_ROWS:]
  train, test = windows[:-_TEST], windows[-_TEST:]
  held_out = {row[0] for row in test}
  kept = (row for row in train if row[0] not in held_out)
  asked = [(*row, 'train') for row in kept] + [(*row, 'test') for row in test]
  columns = 'user', 'item', 'time', 'value'
  _write(work / 'events.csv', columns, events)
  _write(work / 'asked.csv', (*columns, 'split'), asked)


def _write(path, names, rows):
  path.parent.mkdir(parents=True, exist_ok=True)
  with open(path, 'w', newline='') as file:
    csv.writer(file).writerows(itertools.chain([names], rows))
