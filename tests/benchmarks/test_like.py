"""Folds of the users and scores over them, against computations of their own."""

import collections
import csv

import numpy as np
from sklearn.metrics import mean_absolute_error, roc_auc_score, root_mean_squared_error

from benchmarks import like, like_decoder, movielens_sets, rank
from benchmarks.movielens_sets import FOLDS, Rating

_RNG = np.random.default_rng(0)


def test_every_user_is_tested_in_one_fold_and_trains_or_validates_in_others():
  parts = movielens_sets.tenths([str(x) for x in range(50)])
  for part in parts.values():
    splits = [movielens_sets.split_of(part, fold) for fold in range(FOLDS)]
    assert splits.count('test') == 1
    assert splits.count('validation') <= 1
  first = [movielens_sets.split_of(part, 0) for part in parts.values()]
  assert collections.Counter(first) == {'train': 35, 'validation': 5, 'test': 10}


def test_the_last_ratings_are_asked(tmp_path):
  times = _RNG.permutation(8).tolist()
  rows = [Rating('a', str(time), 3.5, float(time)) for time in times]
  rows.append(Rating('b', '0', 1.0, 9.0))
  last = movielens_sets.last_ratings(rows)
  assert [(x.user, x.item) for x in last] == [
    *(('a', str(x)) for x in range(3, 8)),
    ('b', '0'),
  ]
  work = tmp_path / 'a new' / 'folder'
  movielens_sets._write_folds(work, rows)
  with open(work / 'asked.csv') as file:
    asked = [*csv.DictReader(file)]
  assert [(x['time'], x['value']) for x in asked][-2:] == [('7', '3.5'), ('9', '1')]
  assert {x['user']: x['fold_0'] for x in asked}['a'] in ('train', 'validation', 'test')


def _cells(seeds, numbers):
  users = np.repeat([f'u{x}' for x in range(10)], 6)
  truth = _RNG.integers(0, len(numbers), 60)
  for _ in range(seeds):
    told = {name: _RNG.uniform(0, len(numbers), 60) for name in ('draft', 'simple')}
    whole = {'users': users, 'truth': truth, **told}
    common = {'numbers': numbers, 'spent': 7, 'steps': 3}
    # Two folds of users.
    yield [
      {name: x[part] for name, x in whole.items()} | common
      for part in (slice(0, 24), slice(24, 60))
    ]


def test_scores_are_of_all_folds_together_and_means_over_the_seeds():
  cells = [*_cells(2, np.array([1.0, 0.0]))]
  found = like.summary(cells, 'like')
  both = [
    {
      x: np.concatenate([fold[x] for fold in of_seed])
      for x in ('truth', 'draft', 'simple')
    }
    for of_seed in cells
  ]
  auc = lambda name: [roc_auc_score(x['truth'] == 0, x[name]) for x in both]
  np.testing.assert_allclose(found['auc']['draft']['of_seeds'], auc('draft'))
  np.testing.assert_allclose(found['auc']['simple']['value'], np.mean(auc('simple')))
  less = found['auc']['draft less simple']
  np.testing.assert_allclose(
    less['value'], np.mean(auc('draft')) - np.mean(auc('simple'))
  )
  assert less['interval'][0] < less['value'] < less['interval'][1]
  assert found['training_processor_seconds'] == [7] * 4
  assert (found['examples'], found['users']) == (60, 10)


def test_errors_are_those_of_the_numbers():
  numbers = np.array([1.0, 2.0, 4.0])
  cells = [*_cells(1, numbers)]
  found = like.summary(cells, 'stars')
  truth = np.concatenate([numbers[fold['truth']] for fold in cells[0]])
  told = np.concatenate([fold['draft'] for fold in cells[0]])
  for score, error in {
    'mae': mean_absolute_error,
    'rmse': root_mean_squared_error,
  }.items():
    np.testing.assert_allclose(found[score]['draft']['value'], error(truth, told))


def test_other_histories_are_of_other_users():
  records = [
    {
      'user_id': f'u{x % 3}',
      'history_items': np.full(x + 1, x),
      'history_total': x,
      'answer': x,
    }
    for x in range(9)
  ]
  for record, other in zip(records, like_decoder.swapped(records), strict=True):
    assert other['history_items'][0] % 3 != record['answer'] % 3
    assert (other['answer'], other['user_id']) == (record['answer'], record['user_id'])
  assert all(not len(x['history_items']) for x in like_decoder.without_history(records))


def test_rankings_are_means_over_examples_of_the_drawn_users():
  cells = [
    {
      'users': _RNG.choice(['a', 'b', 'c', 'd'], 20),
      'spent': 1,
      'steps': 2,
      **{
        f'{x} {score}': _RNG.random(20)
        for x in ('draft', 'chance')
        for score in rank.WORDS
      },
    }
    for _ in range(2)
  ]
  found = rank.summary(cells)
  for score in rank.WORDS:
    mean = lambda name, score=score: np.mean(
      [x[f'{name} {score}'].mean() for x in cells]
    )
    np.testing.assert_allclose(found[score]['chance']['value'], mean('chance'))
    np.testing.assert_allclose(
      found[score]['draft less chance']['value'], mean('draft') - mean('chance')
    )
