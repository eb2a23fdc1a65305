"""Frozen text encoders, which turn the texts of a history into vectors.

To add an encoder, write a class with the members of `Encoder` and add it to ENCODERS.
"""

import difflib
import os
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np


class Encoder(Protocol):
  """Describes the members of a text encoder.

  Attributes:
    name: name of the encoder.
    width: H, the length of a vector.
    sha256: hex SHA-256 of the weights, and of what else decides the vectors.
  """

  name: str
  width: int
  sha256: str

  def encode(self, texts: list[str]) -> np.ndarray:
    """Returns the vectors [n, H] float32 of n texts."""


SENTENCE_T5 = 'https://tfhub.dev/google/sentence-t5/st5-base/1'


def _minilm() -> Encoder:
  from persoma_tf.encoders import minilm

  return minilm.load_minilm()


def _use() -> Encoder:
  from persoma_tf.encoders.use import UniversalSentenceEncoder

  return UniversalSentenceEncoder('use-multilingual-v3')


def _bert(folder: str, prefix: str) -> Encoder:
  from persoma_tf.encoders import bert

  return bert.load_bert(folder, prefix)


def _saved_model(handle: str, *arguments: str) -> Encoder:
  from persoma_tf.encoders.saved_model import SavedModel

  return SavedModel(handle, *arguments)


# Each encoder imports its own library, and only when it is loaded.
ENCODERS: Mapping[str, Callable[[], Encoder]] = {
  'all-MiniLM-L6-v2': _minilm,
  'use-multilingual-v3': _use,
  'sentence-t5-base': lambda: _saved_model(SENTENCE_T5, 'sentence-t5-base'),
}


def check_encoder(
  name: str, signature: str = '', output: str = '', prefix: str = ''
) -> None:
  """Checks that `name` is a known name or contains a slash, as an address does.

  Args:
    name: key of `ENCODERS`, TF-Hub address, or path of a SavedModel or of a Hugging
      Face folder.
    signature: signature of a SavedModel to call, if it has several.
    output: output of a SavedModel to take, if it has several.
    prefix: text before every text that a model of a Hugging Face folder expects.

  Raises:
    ValueError: no encoder has this name (the message names the nearest one), or there
      is nothing to choose.
  """
  if name not in ENCODERS and '/' not in name:
    near = difflib.get_close_matches(name, ENCODERS, n=1, cutoff=0.0)[0]
    raise ValueError(
      f'no encoder {name!r}; did you mean {near!r}? Expected one of '
      f'{sorted(ENCODERS)}, or a TF-Hub address or a path with a slash in it, of a '
      'SavedModel or of a Hugging Face folder'
    )
  if prefix and not _is_folder(name):
    raise ValueError(
      f'encoder {name!r}: encoder_prefix={prefix!r} is for Hugging Face folders'
    )
  if name in ENCODERS and (signature or output):
    raise ValueError(
      f'encoder {name!r} has one output: encoder_signature and encoder_output are for '
      'TF-Hub addresses and SavedModel paths'
    )


def _is_folder(name):
  """Tells whether a name is the path of a Hugging Face folder."""
  return os.path.isfile(os.path.join(name, 'config.json'))


def load_encoder(
  name: str, signature: str = '', output: str = '', prefix: str = ''
) -> Encoder:
  """Loads an encoder; the arguments are those of `check_encoder`.

  Raises:
    ValueError: the encoder does not exist, the model is not a sentence encoder, or
      there is nothing to choose.
  """
  check_encoder(name, signature, output, prefix)
  if name in ENCODERS:
    return ENCODERS[name]()
  if _is_folder(name):
    return _bert(name, prefix)
  return _saved_model(name, '', signature, output)
