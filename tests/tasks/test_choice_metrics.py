"""Scores of choices against scikit-learn, counted pairs, and repeated examples."""

import math

import numpy as np
import pytest

from tasks import choice_curves, choice_metrics, metrics
from tasks.choice_metrics import OptionAnswers

RNG = np.random.default_rng(0)
USERS = np.sort(np.append(np.arange(12), RNG.integers(0, 12, 68)))


def draw(options: int, digits: int = 2) -> tuple[np.ndarray, OptionAnswers]:
  """Right options, and answers with probabilities, many of them equal."""
  truth = RNG.integers(0, options, len(USERS))
  told = RNG.dirichlet(np.ones(options), len(USERS))
  told[np.arange(len(USERS)), truth] += 0.3
  told = np.round(told / told.sum(axis=1, keepdims=True), digits) + 0.01
  told /= told.sum(axis=1, keepdims=True)
  chosen = np.where(RNG.random(len(USERS)) < 0.1, -1, told.argmax(axis=1))
  return truth, OptionAnswers(chosen, told)


@pytest.mark.parametrize('options', [2, 3, 5])
def test_scores_equal_scikit_learn(options):
  library = pytest.importorskip('sklearn.metrics')
  truth, answers = draw(options)
  found = choice_metrics.option_scores(truth, USERS, answers, options, samples=0)
  labels = range(options)
  told = answers.probabilities
  assert found['accuracy'] == pytest.approx(
    library.accuracy_score(truth, answers.chosen)
  )
  for name in ('precision', 'recall', 'f1'):
    score = getattr(library, f'{name}_score')
    wanted = score(
      truth, answers.chosen, labels=labels, average='weighted', zero_division=0
    )
    assert found[name] == pytest.approx(wanted)
  assert found['log_loss'] == pytest.approx(library.log_loss(truth, told))
  auc = (
    library.roc_auc_score(truth == 0, told[:, 0])
    if options == 2
    else library.roc_auc_score(truth, told, multi_class='ovr', average='macro')
  )
  assert found['auc'] == pytest.approx(auc)


def test_auc_counts_pairs():
  truth, answers = draw(2, digits=1)
  first = answers.probabilities[:, 0]
  pairs = [
    (a > b) + 0.5 * (a == b) for a in first[truth == 0] for b in first[truth == 1]
  ]
  found = choice_metrics.option_scores(truth, USERS, answers, 2, samples=0)
  assert found['auc'] == pytest.approx(np.mean(pairs))
  same = OptionAnswers(answers.chosen, np.full((len(truth), 2), 0.5))
  assert choice_metrics.option_scores(truth, USERS, same, 2, samples=0)['auc'] == 0.5


@pytest.mark.parametrize('options', [2, 3])
def test_a_drawn_user_brings_all_examples_as_often_as_drawn(options):
  truth, answers = draw(options)
  measures = choice_metrics.choice_measures(truth, USERS, answers, options)
  for seed in range(3):
    users = np.random.default_rng(seed).integers(0, 12, 12)
    rows = np.concatenate([np.flatnonzero(user == USERS) for user in users])
    places = np.unique(USERS[rows], return_inverse=True)[1]
    repeated = OptionAnswers(answers.chosen[rows], answers.probabilities[rows])
    wanted = choice_metrics.option_scores(
      truth[rows], places, repeated, options, samples=0
    )
    drawn = np.bincount(users, minlength=12)
    for name, measure in measures.items():
      assert measure(drawn) == pytest.approx(wanted[name]), name


def test_intervals_are_percentiles_over_users():
  truth, answers = draw(2)
  found = choice_metrics.option_scores(truth, USERS, answers, 2, samples=60, seed=4)
  rng = np.random.default_rng(4)
  right = answers.chosen == truth
  values = []
  for _ in range(60):
    users = rng.integers(0, 12, 12)
    values.append(np.concatenate([right[user == USERS] for user in users]).mean())
  wanted = np.percentile(values, [2.5, 97.5])
  assert (found['accuracy_low'], found['accuracy_high']) == pytest.approx((*wanted,))
  for name in {*choice_metrics.INTERVALS} - {'mae', 'rmse'}:  # of numbers
    assert found[f'{name}_low'] <= found[name] <= found[f'{name}_high']
  again = choice_metrics.option_scores(truth, USERS, answers, 2, samples=60, seed=4)
  assert again == found


@pytest.mark.filterwarnings('error')
def test_scores_that_do_not_exist():
  truth, users = np.zeros(4, int), np.array([0, 0, 1, 2])
  told = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
  answers = OptionAnswers(np.array([0, 1, -1, 0]), told)
  found = choice_metrics.option_scores(truth, users, answers, 2, samples=20)
  assert found['auc'] is found['auc_low'] is found['auc_high'] is None
  assert found['accuracy'] == 0.5
  least = -np.log([1, np.finfo(float).eps, 0.5, 1]).sum() / 4
  assert found['log_loss'] == pytest.approx(least)
  silent = OptionAnswers(answers.chosen)
  found = choice_metrics.option_scores(truth, users, silent, 2, samples=20)
  assert not {'auc', 'log_loss', 'calibration_error'} & found.keys()
  assert found['f1'] == pytest.approx(2 / 3)


