"""Statistics of histories: quantiles against numpy, merging against the whole."""

import numpy as np
import pytest

from pipelines.histories.history_statistics import Lengths


def test_quantiles_of_merged_shards():
  rng = np.random.default_rng(0)
  shards = [rng.zipf(1.5, users) % 1000 for users in (50, 1, 200)]
  merged = Lengths.merge(
    Lengths.of(np.repeat(np.arange(len(shard)), shard), len(shard)) for shard in shards
  )
  lengths = np.concatenate(shards)
  found = merged.quantiles()
  for name, share in {'p10': 0.1, 'median': 0.5, 'p99': 0.99}.items():
    assert found[name] == np.quantile(lengths, share, method='inverted_cdf')
  assert (found['min'], found['max']) == (lengths.min(), lengths.max())
  assert found['mean'] == pytest.approx(lengths.mean())


def test_nobody():
  assert Lengths.of(np.zeros(0, int), 0).quantiles() == {}
