"""The user's deviation against sums by hand, and what it adds to an item's share."""

import numpy as np
import pytest

from tasks.baselines import (
  ChoiceSamples,
  count_options,
  item_mean,
  item_mean_user_bias,
  sum_item_values,
  user_deviations,
)
from tasks.choice_metrics import most_probable, option_scores

ITEMS = 30


def draw(
  users: int, seed: int, prefix: str = 'u', effect: float = 1.0
) -> ChoiceSamples:
  """Two examples a user, who likes all books more or less than others do."""
  rng = np.random.default_rng(seed)
  quality = np.random.default_rng(99).normal(size=ITEMS)
  made = []
  for user in range(users):
    taste = rng.normal()
    for number in range(2):
      items = rng.permutation(ITEMS)[: 1 + user % 9]
      liking = quality[items] + taste + rng.normal(size=len(items)) / 2
      answer = int(effect * liking[0] < 0)
      values = np.round(3 + liking[1:]).astype(np.float32)
      name = f'{prefix}{user}'
      made.append((f'{name}-{number}', name, items[0], answer, items[1:], values))
  ids, names, asked, answers, items, values = zip(*made, strict=True)
  return ChoiceSamples(ids, names, np.array(asked), np.array(answers), items, values)


TRAIN, NEW = draw(150, 0), draw(60, 1, 'n')


def deviation_by_hand(samples, row):
  """Means over all longest histories but those of the user, looked up one by one."""
  longest = {}
  for at, user in enumerate(TRAIN.user_ids):
    if len(TRAIN.items[at]) >= len(TRAIN.items[longest.get(user, at)]):
      longest[user] = at
  every = np.concatenate([TRAIN.values[at] for at in longest.values()])
  total = 0.0
  for item, value in zip(samples.items[row], samples.values[row], strict=True):
    others = [
      float(v)
      for user, at in longest.items()
      if user != samples.user_ids[row]
      for i, v in zip(TRAIN.items[at], TRAIN.values[at], strict=True)
      if i == item
    ]
    total += value - (sum(others) + 5 * every.mean()) / (len(others) + 5)
  return total


def test_deviations_by_hand():
  values = sum_item_values(TRAIN, ITEMS)
  for samples in (TRAIN, NEW):
    found = user_deviations(values, samples)
    for row in (0, 1, 7, 16, 35, 60):
      wanted = deviation_by_hand(samples, row)
      assert found[row] == pytest.approx(wanted, abs=1e-5)
  assert user_deviations(values, NEW)[0] == 0, 'an empty history'


def test_items_that_the_training_never_saw_have_the_overall_mean():
  values = sum_item_values(TRAIN, ITEMS + 5)
  new = NEW.take(np.array([0]))._replace(
    items=[np.array([ITEMS, ITEMS + 4])], values=[np.array([5.0, 1.0])]
  )
  wanted = 6 - 2 * values.mean
  assert user_deviations(values, new)[0] == pytest.approx(wanted)


@pytest.mark.parametrize('effect', [1.0, -1.0])
def test_it_is_better_than_the_item_alone_whichever_option_is_the_good_one(effect):
  train, new = draw(150, 0, effect=effect), draw(60, 1, 'n', effect)
  counts = count_options(train, ITEMS, 2)
  made = (
    item_mean(counts, train, new),
    item_mean_user_bias(counts, train, new, ITEMS),
  )
  users = np.unique(new.user_ids, return_inverse=True)[1]
  alone, both = (
    option_scores(new.answers, users, most_probable(x.probabilities), 2, samples=0)
    for x in made
  )
  assert both['auc'] > alone['auc'] + 0.05
  assert both['log_loss'] < alone['log_loss']
  assert made[1].settings.keys() == {'strength', 'shrinkage'}


def test_answers_of_the_asked_examples_are_not_read():
  counts = count_options(TRAIN, ITEMS, 2)
  blind = NEW._replace(answers=1 - NEW.answers)
  made = [item_mean_user_bias(counts, TRAIN, x, ITEMS) for x in (NEW, blind)]
  np.testing.assert_array_equal(made[0].probabilities, made[1].probabilities)


def test_nothing_to_learn_from():
  counts = count_options(TRAIN, ITEMS, 2)
  assert item_mean_user_bias(counts, TRAIN, TRAIN, ITEMS) is None, 'all are asked'
  equal = TRAIN._replace(values=[np.ones_like(x) for x in TRAIN.values])
  assert item_mean_user_bias(counts, equal, NEW, ITEMS) is None
  empty = TRAIN._replace(items=[np.zeros(0, int)] * 300, values=[np.zeros(0)] * 300)
  assert item_mean_user_bias(counts, empty, NEW, ITEMS) is None
