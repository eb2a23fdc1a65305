"""The decoder against PyTorch and transformers, and against itself with a cache."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf import decoders
from persoma_tf.decoders.llama import Llama, LlamaConfig

REFERENCE = pathlib.Path(__file__).parent / 'smollm2_reference.npz'
TINY = LlamaConfig(
  vocab_size=50, num_layers=3, d_model=24, num_heads=6, num_kv_heads=2, d_ff=40
)


@pytest.fixture(scope='module')
def tiny():
  """(module, params) with random weights."""
  module = Llama(TINY)
  return module, module.init(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))['params']


@functools.partial(jax.jit, static_argnums=(0, 2))
def _call(module, params, method, *args):
  return module.apply({'params': params}, *args, method=method)


def _prefill(module, embeddings, positions):
  return module.prefill(embeddings, positions, 12)


@pytest.mark.assets
def test_equals_transformers(assets):
  """Logits of real prompts (benchmarks/record_smollm2_reference.py)."""
  assets('smollm2-135m-instruct')
  decoder = decoders.load('smollm2-135m-instruct')
  reference = np.load(REFERENCE)
  forward = jax.jit(lambda tokens: decoder.module.apply({'params': params}, tokens))
  params = jax.device_put(decoder.params)
  for number in range(4):
    tokens = reference[f'tokens_{number}']
    whole = np.concatenate([tokens, reference[f'written_{number}']])
    # One length for all, to compile once: what stands behind is never read.
    padded = np.pad(whole, (0, 64 - len(whole)))
    logits = np.asarray(forward(padded[None]))[0, : len(whole)]
    sample = logits[: len(tokens), :: int(reference['stride'])]
    np.testing.assert_allclose(sample, reference[f'logits_{number}'], atol=1e-3)
    best = logits.argmax(-1)
    np.testing.assert_array_equal(best[: len(tokens)], reference[f'best_{number}'])
    np.testing.assert_array_equal(best[len(tokens) - 1 : -1], whole[len(tokens) :])


def test_cache_equals_the_whole_sequence(tiny):
  module, params = tiny
  tokens = jax.random.randint(jax.random.key(1), (2, 9), 0, 50)
  call = functools.partial(_call, module, params)
  expected = call(Llama.__call__, tokens)
  embedded = call(Llama.embed, tokens)
  positions = jnp.broadcast_to(jnp.arange(9), (2, 9))
  hidden, cache = call(_prefill, embedded[:, :5], positions[:, :5])
  found = [call(Llama.logits, hidden)]
  for index in range(5, 9):
    at = slice(index, index + 1)
    hidden, cache = call(
      Llama.step, embedded[:, at], positions[:, at], cache, jnp.int32(index)
    )
    found.append(call(Llama.logits, hidden))
  np.testing.assert_allclose(jnp.concatenate(found, 1), expected, atol=1e-5)


def test_causal_and_padding(tiny):
  module, params = tiny
  embeddings = jax.random.normal(jax.random.key(2), (2, 6, 24))
  positions = jnp.broadcast_to(jnp.arange(6), (2, 6))
  hidden = lambda x, mask: _call(module, params, Llama.hidden, x, positions, mask)
  before = hidden(embeddings, jnp.ones((2, 6), bool))
  changed = embeddings.at[:, 4:].set(1e3)
  after = hidden(changed, jnp.ones((2, 6), bool))
  np.testing.assert_allclose(before[:, :4], after[:, :4], atol=1e-6)
  mask = jnp.arange(6) != 2
  masked = hidden(embeddings, jnp.broadcast_to(mask, (2, 6)))
  garbage = hidden(embeddings.at[:, 2].set(7.0), jnp.broadcast_to(mask, (2, 6)))
  np.testing.assert_allclose(masked[:, 3:], garbage[:, 3:], atol=1e-6)


def test_unknown_decoder():
  with pytest.raises(ValueError, match="did you mean 'smollm2-135m-instruct'"):
    decoders.load('smollm')
