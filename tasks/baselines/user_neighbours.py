"""Answers by the vote of training users with similar histories."""

import itertools

import numpy as np

from tasks.baselines.answer_choice import ChosenAnswers, best_settings, top_classes
from tasks.baselines.user_samples import UserSamples, pool_users, standardize_columns

_NEIGHBOURS = (5, 10, 20, 40, 80)
_THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
_DEFAULT = {'neighbours': 20, 'threshold': 0.15}
_BLOCK = 256  # users at a time, each with its similarity to every training user


def nearest_users(
  vectors: np.ndarray,
  train: UserSamples,
  validation: UserSamples,
  users: UserSamples,
  top: int,
) -> ChosenAnswers:
  """Answers with the classes that many of the most similar training users have.

  The similarity is the cosine of the standardized columns of `pool_users`. The number
  of `neighbours` and the `threshold`, the share of them that a named class exceeds, are
  those with the best F1 on the validation users; without labels of these they are 20
  and 0.15.

  Args:
    vectors: [I, H] float, as `ItemVectors.by_item` returns them.
    train: users who vote.
    validation: users whose labels the settings are chosen by.
    users: users to answer; their labels are not read.
    top: maximum number of genres on a side.
  """
  pooled = [pool_users(vectors, x) for x in (train, validation, users)]
  of_train, *others = standardize_columns(*pooled)
  near_validation, near_users = (
    find_neighbours(of_train, columns, max(_NEIGHBOURS)) for columns in others
  )

  def answer(settings, near):
    votes = _shares(train.truth, near[:, : settings['neighbours']])
    return top_classes(votes, settings['threshold'], top)

  grid = [
    {'neighbours': count, 'threshold': threshold}
    for count, threshold in itertools.product(_NEIGHBOURS, _THRESHOLDS)
  ]
  candidates = ((settings, answer(settings, near_validation)) for settings in grid)
  chosen = best_settings(validation.truth, candidates, _DEFAULT)
  return ChosenAnswers(answer(chosen, near_users), chosen)


def find_neighbours(train: np.ndarray, users: np.ndarray, count: int) -> np.ndarray:
  """Finds the training users with the highest cosine similarity to each user.

  Args:
    train: [T, F] float.
    users: [U, F] float.
    count: number of neighbours; fewer if there are fewer training users.

  Returns:
    [U, min(count, T)] int rows of `train`, the nearest first; of equally similar ones,
    those of lower rows first.
  """
  count = min(count, len(train))
  near = np.zeros((len(users), count), int)
  if not count:
    return near
  of_train, of_users = _unit(train), _unit(users)
  for at in range(0, len(users), _BLOCK):
    similar = of_users[at : at + _BLOCK] @ of_train.T
    best = np.argpartition(-similar, count - 1, axis=1)[:, :count]
    best.sort(axis=1)
    order = np.argsort(-np.take_along_axis(similar, best, 1), axis=1, kind='stable')
    near[at : at + _BLOCK] = np.take_along_axis(best, order, 1)
  return near


def _shares(truth, near):
  """Returns the share [U, 2G] of neighbours [U, k] who have each class of [T, 2G]."""
  votes = np.zeros((len(near), truth.shape[1]))
  for rows in near.T:
    votes += truth[rows]
  return votes / max(near.shape[1], 1)


def _unit(rows):
  """Returns rows [U, F] of length 1; rows of zeros stay as they are."""
  length = np.linalg.norm(rows, axis=1, keepdims=True)
  return rows / np.where(length > 0, length, 1)
