"""Answers that need no vectors: one for everybody, counts, and the label rule."""

from collections.abc import Iterable

import numpy as np

from tasks.labels import LabelRule, label

TOP = 3  # as in UEM (arXiv 2401.04858)


def constant(train: np.ndarray, top: int = TOP) -> np.ndarray:
  """Returns the one answer [2G] bool that scores best on the training labels.

  All users get the same answer. Let p be the share of users who have a class of this
  answer: the class has F1 = 2p / (1 + p) and the weight p. Each class adds to the
  weighted F1 independently, so the `top` most frequent classes of each side are best.

  Args:
    train: [U, 2G] bool labels of the training users.
    top: maximum number of genres on a side.
  """
  count, half = train.sum(axis=0), train.shape[1] // 2  # without users: all 0
  answer = np.zeros(train.shape[1], bool)
  for side in (slice(0, half), slice(half, None)):
    best = np.argsort(-count[side], kind='stable')[:top]
    answer[side][best] = count[side][best] > 0
  return answer


def counting(
  members: Iterable[np.ndarray], num_genres: int, top: int = TOP
) -> np.ndarray:
  """Predicts the `top` most frequent genres of each history as liked (UEM's baseline).

  Args:
    members: [n, G] bool genres of the items of each user's sampled history.
    num_genres: G.
    top: number of genres.

  Returns:
    [U, 2G] bool class indicators.
  """
  rows = []
  for member in members:
    count, row = member.sum(axis=0), np.zeros(2 * num_genres, bool)
    best = np.argsort(-count, kind='stable')[:top]
    row[best] = count[best] > 0
    rows.append(row)
  return np.array(rows, bool).reshape(-1, 2 * num_genres)


def rule_on_sample(
  histories: Iterable[tuple[np.ndarray, np.ndarray]], num_genres: int, rule: LabelRule
) -> np.ndarray:
  """Applies the label rule to the sampled items, as a perfect model would.

  Args:
    histories: (genres [n, G] bool, ratings [n] stars) of each user's sample.
    num_genres: G.
    rule: rule of the full-history labels.

  Returns:
    [U, 2G] bool class indicators.
  """
  rows = []
  for member, ratings in histories:
    liked, disliked = label(member, ratings, rule)
    row = np.zeros(2 * num_genres, bool)
    row[liked] = True
    row[[num_genres + genre for genre in disliked]] = True
    rows.append(row)
  return np.array(rows, bool).reshape(-1, 2 * num_genres)
