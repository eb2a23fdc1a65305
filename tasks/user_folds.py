"""Divides users into folds, so that nobody is told what their own values decide."""

import zlib
from collections.abc import Iterable

import numpy as np

FOLDS = 5


def fold_of(user_id: bytes) -> int:
  """Returns the fold of a user, from 0 to FOLDS - 1."""
  return zlib.crc32(user_id) % FOLDS


def folds_of(user_ids: Iterable[str]) -> np.ndarray:
  """Returns the fold [U] int64 of each user."""
  return np.array([fold_of(user.encode()) for user in user_ids], np.int64)
