"""The id hash, against the same formula in plain Python."""

import numpy as np
import pyarrow as pa

from pipelines.histories.hashing import hash_ids, mix

_MASK = 2**64 - 1


def _mix(x: int) -> int:
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK
  x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK
  return x ^ x >> 31


def _hash(text: str, seed: int) -> int:
  golden, data = 0x9E3779B97F4A7C15, text.encode()
  h = (_mix((seed + golden) & _MASK) + len(data)) & _MASK
  for at in range(0, len(data), 8):
    number = int.from_bytes(data[at : at + 8], 'little')
    h = _mix(((h ^ number) + golden) & _MASK)
  return h


def test_splitmix64_of_vigna():
  """First output of splitmix64 with state 0 (prng.di.unimi.it/splitmix64.c)."""
  assert mix(np.array([0x9E3779B97F4A7C15], np.uint64))[0] == 0xE220A8397B1DCDAF


def test_equals_plain_python():
  ids = ['', '1', '12345678', '123456789', 'ünïcode', 'x' * 100]
  for seed in (0, 1, 2**64 - 1):
    found = hash_ids(pa.array(ids), seed)
    assert found.tolist() == [_hash(text, seed) for text in ids]


def test_slices_and_dictionaries():
  ids = pa.array(['a', 'b', 'c', 'd'])
  whole = hash_ids(ids, 0)
  assert hash_ids(ids.slice(1, 2), 0).tolist() == whole[1:3].tolist()
  assert hash_ids(ids.dictionary_encode(), 0).tolist() == whole.tolist()
  assert len(hash_ids(pa.array([], pa.string()), 0)) == 0
