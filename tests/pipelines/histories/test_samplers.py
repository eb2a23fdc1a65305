"""First-stage samplers against plain computations of their formulas."""

import itertools

import numpy as np
import pytest
from scipy import sparse

from pipelines.histories.samplers import SAMPLERS, History
from pipelines.items.item_table import ItemFacts

RNG = np.random.default_rng(0)
MEMBER = RNG.random((3000, 6)) < 0.3
VECTORS = RNG.normal(size=(3000, 16)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
ITEMS = ItemFacts(
  tuple('ABCDEF'),
  sparse.csr_array(MEMBER.astype(float)),
  RNG.integers(0, 50, 3000),
  VECTORS,
  np.round(RNG.random(3000), 1),
)


def history(length: int, seed: int = 0) -> History:
  rng = np.random.default_rng(seed)
  return History(
    rng.permutation(3000)[:length],
    rng.integers(1, 11, length).astype(np.float32) / 2,
    np.arange(length)[::-1],
  )


def select(name: str, *arguments) -> list[int]:
  return SAMPLERS[name].select(*arguments).tolist()


def largest(scores, size: int) -> list[int]:
  """With Python's stable sort: of equal scores the newer one."""
  return sorted(sorted(range(len(scores)), key=lambda at: -scores[at])[:size])


@pytest.mark.parametrize('name', SAMPLERS)
@pytest.mark.parametrize(('length', 'size'), [(2, 1), (6, 5), (50, 5), (1500, 1000)])
def test_every_sampler(name, length, size):
  kept = select(name, history(length), ITEMS, size, 7)
  assert len(kept) == size
  assert kept == sorted(set(kept))
  assert set(kept) <= set(range(length))
  assert kept == select(name, history(length), ITEMS, size, 7)


@pytest.mark.parametrize('name', SAMPLERS)
def test_every_sampler_without_genres_or_texts(name):
  nothing = ItemFacts(
    (), sparse.csr_array((3000, 0)), np.zeros(3000, int), 0 * VECTORS, np.zeros(3000)
  )
  assert len(set(select(name, history(9), nothing, 5, 7))) == 5


def test_recency_keeps_the_newest():
  assert select('recency', history(9), ITEMS, 3, 0) == [0, 1, 2]


def test_random_is_uniform():
  """Each of 10 positions is kept in 3 of 10 draws: 5 sigma over 4,000 seeds."""
  draws = [select('random', history(10), ITEMS, 3, seed) for seed in range(4000)]
  counts = np.bincount(np.concatenate(draws), minlength=10)
  assert np.all(np.abs(counts - 1200) < 5 * np.sqrt(4000 * 0.3 * 0.7))


@pytest.mark.parametrize('seed', range(3))
def test_scores(seed):
  one = history(40, seed)
  counts, relevance = ITEMS.counts[one.items], ITEMS.relevance[one.items]
  extreme = [abs(float(x) - float(np.mean(one.ratings))) for x in one.ratings]
  assert select('popularity', one, ITEMS, 9, 0) == largest(counts, 9)
  assert select('sparse_retrieval', one, ITEMS, 9, 0) == largest(relevance, 9)
  assert select('rating_extremes', one, ITEMS, 9, 0) == largest(extreme, 9)


def test_long_tail_draws_by_inverse_popularity():
  """The pairs of 4 items against their probabilities, one draw after the other."""
  one = History(np.arange(4), np.ones(4, np.float32), np.arange(4)[::-1])
  counts = np.array([0, 1, 3, 7])
  items = ItemFacts((), sparse.csr_array((4, 0)), counts)
  weight = 1 / (1 + counts)
  expected = {
    pair: sum(
      weight[a] / weight.sum() * weight[b] / (weight.sum() - weight[a])
      for a, b in (pair, pair[::-1])
    )
    for pair in itertools.combinations(range(4), 2)
  }
  draws = [tuple(select('long_tail', one, items, 2, seed)) for seed in range(6000)]
  for pair, share in expected.items():
    found = draws.count(pair) / 6000
    assert abs(found - share) < 5 * np.sqrt(share * (1 - share) / 6000), pair


def balanced_by_hand(one: History, size: int) -> list[int]:
  """The greedy maximization, with the whole sum for every candidate."""
  member, ratings = MEMBER[one.items], one.ratings.astype(float)

  def value(kept):
    total = 0.0
    for genre in range(6):
      of_genre = [at for at in kept if member[at, genre]]
      if of_genre:
        whole = ratings[member[:, genre]].mean()
        total += sum(1 / place for place in range(1, len(of_genre) + 1))
        total -= (ratings[of_genre].mean() - whole) ** 2
    return total

  kept = []
  for _ in range(size):
    rest = [at for at in range(len(ratings)) if at not in kept]
    kept.append(max(rest, key=lambda at: round(value([*kept, at]), 9)))
  return sorted(kept)


@pytest.mark.parametrize('seed', range(5))
def test_genre_balanced_is_greedy(seed):
  one = history(30, seed)
  assert select('genre_balanced', one, ITEMS, 8, 0) == balanced_by_hand(one, 8)


def test_genre_balanced_reaches_rare_genres():
  member = np.zeros((100, 2))
  member[:, 0], member[97:, 1] = 1, 1
  items = ItemFacts(('A', 'B'), sparse.csr_array(member))
  one = History(np.arange(100), np.ones(100, np.float32), np.arange(100)[::-1])
  assert set(select('genre_balanced', one, items, 6, 0)) >= {97, 98, 99}


@pytest.mark.parametrize('seed', range(3))
def test_diverse_is_farthest_point_traversal(seed):
  one = history(40, seed)
  vectors = VECTORS[one.items].astype(float)
  distance = 1 - vectors @ vectors.T
  kept = [0]
  while len(kept) < 7:
    rest = [at for at in range(40) if at not in kept]
    kept.append(max(rest, key=lambda at: min(distance[at, x] for x in kept)))
  assert select('diverse', one, ITEMS, 7, 0) == sorted(kept)