def test_an_option_that_nobody_has_is_not_in_the_mean():
  truth, answers = draw(3)
  wider = np.hstack([answers.probabilities, np.zeros((len(truth), 1))])
  both = [
    choice_metrics.option_scores(truth, USERS, x, width, samples=0)['auc']
    for x, width in ((answers, 3), (answers._replace(probabilities=wider), 4))
  ]
  assert both[0] == both[1]


def test_calibration_by_hand():
  told = np.array([0.05, 0.08, 0.1, 0.55, 0.58, 1.0])
  truth = np.array([1, 0, 1, 0, 1, 0])
  bins = choice_curves.calibration_bins(truth, np.stack([told, 1 - told], axis=1))
  assert [x[:3] for x in bins] == [
    (0, 0.1, 2),
    (0.1, 0.2, 1),
    (0.5, 0.6, 2),
    (0.9, 1, 1),
  ]
  assert [x.probability for x in bins] == pytest.approx([0.065, 0.1, 0.565, 1.0])
  assert [x.share for x in bins] == [0.5, 0, 0.5, 1]
  wanted = (2 * 0.435 + 0.1 + 2 * 0.065) / 6
  assert choice_curves.calibration_error(bins) == pytest.approx(wanted)
  assert math.isnan(choice_curves.calibration_error([]))


def test_calibration_of_more_options_is_that_of_the_most_probable_one():
  told = np.array([[0.2, 0.75, 0.05], [0.72, 0.2, 0.08], [0.1, 0.1, 0.8]])
  bins = choice_curves.calibration_bins(np.array([1, 2, 2]), told)
  assert [(x.examples, x.share) for x in bins] == [(2, 0.5), (1, 1.0)]
  assert bins[0].probability == pytest.approx(0.735)


def test_curves_equal_scikit_learn():
  library = pytest.importorskip('sklearn.metrics')
  truth, answers = draw(2, digits=1)
  first = answers.probabilities[:, 0]
  x, y, _ = library.roc_curve(truth == 0, first, drop_intermediate=False)
  found = choice_curves.roc_points(truth == 0, first)
  np.testing.assert_allclose(found, (x, y))
  values = RNG.random(5000)
  x, y = choice_curves.roc_points(RNG.random(5000) < values, values, at_most=50)
  assert len(x) == len(y) == 50
  assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
  assert (np.diff(x) >= 0).all()
  assert (np.diff(y) >= 0).all()


def test_drawn_users_are_those_of_lists():
  truth = RNG.random((6, 4)) < 0.5
  rng = np.random.default_rng(2)
  draws = [rng.integers(0, 6, 6) for _ in range(5)]
  for found, wanted in zip(metrics.drawn_users(6, 5, 2), draws, strict=True):
    np.testing.assert_array_equal(found, wanted)
  scores = [metrics.weighted_scores(truth[x], truth[x])['f1'] for x in draws]
  wanted = metrics.percentile_interval(scores)
  assert metrics.bootstrap_f1(truth, truth, samples=5, seed=2) == wanted


def test_errors_of_numbers():
  numbers, truth = np.array([1.0, 2.0, 5.0]), np.array([0, 2, 2, 1, 1, 0])
  users = np.array([0, 0, 1, 1, 2, 2])
  odds = np.random.default_rng(0).dirichlet(np.ones(3), 6)
  chosen = np.array([0, 1, 2, 2, -1, 0])
  told = odds @ numbers
  for answers, wanted in (
    (choice_metrics.most_probable(odds), told),
    (choice_metrics.OptionAnswers(odds.argmax(1), odds, told + 1), told + 1),
    (
      choice_metrics.OptionAnswers(chosen),
      [1, 2, 5, 5, 8 / 3, 1],
    ),
  ):
    found = choice_metrics.option_scores(
      truth, users, answers, 3, numbers, samples=50, seed=1
    )
    apart = np.asarray(wanted) - numbers[truth]
    assert found['mae'] == pytest.approx(np.abs(apart).mean())
    assert found['rmse'] == pytest.approx(np.sqrt(np.square(apart).mean()))
    assert found['mae_low'] <= found['mae'] <= found['mae_high']
  assert choice_metrics.goodness('rmse', 1.0) > choice_metrics.goodness('rmse', 2.0)
  assert choice_metrics.goodness('auc', 1.0) < choice_metrics.goodness('auc', 2.0)
  assert choice_metrics.goodness('rmse', None) == -np.inf
