"""Shares of options by item, against counts by hand."""

import numpy as np
import pytest

from tasks.baselines import (
  FOLDS,
  ChoiceSamples,
  count_options,
  item_mean,
  majority,
  mean_log_loss,
  smoothed_shares,
)

RNG = np.random.default_rng(0)
ITEMS = 8


def draw(count: int, options: int, seed: int = 0, begin: int = 0) -> ChoiceSamples:
  """Examples about few items, some without an answer, some about no item."""
  rng = np.random.default_rng(seed)
  none = [np.zeros(0, int)] * count
  return ChoiceSamples(
    [f'e{begin + x}' for x in range(count)],
    [f'u{begin + x // 3}' for x in range(count)],
    rng.integers(-1, ITEMS - 1, count),  # the last item is in no example
    rng.integers(-1, options, count),
    none,
    none,
  )


TRAIN = draw(60, 3)
NEW = draw(20, 3, seed=1, begin=600)
COUNTS = count_options(TRAIN, ITEMS, 3)


def by_hand(train, asked, strength, options=3):
  """The shares of one example from the examples of a list of (item, answer)."""
  known = [(item, answer) for item, answer in train if answer >= 0]
  overall = np.bincount([answer for _, answer in known], minlength=options) + 1
  own = np.bincount([y for x, y in known if x == asked], minlength=options)
  prior = overall / overall.sum()
  return (own + strength * prior) / (own.sum() + strength)


def test_new_examples_read_the_whole_training():
  pairs = list(zip(TRAIN.asked, TRAIN.answers, strict=True))
  wanted = [by_hand(pairs, asked, 3.0) for asked in NEW.asked]
  np.testing.assert_allclose(smoothed_shares(COUNTS, NEW, 3.0), wanted)
  overall = by_hand(pairs, ITEMS - 1, 1.0)  # of this item nothing is known
  for row in majority(COUNTS, NEW).probabilities:
    np.testing.assert_allclose(row, overall)
  unseen = NEW._replace(asked=np.full(20, ITEMS - 1))
  np.testing.assert_allclose(
    smoothed_shares(COUNTS, unseen, 5.0), majority(COUNTS, unseen).probabilities
  )


def test_training_examples_read_the_folds_of_other_users():
  found = smoothed_shares(COUNTS, TRAIN, 2.0)
  for row, user in enumerate(TRAIN.user_ids):
    others = TRAIN._replace(
      answers=np.where(np.array(TRAIN.user_ids) == user, (TRAIN.answers + 1) % 3, -1)
    )
    assert (others.answers >= 0).any()
    changed = np.where(others.answers >= 0, others.answers, TRAIN.answers)
    again = count_options(TRAIN._replace(answers=changed), ITEMS, 3)
    told = smoothed_shares(again, TRAIN, 2.0)[row]
    np.testing.assert_array_equal(told, found[row], 'own answers are not read')
  assert COUNTS.by_item.shape == (FOLDS, ITEMS + 1, 3)
  assert COUNTS.overall.sum() == (TRAIN.answers >= 0).sum()


def test_the_strength_is_the_best_on_the_training():
  found = item_mean(COUNTS, TRAIN, NEW)
  strength = found.settings['strength']
  loss = lambda s: mean_log_loss(TRAIN.answers, smoothed_shares(COUNTS, TRAIN, s))
  assert all(loss(strength) <= loss(s) for s in (0.3, 1.0, 3.0, 10.0, 30.0, 100.0))
  np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
  blind = NEW._replace(answers=np.full(20, -1))
  np.testing.assert_array_equal(
    item_mean(COUNTS, TRAIN, blind).probabilities, found.probabilities
  )


def test_nobody_answered():
  nobody = TRAIN._replace(answers=np.full(60, -1))
  counts = count_options(nobody, ITEMS, 3)
  np.testing.assert_allclose(majority(counts, NEW).probabilities, 1 / 3)
  np.testing.assert_allclose(item_mean(counts, nobody, NEW).probabilities, 1 / 3)
  assert mean_log_loss(nobody.answers, np.zeros((60, 3))) == 0


def test_the_log_loss_reads_known_answers():
  told = np.array([[0.5, 0.5], [0.1, 0.9], [0.25, 0.75]])
  found = mean_log_loss(np.array([0, -1, 1]), told)
  assert found == pytest.approx(-np.log([0.5, 0.75]).mean())


def test_some_of_the_examples():
  some = TRAIN.take(np.arange(60) % 2 == 0)
  assert some.example_ids == TRAIN.example_ids[::2]
  np.testing.assert_array_equal(some.asked, TRAIN.asked[::2])
  rest = TRAIN.without(some)
  assert not {*rest.example_ids} & {*some.example_ids}
  assert len(rest.asked) == (TRAIN.answers[1::2] >= 0).sum()
