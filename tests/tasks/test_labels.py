"""The label rule against pandas and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from tasks.labels import LabelRule, label, label_users

GENRES = 7
RULE = LabelRule()


def pandas_label(
  genre_matrix: np.ndarray, ratings: np.ndarray, rule: LabelRule
) -> tuple[list[int], list[int]]:
  """The rule over a long table of (genre, rating), one row a genre of an item."""
  row, genre = np.nonzero(genre_matrix)
  rated = pd.DataFrame({'genre': genre, 'rating': ratings[row]})
  stats = rated.groupby('genre', as_index=False).rating.agg(['count', 'mean'])
  stats = stats[stats['count'] >= rule.min_count]

  def pick(chosen, ascending):
    order = ['mean', 'count', 'genre']
    chosen = chosen.sort_values(order, ascending=[ascending, False, True])
    return chosen.genre.tolist()[: rule.top]

  return (
    pick(stats[stats['mean'] > rule.liked_above], False),
    pick(stats[stats['mean'] < rule.disliked_below], True),
  )


def draw(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
  """[size, GENRES] bool and [size] stars with many equal means."""
  rng = np.random.default_rng(seed)
  matrix = rng.random((size, GENRES)) < 0.4
  taste = rng.integers(0, 5, GENRES)
  stars = np.clip(matrix @ taste / np.maximum(matrix.sum(1), 1) + 1, 0.5, 5)
  return matrix, (np.round(2 * stars) / 2).astype(np.float32)


@pytest.mark.parametrize(
  'rule',
  [RULE, LabelRule(1, 3.0, 3.0, 1), LabelRule(5, 4.0, 2.0, 2), LabelRule(top=20)],
)
def test_one_user_equals_pandas(rule):
  for seed in range(40):
    matrix, ratings = draw(seed, size=seed)
    assert label(matrix, ratings, rule) == pandas_label(matrix, ratings, rule), seed


def test_many_users_equal_one_by_one():
  rng = np.random.default_rng(0)
  genre_matrix = rng.random((50, GENRES)) < 0.3
  users = np.sort(rng.integers(0, 30, 900))
  users[users == 4] = 5  # one without ratings
  items, ratings = rng.integers(0, 50, 900), rng.integers(1, 11, 900) / 2
  starts = np.searchsorted(users, np.arange(31))
  genres = sparse.csr_array(genre_matrix.astype(float))
  liked, disliked = label_users(genres, starts, items, ratings, RULE)
  assert liked.shape == disliked.shape == (30, 3)
  for user in range(30):
    mine = users == user
    expected = pandas_label(genre_matrix[items[mine]], ratings[mine], RULE)
    for side, wanted in zip((liked, disliked), expected, strict=True):
      assert [genre for genre in side[user] if genre >= 0] == wanted
  assert np.all(liked[4] == -1)


def one_genre(*ratings: float) -> tuple[list[int], list[int]]:
  return label(np.ones((len(ratings), 1), bool), np.array(ratings), RULE)


def test_the_limits_are_strict():
  assert one_genre(3.5, 3.5, 3.5) == ([], [])
  assert one_genre(3.5, 3.5, 4.0) == ([0], [])
  assert one_genre(3.0, 3.0, 3.0) == ([], [])
  assert one_genre(3.0, 3.0, 2.5) == ([], [0])


def test_too_few_ratings():
  assert one_genre(5, 5) == ([], [])
  assert one_genre() == ([], [])


def test_ties_go_to_the_larger_count_and_then_to_the_first_name():
  counts = [3, 4, 3, 4]
  matrix = np.zeros((sum(counts), 4), bool)
  matrix[np.arange(sum(counts)), np.repeat(np.arange(4), counts)] = True
  assert label(matrix, np.full(sum(counts), 5.0), RULE) == ([1, 3, 0], [])
  assert label(matrix, np.full(sum(counts), 1.0), RULE) == ([], [1, 3, 0])


@pytest.mark.parametrize('values', [{'liked_above': 2.0}, {'min_count': 0}, {'top': 0}])
def test_a_rule_that_makes_no_sense(values):
  with pytest.raises(ValueError, match='LabelRule'):
    LabelRule(**values)
