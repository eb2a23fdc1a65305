"""Weights of the decoder in fewer bits, for answering.

`bfloat16` casts everything, so that the decoder computes in it. `int8` keeps the
matrices of the layers as integers with a scale for each output, symmetric around zero;
a product widens them again, so that only memory is saved. `lora.Dense` uses
what it finds.
"""

from collections.abc import Mapping

import ml_dtypes
import numpy as np


def converted(params: Mapping, weights: str) -> dict:
  """A decoder's parameters in another type.

  Args:
    params: float32; a kernel may be stacked, [layers, in, out].
    weights: one of `inference.decoding.WEIGHTS`.
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
  """Everything below a name that begins with 'layers' in integers."""
  made = {}
  for name, x in params.items():
    if isinstance(x, Mapping):
      made[name] = _rounded(x) if name.startswith('layers') else _of_layers(x)
    else:
      made[name] = x
  return made


def _rounded(params):
  made = {}
  for name, x in params.items():
    if isinstance(x, Mapping):
      made[name] = _rounded(x)
    elif name == 'kernel':
      made['kernel'], made['kernel_scale'] = integers(np.asarray(x))
    else:
      made[name] = x
  return made


def integers(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """A matrix [..., in, out] as int8, and the scale [..., out] of each output."""
  scale = np.maximum(np.abs(kernel).max(axis=-2) / 127, np.finfo(np.float32).tiny)
  return np.rint(kernel / scale[..., None, :]).astype(np.int8), scale
