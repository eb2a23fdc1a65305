"""Rates of matrix products in XLA by the types of operands and result.

    python -m benchmarks.products

Measures a large square product and products of the shapes of SmolLM2-135M: with
float32, with bfloat16 operands and result, with bfloat16 operands and a float32 result,
and the last form as JAX's own setting of the precision of float32 operands. The fastest
of several calls counts. Writes `benchmarks/results/products.json`, GFLOP/s.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.decoding import fastest, machine
from pipelines.common import job

_SHAPES = (
  (2048, 2048, 2048),
  (4576, 576, 1536),
  (208, 576, 1536),
  (208, 1536, 576),
  (208, 576, 49152),
  (64, 576, 1536),
  (16, 576, 1536),
)


def wide(x: jax.Array, y: jax.Array) -> jax.Array:
  """The product with a float32 result."""
  return jnp.dot(x, y, preferred_element_type=jnp.float32)


def by_precision(x: jax.Array, y: jax.Array) -> jax.Array:
  """The product of float32 arrays that JAX is told to round."""
  return jnp.dot(x, y, precision='BF16_BF16_F32')


# Name -> function and the type of its operands.
_FORMS = {
  'float32': (jnp.dot, jnp.float32),
  'bfloat16 -> bfloat16': (jnp.dot, jnp.bfloat16),
  'bfloat16 -> float32': (wide, jnp.bfloat16),
  'precision BF16_BF16_F32': (by_precision, jnp.float32),
}


def main() -> None:
  """Measures and writes the result."""
  rng, rows = np.random.default_rng(0), {}
  for m, k, n in _SHAPES:
    x, y = rng.normal(size=(m, k)), rng.normal(size=(k, n))
    rows[f'{m}, {k}, {n}'] = row = {}
    for name, (function, dtype) in _FORMS.items():
      operands = jnp.asarray(x, dtype), jnp.asarray(y, dtype)
      row[name] = round(2 * m * k * n / fastest(jax.jit(function), *operands) / 1e9)
    print(rows[f'{m}, {k}, {n}'], flush=True)
  content = {
    'command': 'python -m benchmarks.products',
    'machine': machine(),
    'versions': job.versions('jax'),
    'seed': 0,
    'gflops_of_m_k_n': rows,
  }
  path = pathlib.Path(__file__).parent / 'results' / 'products.json'
  path.write_text(json.dumps(content, indent=2) + '\n')


if __name__ == '__main__':
  main()
