"""Frozen history encoders: texts to vectors.

To add one, write a module with `load() -> Encoder` and a line in ENCODERS.
"""

import difflib
import importlib
from typing import Protocol

import numpy as np


class Encoder(Protocol):
  """What an encoder offers.

  Attributes:
    name: its name.
    width: H, the length of a vector.
    sha256: of its weights.
  """

  name: str
  width: int
  sha256: str

  def encode(self, texts: list[str]) -> np.ndarray:
    """Vectors [n, H] float32 of n texts."""


# name -> module with load()
ENCODERS = {'all-MiniLM-L6-v2': 'persoma_tf.encoders.minilm'}


def load(name: str) -> Encoder:
  """Loads an encoder by name.

  Raises:
    ValueError: no encoder has this name; the nearest one is given.
  """
  if name not in ENCODERS:
    near = difflib.get_close_matches(name, ENCODERS, n=1, cutoff=0.0)[0]
    raise ValueError(f'no encoder {name!r}; did you mean {near!r}?')
  return importlib.import_module(ENCODERS[name]).load()
