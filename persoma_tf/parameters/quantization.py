"""Quantizes the weights of a decoder for inference.

`bfloat16` casts all parameters, so that the decoder computes in bfloat16. `int8` stores
the matrices of the layers as integers, symmetric around zero, with one scale per
output. `lora.Dense` casts such a matrix back for each product: int8 saves memory only.
"""

from collections.abc import Mapping

import ml_dtypes
import numpy as np


def converted(params: Mapping, weights: str) -> dict:
  """Converts a decoder's parameters to another type.

  Args:
    params: float32 parameters; a kernel may be stacked, [layers, in, out].
    weights: name of the type, one of `inference.decoding.WEIGHTS`.
  """
  if weights == 'float32':
    return dict(params)
  convert = {'bfloat16': _narrowed, 'int8': _of_layers}[weights]
  return convert(params)


def _narrowed(params):
  narrow = lambda x: np.asarray(x).astype(ml_dtypes.bfloat16)
  return {
    name: _narrowed(x) if isinstance(x, Mapping) else narrow(x)
    for name, x in params.items()
  }


def _of_layers(params):
  """Rounds all kernels below names that begin with 'layers' to int8."""
  result = {}
  for name, x in params.items():
    if isinstance(x, Mapping):
      result[name] = _rounded(x) if name.startswith('layers') else _of_layers(x)
    else:
      result[name] = x
  return result


def _rounded(params):
  result = {}
  for name, x in params.items():
    if isinstance(x, Mapping):
      result[name] = _rounded(x)
    elif name == 'kernel':
      result['kernel'], result['kernel_scale'] = integers(np.asarray(x))
    else:
      result[name] = x
  return result


def integers(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Rounds a matrix [..., in, out] to int8; returns it and its scales [..., out]."""
  scale = np.maximum(np.abs(kernel).max(axis=-2) / 127, np.finfo(np.float32).tiny)
  return np.rint(kernel / scale[..., None, :]).astype(np.int8), scale
