"""Multiplies matrices: operands of the second one's number type, results in float32.

Some processors multiply bfloat16 faster than float32: those with AVX-512 bf16 up to
twice as fast, those with AMX more. XLA uses these units only if the operands are
bfloat16 and the result is float32; with a bfloat16 result it is slower than in float32
(docs/speed.md). So the parameters of a decoder alone decide: they are stored in the
type of the operands (`persoma_tf.parameters.quantization`), and what stands between two
products (residual sums, statistics of norms, softmax, gates) is computed in float32.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array


def einsum(spec: str, x: Array, y: Array) -> Array:
  """Computes `jnp.einsum(spec, x, y)` with operands of y's type, as float32.

  The gradient is computed in the same way: the gradient of the result is rounded to y's
  type, and is multiplied by the other operand with a float32 result.

  Args:
    spec: subscripts such as 'bqd,bkd->bqk', without '...'. No index may be in one of
      the operands alone.
    x: array of a float type, which is rounded to the type of y.
    y: array of a float type.
  """
  if y.dtype == jnp.float32:
    return jnp.einsum(spec, x.astype(jnp.float32), y)
  return _einsum(spec, x, y)


def operand_type(matrix: Array) -> jnp.dtype:
  """Returns the type of the operands of a product with a stored matrix."""
  is_float = jnp.issubdtype(matrix.dtype, jnp.floating)
  return matrix.dtype if is_float else jnp.dtype(jnp.bfloat16)


def matmul(x: Array, matrix: Array) -> Array:
  """Computes `x @ matrix` like `einsum`; returns [..., out] float32.

  Args:
    x: [..., in] array of a float type.
    matrix: [in, out] array of a float type, or of uint16, the bits of bfloat16.
  """
  matrix = from_bits(matrix)
  rows = 'abcdefgh'[: x.ndim - 1]
  return einsum(f'{rows}i,io->{rows}o', x, matrix)


def to_bits(x: Array) -> Array:
  """Returns the bits of a bfloat16 array as uint16, and others as they are.

  XLA on CPU moves integers; it widens bfloat16 to float32 and rounds it again, even to
  write one row into an array.
  """
  if x.dtype != jnp.bfloat16:
    return x
  return jax.lax.bitcast_convert_type(x, jnp.uint16)


def from_bits(x: Array) -> Array:
  """Returns the bfloat16 array of such bits, and others as they are."""
  if x.dtype != jnp.uint16:
    return x
  return jax.lax.bitcast_convert_type(x, jnp.bfloat16)


def as_float32(x: Array) -> Array:
  """Returns an array of a float type, or of such bits, as float32."""
  if x.dtype != jnp.uint16:
    return x.astype(jnp.float32)
  return jax.lax.bitcast_convert_type(x.astype(jnp.uint32) << 16, jnp.float32)


def _multiply(spec, x, y):
  return jnp.einsum(spec, x, y, preferred_element_type=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _einsum(spec, x, y):
  return _multiply(spec, x.astype(y.dtype), y)


def _forward(spec, x, y):
  narrow = x.astype(y.dtype)
  like_x = jnp.zeros((), x.dtype)  # only arrays can be kept
  return _multiply(spec, narrow, y), (narrow, y, like_x)


def _backward(spec, kept, gradient):
  x, y, like_x = kept
  operands, result = spec.split('->')
  of_x, of_y = operands.split(',')
  # Not rounded, it would make XLA multiply in float32.
  gradient = gradient.astype(y.dtype)
  by_x = _multiply(f'{result},{of_y}->{of_x}', gradient, y)
  by_y = _multiply(f'{of_x},{result}->{of_y}', x, gradient)
  return by_x.astype(like_x.dtype), by_y.astype(y.dtype)


_einsum.defvjp(_forward, _backward)
