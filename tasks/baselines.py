"""Answers without a model: what a score must be read against.

All work on class indicators [U, 2G] bool (`tasks.metrics.indicator`): liked genres
first, then disliked ones.
"""

from collections.abc import Iterable

import numpy as np

from tasks.labels import LabelRule, label

TOP = 3  # UEM's


def constant(train: np.ndarray, top: int = TOP) -> np.ndarray:
  """The one answer [2G] that scores best on the training labels.

  With the same answer for all, a class named in it has F1 = 2p / (1 + p), where p is
  its share of users, and counts with weight p: every class adds to the weighted F1
  on its own, so that the most frequent `top` of each side are the best.

  Args:
    train: [U, 2G] bool labels of the training users.
    top: most genres on a side.
  """
  share, half = train.mean(axis=0), train.shape[1] // 2
  answer = np.zeros(train.shape[1], bool)
  for side in (slice(0, half), slice(half, None)):
    best = np.argsort(-share[side], kind='stable')[:top]
    answer[side][best] = share[side][best] > 0
  return answer


def counting(
  members: Iterable[np.ndarray], num_genres: int, top: int = TOP
) -> np.ndarray:
  """UEM's baseline: the `top` most frequent genres of each history are liked.

  Args:
    members: [n, G] bool genres of the items of each user's sampled history.
    num_genres: G.
    top: how many.

  Returns:
    [U, 2G] bool.
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
  """The label rule on the sampled items: what a perfect reader of them would say.

  Args:
    histories: (genres [n, G] bool, ratings [n] stars) of each user's sample.
    num_genres: G.
    rule: the rule of the full-history labels.

  Returns:
    [U, 2G] bool.
  """
  rows = []
  for member, ratings in histories:
    liked, disliked = label(member, ratings, rule)
    row = np.zeros(2 * num_genres, bool)
    row[liked] = True
    row[[num_genres + genre for genre in disliked]] = True
    rows.append(row)
  return np.array(rows, bool).reshape(-1, 2 * num_genres)
