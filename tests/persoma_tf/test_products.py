"""Products with rounded operands, against numpy in float64 and the theory of rounding.

bfloat16 has 8 bits of significand: rounding a number changes it by at most U of itself.
A sum of n products of two rounded numbers is then off by at most
((1 + U)² - 1 + n 2^-23) times the sum of the products' sizes (Higham 2002, Accuracy and
Stability of Numerical Algorithms, section 3.1; the last term is of the float32 sum).
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf import products

U = 2.0**-8
BOTH = (1 + U) ** 2 - 1
# Subscripts of the decoders' products, and shapes of the operands.
PRODUCTS = {
  'abi,io->abo': ((2, 5, 33), (33, 7)),  # of a dense layer
  'bqhgd,bkhd->bhgqk': ((2, 3, 2, 3, 16), (2, 9, 2, 16)),  # attention scores
  'bhgqk,bkhd->bqhgd': ((2, 2, 3, 3, 9), (2, 9, 2, 16)),  # attention output
  'bqhd,bkhd->bhqk': ((2, 3, 4, 16), (2, 9, 4, 16)),  # attention scores of T5
  'bd,bmd->bm': ((4, 33), (4, 6, 33)),  # logits of some tokens
}


def operands(spec, seed=0):
  """Two float32 arrays whose values have many bits, and a gradient of the result."""
  rng = np.random.default_rng(seed)
  x, y = (rng.normal(size=s).astype(np.float32) for s in PRODUCTS[spec])
  result = np.einsum(spec, x, y)
  return x, y, rng.normal(size=result.shape).astype(np.float32)


def check(found, spec, x, y, bound):
  """Compares with a product in float64; `bound` is relative to the sizes."""
  exact = np.einsum(spec, x.astype(np.float64), y.astype(np.float64))
  sizes = np.einsum(spec, np.abs(x, dtype=np.float64), np.abs(y, dtype=np.float64))
  summed = x.size * 2.0**-23  # more terms than any sum has
  assert found.dtype == jnp.float32
  error = np.abs(np.asarray(found, np.float64) - exact)
  assert (error <= (bound + summed) * sizes).all()
  return error


@pytest.mark.parametrize('spec', PRODUCTS)
def test_rounded_operands(spec):
  x, y, _ = operands(spec)
  found = products.einsum(spec, x, jnp.asarray(y, jnp.bfloat16))
  error = check(found, spec, x, y, BOTH)
  assert error.max() > 1e-4  # it is no product in float32
  # Rounded beforehand, nothing is left but the sum in float32.
  x, y = (np.asarray(jnp.asarray(z, jnp.bfloat16), np.float32) for z in (x, y))
  check(products.einsum(spec, x, jnp.asarray(y, jnp.bfloat16)), spec, x, y, 0)


@pytest.mark.parametrize('spec', PRODUCTS)
def test_gradients(spec):
  """Each is a product of the rounded gradient and the other rounded operand."""
  x, y, gradient = operands(spec)
  narrow = jnp.asarray(y, jnp.bfloat16)
  _, back = jax.vjp(lambda x, y: products.einsum(spec, x, y), x, narrow)
  by_x, by_y = back(gradient)
  of_x, of_y, result = spec.replace('->', ',').split(',')
  check(by_x, f'{result},{of_y}->{of_x}', gradient, y, BOTH)
  assert by_y.dtype == jnp.bfloat16
  # The gradient of a bfloat16 array is rounded once more.
  to_y = f'{of_x},{result}->{of_y}'
  check(by_y.astype(jnp.float32), to_y, x, gradient, (1 + U) ** 3 - 1)


@pytest.mark.parametrize('spec', PRODUCTS)
def test_float32_rounds_no_operand(spec):
  x, y, gradient = operands(spec)
  found, back = jax.vjp(lambda x, y: products.einsum(spec, x, y), x, y)
  check(found, spec, x, y, 0)
  of_x, of_y, result = spec.replace('->', ',').split(',')
  by_x, by_y = back(gradient)
  check(by_x, f'{result},{of_y}->{of_x}', gradient, y, 0)
  check(by_y, f'{of_x},{result}->{of_y}', x, gradient, 0)


def test_every_product_has_narrow_operands_and_a_wide_result():
  """The form for which XLA uses the processor's units; also in the gradients."""
  x, y, _ = operands('abi,io->abo')

  def loss(x, y):
    return jnp.sum(jnp.sin(products.matmul(x, y)))

  narrow = jnp.asarray(y, jnp.bfloat16)
  text = jax.jit(jax.grad(loss, (0, 1))).lower(x, narrow).as_text()
  found = [
    re.findall(r'tensor<[^>]*x(\w+)>', line)
    for line in text.splitlines()
    if 'dot_general' in line
  ]
  assert found == [['bf16', 'bf16', 'f32']] * 3


def test_bits_of_bfloat16_are_bfloat16():
  x, y, _ = operands('abi,io->abo')
  narrow = np.asarray(jnp.asarray(y, jnp.bfloat16))
  np.testing.assert_array_equal(
    products.matmul(x, narrow.view(np.uint16)), products.matmul(x, narrow)
  )


def test_numbers_outside_of_half_precision():
  """bfloat16 has the exponents of float32, so nothing overflows or vanishes."""
  matrix = jnp.asarray([[3e-38]], jnp.bfloat16)
  assert 0.98 < products.matmul(jnp.asarray([[3e38]]), matrix)[0, 0] / 9.0 < 1.02
  assert jnp.isnan(products.matmul(jnp.asarray([[jnp.nan]]), matrix)).all()
