"""Which arithmetic of a decoder is in bfloat16: the operands of products, only."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf.decoders.t5 import T5
from persoma_tf.decoders.t5_layers import T5Config
from tests.causal_configs import CausalLm, gemma, llama

V, D, B, P, L = 40, 16, 3, 5, 4
SHAPE = {'vocab_size': V, 'd_model': D, 'num_heads': 4, 'd_ff': 24}
CACHED = {'num_kv_heads': 2}
T5_SHAPE = {'head_dim': 4, 'num_encoder_layers': 2, 'num_decoder_layers': 2}
DECODERS = {
  'llama': CausalLm(llama(2, **SHAPE, **CACHED)),
  'llama, unrolled': CausalLm(llama(2, **SHAPE, **CACHED), unrolled=True),
  'llama, untied': CausalLm(llama(2, **SHAPE, **CACHED, tied=False)),
  'gemma': CausalLm(gemma(6, **SHAPE, **CACHED, head_dim=4, window=3)),
  't5': T5(T5Config(**SHAPE, **T5_SHAPE)),
  't5, tied': T5(T5Config(**SHAPE, **T5_SHAPE, tied=True, gated=False)),
}
_ARITHMETIC = re.compile(
  r'stablehlo\.(add|subtract|multiply|divide|exponential|rsqrt|sine|cosine|logistic'
  r'|reduce|tanh|maximum)\b'
)

# T5 stacks the keys of its layers: their gradients are put into zeros by adding.
_STACK = f'tensor<2x{B}x{P}x4x4xbf16>'


@pytest.fixture(scope='module', params=DECODERS)
def case(request):
  """(module, float32 parameters, functions of parameters and prefix)."""
  module = DECODERS[request.param]
  tokens = jnp.ones((1, 2), jnp.int32)
  arguments = (tokens,) if request.param[0] != 't' else (tokens, tokens)
  params = jax.jit(module.init)(jax.random.key(0), *arguments)['params']
  mask, inputs = jnp.ones((B, P), bool), jnp.ones((B, L), jnp.int32)
  call = lambda params, method, *args: module.apply(
    {'params': params}, *args, method=method
  )

  def train(params, prefix):
    hidden = call(params, 'target_hidden', prefix, mask, inputs)
    return jnp.sum(jax.nn.log_softmax(call(params, 'logits', hidden))[..., 3])

  def answer(params, prefix):
    hidden, cache = call(params, 'prefill', prefix, mask, 3)
    some = call(params, 'logits_of', hidden, jnp.ones((B, 6), jnp.int32))
    hidden, _ = call(params, 'step', jnp.argmax(some, -1), cache)
    return call(params, 'logits', hidden)

  return params, train, answer


PREFIX = np.random.default_rng(0).normal(size=(B, P, D)).astype(np.float32)


def lines(function, params):
  narrow = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
  return jax.jit(function).lower(narrow, PREFIX).as_text().splitlines()


def test_products_have_narrow_operands_and_all_else_is_float32(case):
  params, train, answer = case
  for function in (train, jax.grad(train, 1), answer):
    text = lines(function, params)
    dots = [re.findall(r'tensor<[^>]*x(\w+)>', x) for x in text if 'dot_general' in x]
    assert len(dots) >= 10
    assert {tuple(dot) for dot in dots} == {('bf16', 'bf16', 'f32')}
    narrow = [x for x in text if _ARITHMETIC.search(x) and 'bf16' in x]
    assert not [x for x in narrow if _STACK not in x]


def test_a_whole_decoder_stays_near_float32(case):
  """The errors of rounding are independent, so they add up like a random walk.

  A product of two rounded operands is off by about 2^-8 / sqrt(3) of its size, and a
  layer has at most eight products in a row. Five times what is expected is allowed, and
  a tenth of it must be there.
  """
  params, train, answer = case
  narrow = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
  layers = sum('layers' in name for name in params) or 4
  expected = 2.0**-8 / np.sqrt(3) * np.sqrt(8 * max(layers, 6))
  size = lambda x: float(np.sqrt(np.mean(np.square(x))))
  for function in (answer, jax.grad(train, 1)):
    exact, found = (np.asarray(jax.jit(function)(x, PREFIX)) for x in (params, narrow))
    assert found.dtype == np.float32
    error = size(found - exact) / size(exact)
    assert expected / 10 < error < expected * 5
