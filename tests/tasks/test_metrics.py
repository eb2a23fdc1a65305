"""Scores against a plain computation, a class at a time, and against libraries."""

import numpy as np
import pytest
from scipy import stats

from tasks import metrics
from tasks.answers.lists import Answer


def by_hand(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
  """Support-weighted scores with loops, as scikit-learn documents them."""
  sums = {'precision': 0.0, 'recall': 0.0, 'f1': 0.0}
  for column in range(truth.shape[1]):
    hit = sum(
      t and p for t, p in zip(truth[:, column], predicted[:, column], strict=True)
    )
    support, named = int(truth[:, column].sum()), int(predicted[:, column].sum())
    precision = hit / named if named else 0.0
    recall = hit / support if support else 0.0
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    sums['precision'] += support * precision
    sums['recall'] += support * recall
    sums['f1'] += support * f1
  return {name: value / max(int(truth.sum()), 1) for name, value in sums.items()}


def members(seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Class members [30, 8] of labels and answers; some classes have nobody."""
  rng = np.random.default_rng(seed)
  return rng.random((2, 30, 8)) < rng.uniform(-0.1, 0.6, (2, 1, 8))


@pytest.mark.parametrize('seed', range(5))
def test_equals_loops(seed):
  truth, predicted = members(seed)
  found = metrics.weighted_scores(truth, predicted)
  assert found == pytest.approx(by_hand(truth, predicted))


@pytest.mark.parametrize('seed', range(5))
def test_equals_scikit_learn(seed):
  library = pytest.importorskip('sklearn.metrics')
  truth, predicted = members(seed)
  found = metrics.weighted_scores(truth, predicted)
  *wanted, _ = library.precision_recall_fscore_support(
    truth, predicted, average='weighted', zero_division=0
  )
  assert [found[x] for x in ('precision', 'recall', 'f1')] == pytest.approx(wanted)


@pytest.mark.parametrize('seed', range(3))
def test_the_interval_equals_that_of_scipy(seed):
  truth, predicted = members(seed)
  wanted = stats.bootstrap(
    (np.arange(len(truth)),),
    lambda rows: by_hand(truth[rows], predicted[rows])['f1'],
    vectorized=False,
    n_resamples=50,
    method='percentile',
    rng=seed,
  ).confidence_interval
  found = metrics.bootstrap_f1(truth, predicted, samples=50, seed=seed)
  assert found == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize('seed', range(3))
def test_the_paired_interval_equals_a_loop(seed):
  truth, first = members(seed)
  _, second = members(seed + 10)
  rng = np.random.default_rng(seed)
  differences = []
  for _ in range(50):
    rows = rng.integers(0, 30, 30)
    one, other = (by_hand(truth[rows], x[rows])['f1'] for x in (first, second))
    differences.append(one - other)
  wanted = np.quantile(differences, [0.025, 0.975])
  found = metrics.paired_bootstrap(truth, first, second, samples=50, seed=seed)
  assert found == pytest.approx(tuple(wanted))
  swapped = metrics.paired_bootstrap(truth, second, first, samples=50, seed=seed)
  assert swapped == pytest.approx((-found[1], -found[0]))


def test_the_paired_interval_of_equal_answers_is_0():
  truth, predicted = members(0)
  assert metrics.paired_bootstrap(truth, predicted, predicted, samples=9) == (0, 0)
  nobody = truth[:0]
  assert metrics.paired_bootstrap(nobody, nobody, nobody) == (0, 0)


def test_perfect_and_empty():
  truth = np.eye(3, dtype=bool)
  assert metrics.weighted_scores(truth, truth)['f1'] == 1
  assert metrics.weighted_scores(truth, ~truth)['f1'] == 0
  nobody = np.zeros((0, 3), bool)
  assert metrics.weighted_scores(nobody, nobody)['f1'] == 0
  assert metrics.bootstrap_f1(nobody, nobody) == (0, 0)


def test_bootstrap():
  rng = np.random.default_rng(0)
  truth = rng.random((200, 6)) < 0.3
  predicted = truth ^ (rng.random((200, 6)) < 0.2)
  low, high = metrics.bootstrap_f1(truth, predicted, samples=300)
  assert low < metrics.weighted_scores(truth, predicted)['f1'] < high
  assert (low, high) == metrics.bootstrap_f1(truth, predicted, samples=300)
  assert metrics.bootstrap_f1(truth, truth) == pytest.approx((1, 1))


def test_genre_scores_count_failures():
  targets = [Answer(('War',), (), True), Answer(('Drama',), ('War',), True)]
  wrong = [Answer(('War',), (), True), Answer()]
  found = metrics.genre_scores(targets, wrong)
  assert found['parse_failures'] == 0.5
  assert found['recall'] == pytest.approx(1 / 3)
  assert metrics.genre_scores(targets, targets)['f1'] == 1
