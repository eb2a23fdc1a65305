"""Values that a matrix factorization of a library predicts.

It is `SVD` of scikit-surprise 1.1: biases and factors of users and items, fitted by
stochastic gradient descent (Koren, Bell and Volinsky 2009, doi 10.1109/MC.2009.263).
The library is not among the project's requirements: `pip install scikit-surprise`.
"""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.movielens_sets import LAST, Rating, last_ratings, split_of, tenths

# surprise's own is 100 factors, 20 epochs, 0.02.
GRID = [
  {'n_factors': factors, 'n_epochs': epochs, 'reg_all': penalty}
  for factors, epochs, penalty in itertools.product((20, 100), (20, 80), (0.05, 0.1))
]


def factorized(
  rows: Sequence[Rating], fold: int
) -> tuple[dict[tuple[str, str], float], dict]:
  """Predicts the last ratings of a fold's test users.

  It reads all ratings of the fold's training users, and of a test user all that are
  older than the predicted one: for each of the five it is fitted anew. The settings are
  those of `GRID` with the least squared error for the validation users.

  Args:
    rows: all ratings.
    fold: number of the fold.

  Returns:
    The value of each (user, item), not yet within the scale, and the settings.
  """
  parts = tenths({row.user for row in rows})
  of = {split: [] for split in ('train', 'validation', 'test')}
  for row in rows:
    of[split_of(parts[row.user], fold)].append(row)

  def error(settings):
    # One fit for the five: all are predicted from what was before the first.
    told = _predict(of['train'], of['validation'], [slice(0, LAST)], settings, fold)
    return np.mean([(told[row.user, row.item] - row.value) ** 2 for row in asked])

  asked = last_ratings(of['validation'])
  best = min(GRID, key=error)
  each = [slice(at, at + 1) for at in range(LAST)]
  return _predict(of['train'], of['test'], each, best, fold), best


def _predict(
  train: Sequence[Rating],
  others: Sequence[Rating],
  turns: Iterable[slice],
  settings: dict,
  seed: int,
) -> dict[tuple[str, str], float]:
  """Predicts some of the last ratings of other users, turn by turn."""
  try:
    import surprise
  except ImportError as error:
    raise SystemExit('needs scikit-surprise: pip install scikit-surprise') from error
  last: dict[str, list[Rating]] = {}
  for row in last_ratings(others):
    last.setdefault(row.user, []).append(row)
  reader = surprise.Reader(
    rating_scale=(min(x.value for x in train), max(x.value for x in train))
  )
  told = {}
  for turn in turns:
    since = {user: own[turn][0].time for user, own in last.items()}
    known = [*train, *(row for row in others if row.time < since[row.user])]
    columns = [(row.user, row.item, row.value, None) for row in known]
    data = surprise.Dataset(reader)
    fitted = surprise.SVD(**settings, random_state=seed)
    fitted.fit(data.construct_trainset(columns))
    for row in itertools.chain.from_iterable(own[turn] for own in last.values()):
      told[row.user, row.item] = fitted.predict(row.user, row.item, clip=False).est
  return told
