"""Converts the weights of a decoder to types of fewer bits.

`bfloat16` rounds all matrices, so that products have bfloat16 operands and float32
results (`persoma_tf.products`). `int8` does the same, but stores the matrices of the
layers as integers, symmetric around zero, with one scale per output. bfloat16 holds
these integers exactly. `lora.Dense` casts such a matrix for each product: int8 saves
memory only. All else stays float32: scales of norms, biases, and LoRA's updates, beside
their matrices.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax import traverse_util

_MATRICES = ('kernel', 'embedding')  # names of parameters that are multiplied


def converted(params: Mapping, weights: str) -> dict:
  """Converts a decoder's parameters to another type.

  Args:
    params: parameters of float types; a kernel may be stacked, [layers, in, out].
    weights: 'float32', 'bfloat16' or 'int8'.
  """
  if weights == 'float32':
    return jax.tree.map(_widened, dict(params))
  as_integers = {'bfloat16': False, 'int8': True}[weights]
  made = {}
  for path, x in traverse_util.flatten_dict(params, sep='/').items():
    name = path.rsplit('/', 1)[-1]
    if as_integers and name == 'kernel' and '/layers' in f'/{path}':
      made[path], made[f'{path}_scale'] = integers(np.asarray(x, np.float32))
    elif name in _MATRICES:
      made[path] = np.asarray(x).astype(ml_dtypes.bfloat16)
    else:
      made[path] = x
  return traverse_util.unflatten_dict(made, sep='/')


def integers(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Rounds a matrix [..., in, out] to int8; returns it and its scales [..., out]."""
  scale = np.maximum(np.abs(kernel).max(axis=-2) / 127, np.finfo(np.float32).tiny)
  return np.rint(kernel / scale[..., None, :]).astype(np.int8), scale


def trained_operands(params: Mapping, dtype: str) -> dict:
  """Rounds the trained matrices of a decoder, within the training step.

  LoRA's matrices and the embeddings stay float32. So do their gradients: that of a
  token's embedding is a sum over all places where the token stands.

  Args:
    params: flat dict {path: float32 array}; the adapter in it is not changed.
    dtype: type of the operands of the decoder's products.
  """
  cast = lambda path: _is_rounded(path) and not path.endswith('/embedding')
  return {path: x.astype(dtype) if cast(path) else x for path, x in params.items()}


def frozen_operands(params: Mapping, dtype: str) -> dict:
  """Rounds the frozen matrices of a decoder, once, before the training.

  The matrices of scanned layers are stored as the bits of bfloat16, in uint16, which
  `persoma_tf.products` reads. XLA on CPU would widen a stack of bfloat16 to float32
  before it takes a layer out (docs/speed.md).

  Args:
    params: flat dict {path: numpy array of a float type}; the adapter in it is not
      changed.
    dtype: type of the operands of the decoder's products.
  """
  if dtype == 'float32':
    return widened(params)

  def rounded(path, x):
    x = np.asarray(x).astype(jnp.dtype(dtype))
    return x.view(np.uint16) if x.ndim == 3 and path.endswith('/kernel') else x

  return {
    path: rounded(path, x) if _is_rounded(path) else x for path, x in params.items()
  }


def widened(params: Mapping) -> dict:
  """Returns a flat dict {path: array} of float32 arrays."""
  return {path: _widened(x) for path, x in params.items()}


def _widened(x):
  return x if x.dtype == np.float32 else np.asarray(x, np.float32)


def _is_rounded(path):
  return path.startswith('decoder/') and path.rsplit('/', 1)[-1] in _MATRICES
