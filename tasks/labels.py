"""Labels users with the genres that they like and dislike, from their ratings alone.

The rule is that of UEM (arXiv 2401.04858). Genres with at least `min_count` ratings in
the history are eligible. The `top` genres with the highest mean rating above
`liked_above` are liked, the `top` genres with the lowest mean below `disliked_below`
are disliked. How UEM breaks ties is unknown. Here the genre with more ratings comes
first, then the genre with the lower column (columns are sorted by name).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
  from scipy import sparse


@dataclasses.dataclass(frozen=True)
class LabelRule:
  """Holds the numbers of the rule.

  Attributes:
    min_count: minimum number of ratings of an eligible genre.
    liked_above: mean rating that a liked genre exceeds, in stars.
    disliked_below: mean rating that a disliked genre falls below, in stars.
    top: maximum number of genres on a side.

  Raises:
    ValueError: a genre could be liked and disliked at once, or a count is less than 1.
  """

  min_count: int = 3
  liked_above: float = 3.5
  disliked_below: float = 3.0
  top: int = 3

  def __post_init__(self):
    if self.liked_above < self.disliked_below:
      raise ValueError(
        f'LabelRule: liked_above={self.liked_above} is less than '
        f'disliked_below={self.disliked_below}: a genre could be liked and disliked'
      )
    if self.min_count < 1 or self.top < 1:
      raise ValueError(
        f'LabelRule: min_count={self.min_count} and top={self.top} must be at least 1'
      )


def label(
  genre_matrix: np.ndarray, ratings: np.ndarray, rule: LabelRule
) -> tuple[list[int], list[int]]:
  """Labels one user.

  Args:
    genre_matrix: [n, G] bool genres of the n rated items.
    ratings: [n] float stars.
    rule: label rule.

  Returns:
    (columns of the liked genres, best first; columns of the disliked genres, worst
    first).
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
  """Labels U users at once, each with the result of `label`.

  Args:
    genres: [I, G] sparse array, 1 where an item has a genre.
    starts: [U + 1] int, the ratings of user u are rows starts[u] to starts[u + 1].
    items: [R] int, the item of each rating.
    ratings: [R] float stars.
    rule: label rule.

  Returns:
    (liked, disliked), each [U, min(top, G)] int columns, padded with -1.
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
    rule: label rule.

  Returns:
    (liked, disliked), each [..., min(top, G)] int columns, padded with -1.
  """
  mean = total / np.maximum(count, 1)
  often = count >= rule.min_count
  return (
    _best(-mean, often & (mean > rule.liked_above), count, rule.top),
    _best(mean, often & (mean < rule.disliked_below), count, rule.top),
  )


def members(labels: tuple[np.ndarray, np.ndarray], num_genres: int) -> np.ndarray:
  """Returns the class indicators [U, 2G] bool of labels that `choose` returned."""
  indicators = np.zeros((len(labels[0]), 2 * num_genres), bool)
  for side, columns in enumerate(labels):
    user, place = np.nonzero(columns >= 0)
    indicators[user, side * num_genres + columns[user, place]] = True
  return indicators


def _best(cost, eligible, count, top):
  """Returns the `top` eligible columns with the lowest cost, -1 for missing ones.

  Among equal costs the higher count comes first, then the lower column.
  """
  order = np.lexsort((-count, np.where(eligible, cost, np.inf)), axis=-1)[..., :top]
  return np.where(np.take_along_axis(eligible, order, axis=-1), order, -1)


def _exact(ratings):
  """Returns ratings as float64, in which float32 values add up exactly in any order."""
  return np.asarray(ratings, np.float32).astype(np.float64)
