"""Sentence encoders as SavedModels: Sentence-T5 and others with the same signature.

A model is called with strings [n] and returns vectors [n, H] float32, either alone or
as the first entry of a list or dict (Ni et al. 2021, arXiv 2108.08877).
"""

import hashlib
import logging
import pathlib

import numpy as np

_LOGGER = logging.getLogger(__name__)
_PROBE = 'The movie is rated with 4.5 stars'
_EXPECTED = 'a model that maps strings [n] to finite vectors [n, H] float32'


class SavedModel:
  """Encodes texts with a SavedModel; see `persoma_tf.encoders.Encoder`."""

  def __init__(self, handle: str, name: str | None = None):
    """Loads a model; TF-Hub caches its downloads.

    Args:
      handle: TF-Hub address, or folder of a SavedModel, local or in a bucket.
      name: name of the encoder; by default the handle.

    Raises:
      ValueError: the model does not exist, or is not a sentence encoder.
    """
    # Heavy imports. tensorflow_text registers the operations of the tokenizers.
    import tensorflow_hub as hub
    import tensorflow_text  # noqa: F401

    self.name = name or handle
    try:
      folder = pathlib.Path(hub.resolve(handle))
      self._model = hub.load(handle)
    except Exception as error:  # errors of network, file system and format
      reason = str(error).strip().split('\n')[0]
      raise ValueError(
        f'encoder {handle!r} cannot be loaded: {reason}; give a TF-Hub address that '
        'this machine can reach, or the folder of a SavedModel (with saved_model.pb)'
      ) from error
    self.sha256 = _fingerprint(folder)
    self.width = self._encode([_PROBE]).shape[1]

  def encode(self, texts: list[str]) -> np.ndarray:
    """Returns the vectors [n, H] float32 of n texts."""
    return self._encode(texts) if texts else np.zeros((0, self.width), np.float32)

  def _encode(self, texts):
    import tensorflow as tf

    try:
      outputs = self._model(tf.constant(texts))
    except (TypeError, ValueError, tf.errors.OpError) as error:
      reason = str(error).strip().split('\n')[0]
      raise ValueError(
        f'encoder {self.name!r} cannot be called with strings: {reason}; expected '
        f'{_EXPECTED}'
      ) from error
    if isinstance(outputs, dict):
      outputs = next(iter(outputs.values()))
    vectors = np.asarray(outputs[0] if isinstance(outputs, list | tuple) else outputs)
    if vectors.ndim != 2 or len(vectors) != len(texts) or vectors.dtype != np.float32:
      raise ValueError(
        f'encoder {self.name!r} gave {vectors.dtype} {vectors.shape} for {len(texts)} '
        f'texts; expected {_EXPECTED}'
      )
    if not np.isfinite(vectors).all():
      row = int(np.argmin(np.isfinite(vectors).all(1)))
      raise ValueError(
        f'encoder {self.name!r} gave a vector that is not finite for {texts[row]!r}; '
        f'expected {_EXPECTED}'
      )
    return vectors


def _fingerprint(folder: pathlib.Path) -> str:
  """Returns the hex SHA-256 over the names and bytes of a SavedModel's files."""
  digest = hashlib.sha256()
  for path in sorted(path for path in folder.rglob('*') if path.is_file()):
    if path.name == 'fingerprint.pb':  # written by TensorFlow, no part of the model
      continue
    digest.update(str(path.relative_to(folder)).encode())
    digest.update(hashlib.sha256(path.read_bytes()).digest())
  return digest.hexdigest()
