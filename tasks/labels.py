"""The label rule: which genres a user likes and dislikes, from the ratings alone.

UEM's rule (arXiv 2401.04858): genres with at least `min_count` ratings in the
history are eligible; the `top` with the highest mean rating above `liked_above` are
liked, the `top` with the lowest mean below `disliked_below` disliked. How UEM breaks
ties is unknown; here the genre with more ratings wins, then the one that comes first
in the columns (which are sorted by name).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
  from scipy import sparse


@dataclasses.dataclass(frozen=True)
class LabelRule:
  """The numbers of the rule.

  Raises:
    ValueError: the numbers let a genre be liked and disliked at once, or nothing be
      chosen at all.
  """

  min_count: int = 3
  liked_above: float = 3.5
  disliked_below: float = 3.0
  top: int = 3

  def __post_init__(self):
    if self.liked_above < self.disliked_below:
      raise ValueError(
        f'LabelRule: liked_above={self.liked_above} lies below '
        f'disliked_below={self.disliked_below}: a genre could be both'
      )
    if self.min_count < 1 or self.top < 1:
      raise ValueError(
        f'LabelRule: min_count={self.min_count} and top={self.top} must be at least 1'
      )


def label(
  genre_matrix: np.ndarray, ratings: np.ndarray, rule: LabelRule
) -> tuple[list[int], list[int]]:
  """Labels of one user.

  Args:
    genre_matrix: [n, G] bool, the genres of the n rated items.
    ratings: [n] float, in stars.
    rule: the numbers of the rule.

  Returns:
    Columns of the liked and of the disliked genres, best and worst first.
  """
  count = np.asarray(genre_matrix).sum(axis=0)
  liked, disliked = choose(count, _exact(ratings) @ genre_matrix, rule)
  return [int(g) for g in liked if g >= 0], [int(g) for g in disliked if g >= 0]


def label_users(
  genres: sparse.csr_array,
  starts: np.ndarray,
  items: np.ndarray,
  ratings: np.ndarray,
  rule: LabelRule,
) -> tuple[np.ndarray, np.ndarray]:
  """Labels of U users at once, equal to `label` of each.

  Args:
    genres: [I, G], 1 where an item has a genre.
    starts: [U + 1] int, user u has the ratings from starts[u] to starts[u + 1].
    items: [R] int, the item of each rating.
    ratings: [R] float, in stars.
    rule: the numbers of the rule.

  Returns:
    liked and disliked, [U, min(top, G)] int: columns, filled up with -1.
  """
  from scipy import sparse  # slow to import; jobs read their flags without it

  shape = (len(starts) - 1, genres.shape[0])
  rated = sparse.csr_array((_exact(ratings), items, starts), shape)
  total = (rated @ genres).toarray()
  rated.data = np.ones(len(items))
  return choose((rated @ genres).toarray(), total, rule)


def choose(
  count: np.ndarray, total: np.ndarray, rule: LabelRule
) -> tuple[np.ndarray, np.ndarray]:
  """Applies the rule to the ratings of each genre.

  Args:
    count: [..., G] number of ratings.
    total: [..., G] sum of the ratings.
    rule: the numbers of the rule.

  Returns:
    liked and disliked, [..., min(top, G)] int: columns, filled up with -1.
  """
  mean = total / np.maximum(count, 1)
  often = count >= rule.min_count
  return (
    _best(-mean, often & (mean > rule.liked_above), count, rule.top),
    _best(mean, often & (mean < rule.disliked_below), count, rule.top),
  )


def members(labels: tuple[np.ndarray, np.ndarray], num_genres: int) -> np.ndarray:
  """Class membership [U, 2G] bool of labels as `choose` gives them."""
  found = np.zeros((len(labels[0]), 2 * num_genres), bool)
  for side, columns in enumerate(labels):
    user, place = np.nonzero(columns >= 0)
    found[user, side * num_genres + columns[user, place]] = True
  return found


def _best(cost, eligible, count, top):
  """The `top` eligible columns of least cost, then of most count, then leftmost."""
  order = np.lexsort((-count, np.where(eligible, cost, np.inf)), axis=-1)[..., :top]
  return np.where(np.take_along_axis(eligible, order, axis=-1), order, -1)


def _exact(ratings):
  """float32 values add up exactly in float64, so that no order of rows can matter."""
  return np.asarray(ratings, np.float32).astype(np.float64)
