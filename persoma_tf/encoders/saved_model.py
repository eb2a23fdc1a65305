"""Sentence encoders as SavedModels: Sentence-T5 and others with the same signature.

A model is called with strings [n] and returns vectors [n, H] float32, either alone or
in a list or dict (Ni et al. 2021, arXiv 2108.08877). The serving signature is called of
a model that cannot be called itself, such as one that Keras 3 exported.
"""

import hashlib
import os
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from persoma_tf import model_files

_PROBE = 'The movie is rated with 4.5 stars'
_EXPECTED = 'a model that maps strings [n] to finite vectors [n, H] float32'
# Signatures that TensorFlow and TF-Hub call if none is named.
_USUAL = ('serving_default', 'default')
_DEFAULT_OUTPUT = 'default'  # what TF-Hub takes of several outputs


class SavedModel:
  """Encodes texts with a SavedModel; see `persoma_tf.encoders.Encoder`.

  Its `sha256` is of the files, and of the chosen signature and output if there are any.
  """

  def __init__(
    self,
    handle: str,
    name: str = '',
    signature: str = '',
    output: str = '',
  ):
    """Loads a model; TF-Hub caches its downloads.

    Args:
      handle: TF-Hub address, or folder of a SavedModel, local or in a bucket.
      name: name of the encoder; by default the handle.
      signature: name of the signature to call; by default the model itself is called,
        or the serving signature of a model that cannot be called.
      output: key of the output in the model's dict, or its place in a list; necessary
        if there are several.

    Raises:
      ValueError: the model does not exist, or is not a sentence encoder.
    """
    # Heavy imports. tensorflow_text registers the operations of the tokenizers.
    import tensorflow_hub as hub
    import tensorflow_text  # noqa: F401

    self.name, self._output = name or handle, output
    folder = handle
    try:
      folder = hub.resolve(handle)
      model = hub.load(handle)
    except Exception as error:  # errors of network, file system and format
      reason = _damage(folder) or str(error).strip().split('\n')[0]
      raise ValueError(
        f'encoder {handle!r} cannot be loaded: {reason}; give a TF-Hub address that '
        'this machine can reach, or the folder of a SavedModel (with saved_model.pb) '
        'or of a downloaded Hugging Face model (with config.json)'
      ) from error
    self.sha256 = _fingerprint(folder, signature, output)
    # A part of the loaded model does not keep the rest alive.
    self._model, self._signatures = model, dict(getattr(model, 'signatures', {}))
    self._call = self._function(signature)
    self.width = self._encode([_PROBE]).shape[1]

  def encode(self, texts: list[str]) -> np.ndarray:
    """Returns the vectors [n, H] float32 of n texts."""
    return self._encode(texts) if texts else np.zeros((0, self.width), np.float32)

  def _function(self, signature: str) -> Callable:
    """Returns the function from strings [n] to outputs."""
    if callable(self._model) and not signature:
      return self._model
    found = self._signatures
    if not signature:
      names = [name for name in _USUAL if name in found][:1] or list(found)
      signature = names[0] if len(names) == 1 else ''
    if signature not in found:
      raise ValueError(
        f'encoder {self.name!r} has the signatures {sorted(found)}: choose one with '
        f'--encoder_signature; expected {_EXPECTED}'
      )
    return self._of_signature(signature)

  def _of_signature(self, signature: str) -> Callable:
    import tensorflow as tf

    function = self._signatures[signature]
    inputs = function.structured_input_signature[1]
    if [spec.dtype for spec in inputs.values()] != [tf.string]:
      raise ValueError(
        f'encoder {self.name!r}: its signature {signature} has the inputs '
        f'{sorted(inputs)}; expected one, of strings'
      )
    ((key, spec),) = inputs.items()
    # Keras models often want a column of texts, [n, 1].
    shape = [-1] + [1] * ((spec.shape.rank or 1) - 1)
    return lambda texts: function(**{key: tf.reshape(texts, shape)})

  def _encode(self, texts):
    import tensorflow as tf

    try:
      outputs = self._call(tf.constant(texts))
    except (TypeError, ValueError, tf.errors.OpError) as error:
      reason = str(error).strip().split('\n')[0]
      raise ValueError(
        f'encoder {self.name!r} cannot be called with strings: {reason}; expected '
        f'{_EXPECTED}. It has the signatures {sorted(self._signatures)}, which '
        '--encoder_signature calls'
      ) from error
    vectors = np.asarray(self._one(outputs))
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

  def _one(self, outputs):
    """Returns the chosen output, or the only one."""
    if isinstance(outputs, Mapping):
      named = dict(outputs)
    else:
      several = outputs if isinstance(outputs, list | tuple) else [outputs]
      named = {str(place): output for place, output in enumerate(several)}
    only = next(iter(named)) if len(named) == 1 else _DEFAULT_OUTPUT
    chosen = self._output or only
    if chosen not in named:
      raise ValueError(
        f'encoder {self.name!r} has the outputs {sorted(named)}: choose one with '
        f'--encoder_output; expected {_EXPECTED}'
      )
    return named[chosen]


def _damage(folder: str) -> str | None:
  """Tells which file of a SavedModel is another one, such as a Git LFS pointer."""
  path = pathlib.Path(folder)
  for file in (*path.glob('saved_model.pb'), *path.glob('variables/*')):
    if what := model_files.seems(file, 'SavedModel'):
      return f'{file}: {what}'
  return None


def _fingerprint(folder: str, *choice: str) -> str:
  """Returns the hex SHA-256 over the names and bytes of a SavedModel's files.

  Args:
    folder: local folder or address in a bucket.
    *choice: names that decide what the model computes; they count if one is given.
  """
  import tensorflow as tf

  found = tf.io.gfile.walk(folder)
  paths = (os.path.join(parent, name) for parent, _, names in found for name in names)
  files = {os.path.relpath(path, folder): path for path in paths}
  digest = hashlib.sha256()
  for name in sorted(files, key=lambda name: name.split(os.sep)):
    if (
      os.path.basename(name) == 'fingerprint.pb'
    ):  # by TensorFlow, no part of the model
      continue
    digest.update(name.encode())
    with tf.io.gfile.GFile(files[name], 'rb') as file:
      digest.update(hashlib.sha256(file.read()).digest())
  if any(choice):
    digest.update(repr(choice).encode())
  return digest.hexdigest()
