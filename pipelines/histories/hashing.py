"""Hashes whole columns of ids to 64 bits, with the same result on every machine."""

import numpy as np
import pyarrow as pa

_GOLDEN = 0x9E3779B97F4A7C15


def mix(values: np.ndarray) -> np.ndarray:
  """Applies the finalizer of splitmix64 (Steele et al., OOPSLA 2014) to [n] uint64."""
  values = values ^ (values >> np.uint64(30))
  values = values * np.uint64(0xBF58476D1CE4E5B9)
  values = values ^ (values >> np.uint64(27))
  values = values * np.uint64(0x94D049BB133111EB)
  return values ^ (values >> np.uint64(31))


def hash_ids(ids: pa.Array, seed: int) -> np.ndarray:
  """Hashes ids with a seed.

  h = mix(seed + golden) + length; then for every 8 bytes of the text, read as a
  little-endian number and padded with zero bytes: h = mix((h ^ number) + golden).

  Args:
    ids: [n] strings.
    seed: seed of the hash; different seeds give independent hashes.

  Returns:
    [n] uint64.
  """
  ids = ids.cast(pa.string())
  _, offsets, data = ids.buffers()
  ends = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
  starts, lengths = ends[:-1].astype(np.int64), np.diff(ends)
  text = np.frombuffer(data or b'', np.uint8)
  golden = np.uint64(_GOLDEN)
  hashes = mix(np.full(len(ids), seed % 2**64, np.uint64) + golden)
  hashes += lengths.astype(np.uint64)
  for word in range(-(-int(lengths.max(initial=0)) // 8)):
    rows = np.flatnonzero(lengths > 8 * word)
    place = 8 * word + np.arange(8)
    inside = place < lengths[rows, None]
    at = np.minimum(starts[rows, None] + place, len(text) - 1)
    number = np.where(inside, text[at], 0).astype(np.uint8).view('<u8')[:, 0]
    hashes[rows] = mix((hashes[rows] ^ number) + golden)
  return hashes
