"""First-stage sampling: which interactions of a history are kept.

A sampler is a pure function of one user's history and of what is known of the items.
To add one, write it here and add its line to SAMPLERS; `--sampler` then knows it.

Names and definitions are this project's. In the formulas n is the length of the
history, k = `size`; every tie is won by the newer interaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.histories.hashing import mix

if TYPE_CHECKING:
  from pipelines.items.item_table import ItemFacts


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


def recency(history: History, items: ItemFacts, size: int, seed: int) -> np.ndarray:
  """The k newest interactions. O(k)."""
  return np.arange(size)


def random_items(
  history: History, items: ItemFacts, size: int, seed: int
) -> np.ndarray:
  """k interactions, every subset equally likely. O(n log n).

  Every position draws a 64-bit number from the seed (splitmix64); the smallest win.
  Unlike numpy's generators these draws are the same in every version.
  """
  return _largest(-_uniform(len(history.items), seed), size)


def popularity(history: History, items: ItemFacts, size: int, seed: int) -> np.ndarray:
  """The k items with the highest count c_i. O(n log n)."""
  return _largest(items.counts[history.items], size)


def long_tail(history: History, items: ItemFacts, size: int, seed: int) -> np.ndarray:
  """k items drawn without replacement with weights w_i = 1 / (1 + c_i). O(n log n).

  The k largest log(u_i) / w_i with u_i uniform in (0, 1): Efraimidis and Spirakis,
  "Weighted random sampling with a reservoir", IPL 97(5), 2006.
  """
  draws = _uniform(len(history.items), seed)
  return _largest(np.log(draws) * (1 + items.counts[history.items]), size)


def rating_extremes(
  history: History, items: ItemFacts, size: int, seed: int
) -> np.ndarray:
  """The k ratings farthest from the user's mean: |r_i - mean(r)|. O(n log n)."""
  ratings = history.ratings.astype(np.float64)
  return _largest(np.abs(ratings - ratings.mean()), size)


def genre_balanced(
  history: History, items: ItemFacts, size: int, seed: int
) -> np.ndarray:
  """Many genres, each with its mean rating. O(k (n g + G)), g genres an item.

  Takes one interaction after the other, always the one that raises

      sum over genres of  1 + 1/2 + ... + 1/k_g  -  (m_g - M_g)^2

  most, where k_g is the number of interactions with genre g that are taken and m_g
  their mean rating, M_g the mean over the whole history. The first part rewards
  genres that few have so far, a concave coverage as in Lin and Bilmes (ACL 2011); the
  second keeps high and low ratings in proportion. The sum is this project's.
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
  """Items far apart in the space of the history encoder. O(k n H).

  Starts with the newest and always adds the item whose cosine distance to its nearest
  taken one is largest: farthest-point traversal, at most twice the best possible
  radius in a metric space (Gonzalez, TCS 38, 1985).
  """
  vectors = items.vectors[history.items].astype(np.float64)
  similarity = np.full(len(vectors), -np.inf)  # to the nearest taken item
  kept = [0]
  while len(kept) < size:
    similarity = np.maximum(similarity, vectors @ vectors[kept[-1]])
    similarity[kept[-1]] = np.inf
    kept.append(int(np.argmin(similarity)))
  return np.sort(kept)


def sparse_retrieval(
  history: History, items: ItemFacts, size: int, seed: int
) -> np.ndarray:
  """The k items whose texts have the highest BM25 to the query. O(n log n).

  The scores are computed once an item (`bm25.scores`).
  """
  return _largest(items.relevance[history.items], size)


class Sampler(NamedTuple):
  """A line of SAMPLERS.

  Attributes:
    select: (history of more than k interactions, items, k, seed of the user) ->
      [k] positions that are kept, ascending.
    needs: the field of ItemFacts that it reads beside the genres.
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
  """Positions of the `size` largest, ascending; of equal ones the first."""
  return np.sort(np.argsort(-scores, kind='stable')[:size])


def _uniform(length, seed):
  """[length] float64 in (0, 1), from splitmix64."""
  steps = np.arange(1, length + 1, dtype=np.uint64)
  draws = mix(np.uint64(seed) + steps * np.uint64(0x9E3779B97F4A7C15))
  return ((draws >> np.uint64(11)) + 0.5) * 2.0**-53
