"""Chooses the few static shapes of batches, and the random keys of their rows."""

import functools
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

_PROMPT = 16  # own prompts are padded to multiples of it, which gives few shapes


class Limits(NamedTuple):
  """Limits the shapes of batches.

  Attributes:
    batch_size: B, maximum number of requests in a batch.
    longest: length of the longest history, in items; in tokens if histories are text.
    width: H, length of a vector.
    batch_tokens: maximum number of tokens in a batch if histories are text; else 0.
    asked: (C, H'), most items that a question is about, and length of their vectors;
      () without any.
    tells_odds: whether answers have the probabilities of the words in a draft.
  """

  batch_size: int
  longest: int
  width: int
  batch_tokens: int = 0
  asked: tuple[int, ...] = ()
  tells_odds: bool = False


def random_keys(texts: Sequence[str], rows: int, seed: int) -> jax.Array:
  """Returns a random key for each row, which depends only on the seed and its text."""
  sums = [zlib.crc32(text.encode()) for text in texts]
  sums = np.array(sums + [0] * (rows - len(sums)), np.uint32)
  return jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(sums)


def bucket_size(size: int, longest: int) -> int:
  """Returns the smallest of a quarter, half and all of `longest` that fits `size`.

  A text with a prompt of its own can be longer than the longest history.
  """
  sizes = (*(-(-longest // part) for part in (4, 2, 1)), padded_size(size))
  return next(n for n in sizes if n >= size)


def padded_size(size: int) -> int:
  """Returns the length to which own prompts are padded."""
  return -(-size // _PROMPT) * _PROMPT
