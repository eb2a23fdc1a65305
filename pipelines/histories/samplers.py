"""Samples long histories: first-stage samplers, which choose the interactions to keep.

A sampler is a pure function of one user's history and of facts about the items. To add
a sampler, write its function here and add it to SAMPLERS; `--sampler` then accepts its
name.

Names and definitions are this project's. In the formulas, n is the length of the
history and k = `size`; of two equal interactions, the newer one is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.histories.hashing import mix

if TYPE_CHECKING:
  from pipelines.items.item_table import ItemFacts


class History(NamedTuple):
  """Holds the interactions of one user, newest first.

  Attributes:
    items: [n] row numbers in the item table.
    ratings: [n] float32.
    timestamps: [n] int64, seconds since 1970.
  """

  items: np.ndarray
  ratings: np.ndarray
  timestamps: np.ndarray


def recency(history: History, items: ItemFacts, size: int, seed: int) -> np.ndarray:
  """Selects the k newest interactions. O(k)."""
  return np.arange(size)


def random_items(
  history: History, items: ItemFacts, size: int, seed: int
) -> np.ndarray:
  """Selects k interactions, every subset equally likely. O(n log n).

  Every position draws a 64-bit number from the seed (splitmix64); the k smallest
  numbers are selected. Unlike the draws of numpy's generators, these are the same in
  every numpy version.
  """
  return _largest(-_uniform(len(history.items), seed), size)


def popularity(history: History, items: ItemFacts, size: int, seed: int) -> np.ndarray:
  """Selects the k items with the highest count c_i. O(n log n)."""
  return _largest(items.counts[history.items], size)


def long_tail(history: History, items: ItemFacts, size: int, seed: int) -> np.ndarray:
  """Draws k items without replacement with weights w_i = 1 / (1 + c_i). O(n log n).

  Selects the k largest log(u_i) / w_i with u_i uniform in (0, 1): Efraimidis and
  Spirakis, "Weighted random sampling with a reservoir", IPL 97(5), 2006.
  """
  draws = _uniform(len(history.items), seed)
  return _largest(np.log(draws) * (1 + items.counts[history.items]), size)


def rating_extremes(
  history: History, items: ItemFacts, size: int, seed: int
) -> np.ndarray:
  """Selects the k ratings farthest from the user's mean. O(n log n).

  The distance is |r_i - mean(r)|.
  """
  ratings = history.ratings.astype(np.float64)
  return _largest(np.abs(ratings - ratings.mean()), size)


def genre_balanced(
  history: History, items: ItemFacts, size: int, seed: int
) -> np.ndarray:
  """Selects interactions of many genres and keeps the mean rating of each genre.

  Each step adds the interaction that most increases

      sum over genres g of  1 + 1/2 + ... + 1/k_g  -  (m_g - M_g)^2

  where k_g is the number of selected interactions with genre g, m_g is their mean
  rating, and M_g is the mean rating of genre g in the whole history. The first part
  rewards genres with few selected interactions, a concave coverage as in Lin and Bilmes
  (ACL 2011); the second part keeps high and low ratings in proportion. The sum is this
  project's. O(k (n g + G)) with g genres per item.
  """
  chosen = items.genres[history.items]
  length, num_genres = chosen.shape
  # One entry for each genre of each interaction.
  genre, row = chosen.indices, np.repeat(np.arange(length), np.diff(chosen.indptr))
  ratings = history.ratings.astype(np.float64)[row]
  count = np.bincount(genre, minlength=num_genres)
  mean = np.bincount(genre, ratings, num_genres) / np.maximum(count, 1)
  off = ratings - mean[genre]
  taken, total = np.zeros(num_genres), np.zeros(num_genres)  # k_g, k_g (m_g - M_g)
  free, kept = np.zeros(length), []
  for _ in range(size):
    now = (total / np.maximum(taken, 1)) ** 2 + 1 / (taken + 1)
    gain = now[genre] - ((total[genre] + off) / (taken[genre] + 1)) ** 2
    best = int(np.argmax(np.bincount(row, gain, length) + free))
    kept.append(best)
    free[best] = -np.inf
    own = slice(chosen.indptr[best], chosen.indptr[best + 1])
    taken[genre[own]] += 1
    total[genre[own]] += off[own]
  return np.sort(kept)


def diverse(history: History, items: ItemFacts, size: int, seed: int) -> np.ndarray:
  """Selects items that are far apart in the space of the history encoder. O(k n H).

  Starts with the newest item. Each step adds the item with the largest cosine distance
  to its nearest selected item: farthest-point traversal, whose radius is at most twice
  the best possible one in a metric space (Gonzalez, TCS 38, 1985).
  """
  vectors = items.vectors[history.items].astype(np.float64)
  similarity = np.full(len(vectors), -np.inf)  # to the nearest selected item
  kept = [0]
  while len(kept) < size:
    similarity = np.maximum(similarity, vectors @ vectors[kept[-1]])
    similarity[kept[-1]] = np.inf
    kept.append(int(np.argmin(similarity)))
  return np.sort(kept)


def sparse_retrieval(
  history: History, items: ItemFacts, size: int, seed: int
) -> np.ndarray:
  """Selects the k items whose texts have the highest BM25 score. O(n log n).

  The scores are computed once per item (`bm25.scores`).
  """
  return _largest(items.relevance[history.items], size)


class Sampler(NamedTuple):
  """Describes a sampler.

  Attributes:
    select: function (history of more than k interactions, items, k, seed of the user)
      -> [k] positions that are kept, ascending.
    needs: field of ItemFacts that `select` reads besides the genres; '' for none.
  """

  select: Callable[[History, ItemFacts, int, int], np.ndarray]
  needs: str = ''


SAMPLERS: dict[str, Sampler] = {
  'recency': Sampler(recency),
  'random': Sampler(random_items),
  'popularity': Sampler(popularity, 'counts'),
  'long_tail': Sampler(long_tail, 'counts'),
  'rating_extremes': Sampler(rating_extremes),
  'genre_balanced': Sampler(genre_balanced),
  'diverse': Sampler(diverse, 'vectors'),
  'sparse_retrieval': Sampler(sparse_retrieval, 'relevance'),
}


def _largest(scores, size):
  """Returns the positions of the `size` largest scores, ascending; ties: the first."""
  return np.sort(np.argsort(-scores, kind='stable')[:size])


def _uniform(length, seed):
  """Draws [length] float64 in (0, 1) with splitmix64."""
  steps = np.arange(1, length + 1, dtype=np.uint64)
  draws = mix(np.uint64(seed) + steps * np.uint64(0x9E3779B97F4A7C15))
  return ((draws >> np.uint64(11)) + 0.5) * 2.0**-53
