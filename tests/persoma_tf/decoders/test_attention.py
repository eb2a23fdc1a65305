"""Attention to a cache, against numpy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf import products
from persoma_tf.decoders.attention import KeysValues, attend, write_cache

U = 2.0**-8  # bfloat16 rounds a number by at most U of itself


def expected(query, keys, values, mask, scale):
  """The formula, head by head."""
  read = np.empty_like(query)
  shared = query.shape[2] // keys.shape[2]
  for row, place, head in np.ndindex(query.shape[:3]):
    scores = keys[row, :, head // shared] @ query[row, place, head] * scale
    weights = np.exp(scores - scores.max()) * mask[row, place]
    read[row, place, head] = weights / weights.sum() @ values[row, :, head // shared]
  return read.reshape(*query.shape[:2], -1)


@pytest.mark.parametrize('queries', [1, 3])
@pytest.mark.parametrize('kind', ['float32', 'bfloat16', 'bits'])
def test_equals_the_formula(kind, queries):
  rng = np.random.default_rng(queries)
  query = rng.normal(size=(2, queries, 6, 16))
  seen = rng.normal(size=(2, 2, 9, 3, 16))
  mask = rng.random((2, queries, 9)) < 0.6
  mask[:, :, 4] = True
  narrow = jnp.asarray(seen, jnp.float32 if kind == 'float32' else jnp.bfloat16)
  given = KeysValues(*(products.to_bits(x) if kind == 'bits' else x for x in narrow))
  found = jax.jit(attend, static_argnums=3)(
    query.astype(np.float32), given, jnp.asarray(mask), 0.25
  )
  exact = expected(query, *np.asarray(narrow, np.float64), mask, 0.25)
  # Query and weights may be rounded, too; a score has 16 terms, each below 10.
  bound = 2e-6 if kind == 'float32' else 16 * U
  np.testing.assert_allclose(found, exact, atol=bound)


def test_a_cache_of_bits_holds_what_is_written():
  rng = np.random.default_rng(0)
  new = jnp.asarray(rng.normal(size=(2, 2, 3, 4)), jnp.bfloat16)
  empty = products.to_bits(jnp.zeros((2, 7, 3, 4), jnp.bfloat16))
  assert empty.dtype == jnp.uint16
  held = write_cache(KeysValues(empty, empty), KeysValues(new, -new), 4)
  for bits, values in zip(held, (new, -new), strict=True):
    wide = np.asarray(products.as_float32(bits))
    np.testing.assert_array_equal(wide[:, 4:6], values.astype(jnp.float32))
    np.testing.assert_array_equal(products.from_bits(bits).astype(jnp.float32), wide)
    assert not wide[:, :4].any()
    assert not wide[:, 6:].any()
