"""The numbers of the report against pandas."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from persoma_tf.training.metric_log import MetricLog
from pipelines.report import run_numbers
from tasks import metrics

GENRES = ('Action', 'Comedy', 'Drama', 'War')
NOBODY = np.zeros((0, 8), bool)


def random_users(seed: int, users: int = 100):
  """(lengths [U], truth and answer [U, 2G]); no genre is liked and disliked."""
  rng = np.random.default_rng(seed)
  state = rng.integers(0, 3, (users, len(GENRES)))
  truth = np.hstack([state == 1, state == 2])
  return rng.integers(5, 40, users), truth, truth ^ (rng.random(truth.shape) < 0.3)


def long(truth: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
  """A row for every user and class."""
  names = [(side, genre) for side in ('liked', 'disliked') for genre in GENRES]
  frame = lambda values: pd.DataFrame(values, columns=pd.MultiIndex.from_tuples(names))
  table = pd.concat({'true': frame(truth), 'said': frame(predicted)}, axis=1)
  table = table.stack([1, 2], future_stack=True)
  return table.rename_axis(['user', 'side', 'genre']).reset_index()


def pandas_f1(table: pd.DataFrame) -> float:
  """F1 weighted by support."""
  table = table.assign(hit=table.true & table.said)
  sums = table.groupby(['side', 'genre'])[['hit', 'true', 'said']].sum()
  f1 = 2 * sums.hit / (sums.true + sums.said)
  return (f1.fillna(0) * sums.true).sum() / sums.true.sum()


def test_bins_hold_every_user_once_and_about_as_many():
  lengths, *_ = random_users(0, 200)
  bins = run_numbers.equal_bins(lengths)
  inside = [((lengths >= low) & (lengths <= high)).sum() for low, high in bins]
  assert sum(inside) == 200
  assert len(bins) == 6
  assert max(inside) < 2 * min(inside)
  assert (bins[0][0], bins[-1][1]) == (lengths.min(), lengths.max())
  assert all(low[1] + 1 == high[0] for low, high in itertools.pairwise(bins))


def test_bins_of_few_users_and_of_equal_lengths():
  assert run_numbers.equal_bins(np.array([9, 3, 7])) == [(3, 9)]
  assert run_numbers.equal_bins(np.full(100, 7)) == [(7, 7)]


@pytest.mark.parametrize('seed', range(3))
def test_f1_by_length(seed):
  lengths, truth, predicted = random_users(seed)
  answers = {'persoma': predicted, 'same': truth}
  rows = run_numbers.score_by_length(lengths, truth, answers, samples=50, seed=7)
  bins = run_numbers.equal_bins(lengths)
  assert [row[:2] for row in rows] == [x for x in bins for _ in answers]
  for row in rows:
    table = long(truth, answers[row.method])
    table = table[table.user.map(pd.Series(lengths).between(row.low, row.high))]
    assert row.users == table.user.nunique()
    assert row.f1 == pytest.approx(pandas_f1(table))
    chosen = pd.Series(lengths).between(row.low, row.high).to_numpy()
    of_bin = truth[chosen], answers[row.method][chosen]
    interval = metrics.bootstrap_f1(*of_bin, samples=50, seed=7)
    assert (row.f1_low, row.f1_high) == interval


@pytest.mark.parametrize('seed', range(3))
def test_per_genre(seed):
  _, truth, predicted = random_users(seed)
  predicted[:, 2] = False  # never answered
  truth[:, 5] = False  # nobody's
  rows = run_numbers.score_by_genre(truth, predicted, GENRES)
  table = long(truth, predicted)
  assert [(x.side, x.genre) for x in rows] == list(
    dict.fromkeys(zip(table.side, table.genre, strict=True))
  )
  for row in rows:
    own = table[(table.side == row.side) & (table.genre == row.genre)]
    assert (row.support, row.named) == (own.true.sum(), own.said.sum())
    precision, recall = own[own.said].true.mean(), own[own.true].said.mean()
    expected = pytest.approx([precision, recall], nan_ok=True)
    assert [row.precision, row.recall] == expected
  assert np.isnan(rows[2].precision)
  assert np.isnan(rows[5].recall)


@pytest.mark.parametrize('seed', range(3))
def test_confusion(seed):
  _, truth, predicted = random_users(seed)
  table = long(truth, predicted).pivot(
    index=['user', 'genre'], columns='side', values=['true', 'said']
  )
  names = {(True, True): 'both', (True, False): 'liked', (False, True): 'disliked'}
  state = lambda kind, none: [
    names.get((likes, not_), none)
    for likes, not_ in zip(table[kind, 'liked'], table[kind, 'disliked'], strict=True)
  ]
  said = pd.Series(state('said', 'not named'), table.index, name='said')
  true = pd.Series(state('true', 'neither'), table.index, name='true')
  counts = pd.crosstab([table.index.get_level_values('genre'), true], said)
  found = run_numbers.count_confusions(truth, predicted)
  assert found.sum() == truth.shape[0] * len(GENRES)
  for at, genre in enumerate(GENRES):
    expected = counts.loc[genre].reindex(
      index=run_numbers.TRUE_STATES, columns=run_numbers.SAID_STATES, fill_value=0
    )
    np.testing.assert_array_equal(found[at], expected)


def test_histogram():
  lengths = np.random.default_rng(0).lognormal(4, 1, 300).astype(int)
  rows = run_numbers.count_by_length(lengths)
  edges = [rows[0][0], *(high + 1 for _, high, _ in rows)]
  expected = pd.cut(lengths, edges, right=False).value_counts()
  assert [users for *_, users in rows] == expected.tolist()
  assert sum(users for *_, users in rows) == 300
  ratio = np.diff(np.log(edges))[3:]  # where rounding to whole numbers matters little
  assert ratio.max() < 1.2 * ratio.min()
  assert run_numbers.count_by_length(np.full(5, 7)) == [(7, 7, 5)]
  assert run_numbers.count_by_length(np.array([0, 0, 3]))[0][::2] == (0, 2)


def test_draw():
  among = np.random.default_rng(0).random(50) < 0.5
  chosen = run_numbers.sample_positions(among, 8, seed=3)
  assert len(set(chosen)) == 8
  assert among[chosen].all()
  assert chosen == sorted(chosen) == run_numbers.sample_positions(among, 8, seed=3)
  assert chosen != run_numbers.sample_positions(among, 8, seed=4)
  assert (
    run_numbers.sample_positions(among, 99, seed=3) == np.flatnonzero(among).tolist()
  )


def test_curves_of_what_the_trainer_logs(tmp_path):
  log = MetricLog(str(tmp_path), 0, 4)
  log.add({'loss': np.float32(3), 'slot_loss': np.float32(1), 'other': np.float32(9)})
  log.flush(1, 'histories', 8)
  log.validation(1, 'histories', 0, [{'loss': np.float32(2)}])
  log.add({'loss': np.float32(5), 'lm_loss': np.float32(5)})
  log.flush(2, 'decoder', 8)
  log.close()
  points = run_numbers.read_losses(
    (tmp_path / 'metrics.jsonl').read_text().splitlines()
  )
  assert points == [
    ('histories', 'train', 'loss', 1, 3),
    ('histories', 'train', 'slot_loss', 1, 1),
    ('histories', 'validation', 'loss', 1, 2),
    ('decoder', 'train', 'loss', 2, 5),  # lm_loss is all of it
  ]


def test_nobody():
  lengths = np.zeros(0, int)
  assert run_numbers.equal_bins(lengths) == []
  assert (
    run_numbers.score_by_length(lengths, NOBODY, {'x': NOBODY}, samples=9, seed=0) == []
  )
  assert run_numbers.count_by_length(lengths) == []
  assert run_numbers.sample_positions(np.zeros(0, bool), 3, 0) == []
  assert run_numbers.count_confusions(NOBODY, NOBODY).sum() == 0
  assert {x.support for x in run_numbers.score_by_genre(NOBODY, NOBODY, GENRES)} == {0}
  assert run_numbers.read_losses([]) == []
  assert (
    run_numbers.read_losses([json.dumps({'step': 3, 'timing/examples_per_second': 1})])
    == []
  )
