"""Frozen history encoders: texts to vectors.

To add one, write a class with what `Encoder` asks for and a line in ENCODERS.
"""

import difflib
from collections.abc import Callable, Mapping
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


SENTENCE_T5 = 'https://tfhub.dev/google/sentence-t5/st5-base/1'


def _minilm() -> Encoder:
  from persoma_tf.encoders import minilm

  return minilm.load_minilm()


def _use() -> Encoder:
  from persoma_tf.encoders.use import UniversalSentenceEncoder

  return UniversalSentenceEncoder('use-multilingual-v3')


def _saved_model(handle: str, name: str | None = None) -> Encoder:
  from persoma_tf.encoders.saved_model import SavedModel

  return SavedModel(handle, name)


# Imports wait for the encoder that is asked for: each brings a library of its own.
ENCODERS: Mapping[str, Callable[[], Encoder]] = {
  'all-MiniLM-L6-v2': _minilm,
  'use-multilingual-v3': _use,
  'sentence-t5-base': lambda: _saved_model(SENTENCE_T5, 'sentence-t5-base'),
}


def check_encoder(name: str) -> str:
  """Returns `name` if it is that of an encoder, or of a place: it has a slash.

  Raises:
    ValueError: no encoder has this name; the nearest one is given.
  """
  if name not in ENCODERS and '/' not in name:
    near = difflib.get_close_matches(name, ENCODERS, n=1, cutoff=0.0)[0]
    raise ValueError(
      f'no encoder {name!r}; did you mean {near!r}? A TF-Hub address or a path of a '
      f'SavedModel has a slash in it; the names are {sorted(ENCODERS)}'
    )
  return name


def load_encoder(name: str) -> Encoder:
  """Loads an encoder.

  Args:
    name: of `ENCODERS`, or a TF-Hub address, or a folder with a SavedModel.

  Raises:
    ValueError: there is no such encoder, or it is of another kind.
  """
  check_encoder(name)
  return ENCODERS[name]() if name in ENCODERS else _saved_model(name)
