"""Rows through the shuffle and back."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.events import shuffle
from pipelines.histories.split import Split

SPLIT = Split(0.6, 0.2, 3, seed=0)


def batch(size: int, seed: int = 0, texts: bool = False) -> pa.RecordBatch:
  rng = np.random.default_rng(seed)
  users = pa.array([f'u{user}' for user in rng.integers(0, 40, size)], pa.string())
  return pa.record_batch(
    [
      users.dictionary_encode(),
      rng.integers(0, 9, size).astype(np.int32),
      rng.integers(1, 11, size).astype(np.float32) / 2,
      rng.integers(0, 10**9, size),
      *[rng.integers(0, 10**6, size).astype(np.int32)] * texts,
    ],
    schema=shuffle.RATINGS_AND_TEXTS if texts else shuffle.RATINGS,
  )


def rows(table) -> list[tuple]:
  return sorted(tuple(row.values()) for row in table.to_pylist())


@pytest.mark.parametrize('texts', [False, True])
@pytest.mark.parametrize('size', [0, 1, 500])
def test_every_row_goes_to_the_shard_of_its_user(size, texts):
  given = batch(size, texts=texts)
  parts = dict(shuffle.partition(given, SPLIT))
  found = []
  for shard, packed in parts.items():
    table = shuffle.unpack([packed])
    users = table['user'].combine_chunks().dictionary
    assert set(SPLIT.assign(users)) == {shard}
    found += rows(table)
  assert sorted(found) == rows(given)


def test_elements_of_several_blocks():
  blocks = [batch(100, seed) for seed in range(3)]
  table = shuffle.unpack(map(shuffle.pack, blocks))
  assert rows(table) == sorted(row for block in blocks for row in rows(block))
  assert all(column.num_chunks == 1 for column in table.columns)
  names = table['user'].chunk(0).dictionary.to_pylist()
  assert len(names) == len(set(names))


def test_nothing():
  assert shuffle.unpack([]).num_rows == 0
