"""First-stage samplers."""

import numpy as np
import pytest
from scipy import sparse

from pipelines.transforms.sample import SAMPLERS, History, ItemFacts

ITEMS = ItemFacts(('A', 'B'), sparse.csr_array(np.arange(100)[:, None] % 4 < [1, 3]))


def history(length: int) -> History:
  return History(
    np.arange(length), np.ones(length, np.float32), np.arange(length)[::-1]
  )


@pytest.mark.parametrize('name', SAMPLERS)
@pytest.mark.parametrize(('length', 'size'), [(0, 5), (3, 5), (5, 5), (50, 5)])
def test_every_sampler(name, length, size):
  kept = SAMPLERS[name](history(length), ITEMS, size, 7)
  assert len(kept) == len(set(kept.tolist())) == min(length, size)
  assert np.all(np.diff(kept) > 0)
  assert set(kept.tolist()) <= set(range(length))
  np.testing.assert_array_equal(kept, SAMPLERS[name](history(length), ITEMS, size, 7))


def test_recency_keeps_the_newest():
  np.testing.assert_array_equal(SAMPLERS['recency'](history(9), ITEMS, 3, 0), [0, 1, 2])


def test_random_is_uniform():
  """Each of 10 positions is kept in 3 of 10 draws: 5 sigma over 4,000 seeds."""
  draws = [SAMPLERS['random'](history(10), ITEMS, 3, seed) for seed in range(4000)]
  counts = np.bincount(np.concatenate(draws), minlength=10)
  assert np.all(np.abs(counts - 1200) < 5 * np.sqrt(4000 * 0.3 * 0.7))
