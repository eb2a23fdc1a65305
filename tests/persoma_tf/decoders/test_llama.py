"""The decoder against PyTorch and transformers, and against itself with a cache."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf import decoders
from tests.causal_configs import CausalLm, llama

REFERENCE = pathlib.Path(__file__).parent / 'smollm2_reference.npz'
TINY = llama(3, 24, 6, vocab_size=50, num_kv_heads=2, d_ff=40)


@pytest.fixture(scope='module')
def tiny():
  """(module, params) with random weights."""
  module = CausalLm(TINY)
  return module, module.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))['params']


@functools.partial(jax.jit, static_argnums=(0, 2))
def _call(module, params, method, *args):
  return module.apply({'params': params}, *args, method=method)


def _prefill(module, prefix, mask):
  return module.prefill(prefix, mask, 5)


@pytest.mark.assets
def test_equals_transformers(assets):
  """Logits of real prompts (benchmarks/record_smollm2_reference.py)."""
  assets('smollm2-135m-instruct')
  decoder = decoders.load_decoder('smollm2-135m-instruct')
  reference = np.load(REFERENCE)
  forward = jax.jit(decoder.module.apply)
  params = {'params': jax.device_put(decoder.params)}
  for number in range(4):
    tokens = reference[f'tokens_{number}']
    whole = np.concatenate([tokens, reference[f'written_{number}']])
    # One length for all, to compile once: what stands behind is never read.
    padded = np.pad(whole, (0, 64 - len(whole)))
    logits = np.asarray(forward(params, padded[None]))[0, : len(whole)]
    sample = logits[: len(tokens), :: int(reference['stride'])]
    np.testing.assert_allclose(sample, reference[f'logits_{number}'], atol=1e-3)
    best = logits.argmax(-1)
    np.testing.assert_array_equal(best[: len(tokens)], reference[f'best_{number}'])
    np.testing.assert_array_equal(best[len(tokens) - 1 : -1], whole[len(tokens) :])


def test_cache_and_teacher_forcing_equal_the_whole_sequence(tiny):
  module, params = tiny
  tokens = jax.random.randint(jax.random.key(1), (2, 9), 1, 50)
  call = functools.partial(_call, module, params)
  expected = call(CausalLm.__call__, tokens)[:, 4:]
  prefix, mask = call(CausalLm.embed, tokens[:, :5]), jnp.ones((2, 5), bool)
  inputs = jnp.pad(tokens[:, 5:], ((0, 0), (1, 0)))
  hidden = call(CausalLm.target_hidden, prefix, mask, inputs)
  np.testing.assert_allclose(call(CausalLm.logits, hidden), expected, atol=1e-5)
  hidden, cache = call(_prefill, prefix, mask)
  found = [call(CausalLm.logits, hidden)]
  for index in range(5, 9):
    hidden, cache = call(CausalLm.step, tokens[:, index], cache)
    found.append(call(CausalLm.logits, hidden))
  np.testing.assert_allclose(jnp.stack(found, 1), expected, atol=1e-5)


def test_padding_in_the_prefix_is_never_read(tiny):
  module, params = tiny
  call = functools.partial(_call, module, params)
  prefix = jax.random.normal(jax.random.key(2), (2, 3, 24))
  inputs = jnp.array([[0, 4, 5], [0, 6, 7]])
  mask = jnp.ones((2, 3), bool)
  expected = call(CausalLm.target_hidden, prefix, mask, inputs)
  # The same prefixes, with a gap of garbage in the middle and one behind.
  wide = jnp.full((2, 6, 24), 9.0).at[:, jnp.array([0, 2, 3])].set(prefix)
  gaps = jnp.zeros((2, 6), bool).at[:, jnp.array([0, 2, 3])].set(True)
  found = call(CausalLm.target_hidden, wide, gaps, inputs)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  hidden, cache = call(_prefill, wide, gaps)
  np.testing.assert_allclose(hidden, expected[:, 0], atol=1e-5)
  for index in (1, 2):
    hidden, cache = call(CausalLm.step, inputs[:, index], cache)
    np.testing.assert_allclose(hidden, expected[:, index], atol=1e-5)


def test_unknown_decoder():
  with pytest.raises(ValueError, match="did you mean 'smollm2-135m-instruct'"):
    decoders.load_decoder('smollm')
  with pytest.raises(ValueError, match="'/no/t5-base': not a folder"):
    decoders.load_decoder('/no/t5-base')
