"""Reads the distinct (item, rating) pairs of stored histories."""

from collections.abc import Iterable

import numpy as np

from pipelines.histories import history_records

PAIRS = np.dtype([('item', np.int64), ('rating', np.float32)])


def read_pairs(path: str) -> np.ndarray:
  """Reads the distinct (item, rating) pairs of a shard, [n] of PAIRS.

  Raises:
    JobError: a record is damaged, or not a history.
  """
  pairs = [np.zeros(0, PAIRS)]
  for history in history_records.read_history_file(path):
    rows = np.empty(len(history['history_items']), PAIRS)
    rows['item'], rows['rating'] = history['history_items'], history['history_ratings']
    pairs.append(rows)
  return np.unique(np.concatenate(pairs))


def merge_pairs(shards: Iterable[np.ndarray]) -> np.ndarray:
  """Merges arrays of pairs into one sorted array of distinct pairs."""
  return np.unique(np.concatenate([np.zeros(0, PAIRS), *shards]))
