"""SavedModels of TF-Hub's sentence encoders: Sentence-T5 and what has its signature.

A model is called with strings [n] and returns vectors [n, H] float32, alone or as the
first of a list or dict (Ni et al. 2021, arXiv 2108.08877).
"""

import hashlib
import logging
import pathlib

import numpy as np

_LOGGER = logging.getLogger(__name__)
_PROBE = 'The movie is rated with 4.5 stars'
_WANTED = 'a model that maps strings [n] to finite vectors [n, H] float32'


class SavedModel:
  """See `persoma_tf.encoders.Encoder`."""

  def __init__(self, handle: str, name: str | None = None):
    """Loads a model; TF-Hub keeps what it has downloaded.

    Args:
      handle: TF-Hub address, or folder of a SavedModel, local or in a bucket.
      name: the encoder's; by default the handle.

    Raises:
      ValueError: there is no such model, or it is of another kind.
    """
    # Heavy imports; the second one registers the operations of the models' tokenizers.
    import tensorflow_hub as hub
    import tensorflow_text  # noqa: F401

    self.name = name or handle
    try:
      folder = pathlib.Path(hub.resolve(handle))
      self._model = hub.load(handle)
    except Exception as error:  # network, file system and format, each of many kinds
      reason = str(error).strip().split('\n')[0]
      raise ValueError(
        f'encoder {handle!r} cannot be loaded: {reason}; give a TF-Hub address that '
        'this machine reaches, or the folder of a SavedModel (with saved_model.pb)'
      ) from error
    self.sha256 = _fingerprint(folder)
    self.width = self._encode([_PROBE]).shape[1]

  def encode(self, texts: list[str]) -> np.ndarray:
    """Vectors [n, H] float32."""
    return self._encode(texts) if texts else np.zeros((0, self.width), np.float32)

  def _encode(self, texts):
    import tensorflow as tf

    try:
      made = self._model(tf.constant(texts))
    except (TypeError, ValueError, tf.errors.OpError) as error:
      reason = str(error).strip().split('\n')[0]
      raise ValueError(
        f'encoder {self.name!r} cannot be called with strings: {reason}; expected '
        f'{_WANTED}'
      ) from error
    made = next(iter(made.values())) if isinstance(made, dict) else made
    made = np.asarray(made[0] if isinstance(made, list | tuple) else made)
    if made.ndim != 2 or len(made) != len(texts) or made.dtype != np.float32:
      raise ValueError(
        f'encoder {self.name!r} gave {made.dtype} {made.shape} for {len(texts)} texts; '
        f'expected {_WANTED}'
      )
    if not np.isfinite(made).all():
      row = int(np.argmin(np.isfinite(made).all(1)))
      raise ValueError(
        f'encoder {self.name!r} gave a vector that is not finite for {texts[row]!r}; '
        f'expected {_WANTED}'
      )
    return made


def _fingerprint(folder: pathlib.Path) -> str:
  """sha256 over the names and bytes of a SavedModel's files."""
  digest = hashlib.sha256()
  for path in sorted(path for path in folder.rglob('*') if path.is_file()):
    # TF-Hub's own notes differ from download to download; this one is TensorFlow's.
    if path.name == 'fingerprint.pb':
      continue
    digest.update(str(path.relative_to(folder)).encode())
    digest.update(hashlib.sha256(path.read_bytes()).digest())
  return digest.hexdigest()
