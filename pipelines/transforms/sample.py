"""First-stage sampling: which interactions of a history are kept.

A sampler is a pure function of one user's history. To add one, write it here and add
its line to SAMPLERS; `--sampler` then knows it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import sparse

from pipelines.transforms.hashing import mix


class History(NamedTuple):
  """One user's interactions, newest first.

  Attributes:
    items: [n] row numbers of the item table.
    ratings: [n] float32.
    timestamps: [n] seconds since 1970.
  """

  items: np.ndarray
  ratings: np.ndarray
  timestamps: np.ndarray


class ItemFacts(NamedTuple):
  """What is known of the I items.

  Attributes:
    genre_names: the G genre names, sorted.
    genres: [I, G] sparse, 1 where an item has a genre.
  """

  genre_names: tuple[str, ...]
  genres: sparse.csr_array


def recency(history: History, items: ItemFacts, size: int, seed: int) -> np.ndarray:
  """The `size` newest interactions. O(size)."""
  return np.arange(min(size, len(history.items)))


def random(history: History, items: ItemFacts, size: int, seed: int) -> np.ndarray:
  """`size` interactions, every subset equally likely. O(n log n).

  Every position draws a 64-bit number from the seed (splitmix64); the smallest win.
  Unlike numpy's generators these draws are the same in every version.
  """
  steps = np.arange(1, len(history.items) + 1, dtype=np.uint64)
  draws = mix(np.uint64(seed) + steps * np.uint64(0x9E3779B97F4A7C15))
  return np.sort(np.argsort(draws, kind='stable')[:size])


# name -> (history of more than `size`, items, size, seed of the user) -> positions kept
SAMPLERS: dict[str, Callable[[History, ItemFacts, int, int], np.ndarray]] = {
  'recency': recency,
  'random': random,
}
