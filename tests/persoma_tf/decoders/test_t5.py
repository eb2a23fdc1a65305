"""T5 against transformers, against itself with a cache, with padding, and with LoRA.

benchmarks/record_t5_reference.py recorded what transformers computes.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf import decoders
from persoma_tf.decoders.t5 import T5
from persoma_tf.decoders.t5_layers import distance_buckets
from persoma_tf.parameters import lora
from tests.persoma_tf.decoders import t5_weights

RECORDED = pathlib.Path(__file__).parent / 'tiny_t5'

_ATTENTIONS = (
  ('encoder', 'layers_0', 'attention'),
  ('decoder', 'layers_2', 'self_attention'),
  ('decoder', 'layers_2', 'encoder_decoder_attention'),
)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _call(module, params, method, *args):
  return module.apply({'params': params}, *args, method=method)


def _prefill(module, prefix, mask):
  return module.prefill(prefix, mask, 13)


@functools.partial(jax.jit, static_argnums=(0, 4))
def _greedy(module, params, prefix, mask, size):
  """The most probable tokens [B, size], one `step` each."""
  call = lambda method, *args: module.apply({'params': params}, *args, method=method)

  def write(state, _):
    hidden, cache = state
    token = jnp.argmax(call(T5.logits, hidden), axis=-1).astype(jnp.int32)
    return call(T5.step, token, cache), token

  state = call(T5.prefill, prefix, mask, size)
  return jax.lax.scan(write, state, length=size)[1].T


@pytest.fixture(scope='module', params=['v1_0', 'v1_1'])
def tiny(request):
  """(decoder, recording): 1.0 stored in bfloat16, 1.1 in float32 and three files."""
  folder = RECORDED / request.param
  return decoders.load_decoder(str(folder)), np.load(folder / 'recorded.npz')


@pytest.fixture(scope='module')
def flan():
  """The latter alone, where the kind of model matters little."""
  folder = RECORDED / 'v1_1'
  return decoders.load_decoder(str(folder)), np.load(folder / 'recorded.npz')


def test_buckets_are_those_of_the_formula():
  """Bounds by the formula of the paper's code, in ranges of 128 and less."""
  for bidirectional, exact in ((True, 8), (False, 16)):
    found = distance_buckets(32, 128, bidirectional)
    assert found[: exact + 1].tolist() == list(range(exact + 1))
    assert (np.diff(found) >= 0).all()
    assert found[-1] == 2 * exact - 1
    # A bucket begins where the logarithm of the distance passes its bound.
    for bucket in range(exact + 1, 2 * exact):
      bound = exact * (128 / exact) ** ((bucket - exact) / exact)
      assert np.flatnonzero(found == bucket)[0] == int(np.ceil(bound - 1e-9))


def test_equals_transformers(tiny):
  decoder, recorded = tiny
  tokens, inputs = recorded['tokens'], recorded['inputs']
  made = _call(decoder.module, decoder.params, T5.__call__, tokens, inputs)
  np.testing.assert_allclose(made, recorded['logits'], atol=1e-4)
  assert 5 < np.abs(recorded['logits']).max() < 50


def test_soft_prompts_equal_transformers(tiny):
  """Also with garbage between them, where the recording has none."""
  decoder, recorded = tiny
  call = functools.partial(_call, decoder.module, decoder.params)
  prefix, mask = recorded['prefix'], recorded['tokens'] > 0
  assert not mask.all()
  rows, size = mask.shape
  places = np.arange(size) + np.arange(size) // 3  # a gap after every three
  wide = np.full((rows, places[-1] + 3, prefix.shape[-1]), 50.0, np.float32)
  wide[:, places] = np.where(mask[..., None], prefix, 50.0)
  gaps = np.zeros(wide.shape[:2], bool)
  gaps[:, places] = mask
  for where, what in ((prefix, mask), (wide, gaps)):
    hidden = call(T5.target_hidden, where, what, recorded['inputs'])
    logits = call(T5.logits, hidden)
    np.testing.assert_allclose(logits, recorded['prefix_logits'], atol=1e-4)


def test_garbage_in_the_prefix_is_never_read(tiny):
  decoder, recorded = tiny
  mask = recorded['tokens'] > 0
  inputs = recorded['inputs']
  made = []
  for garbage in (0.0, 1e3, -1e3):
    prefix = np.where(mask[..., None], recorded['prefix'], np.float32(garbage))
    found = _call(
      decoder.module, decoder.params, T5.target_hidden, prefix, mask, inputs
    )
    made.append(np.asarray(found))
  np.testing.assert_array_equal(made[0], made[1])
  np.testing.assert_array_equal(made[0], made[2])


def test_cache_equals_the_whole_answer(tiny):
  decoder, recorded = tiny
  call = functools.partial(_call, decoder.module, decoder.params)
  prefix, mask = recorded['prefix'], recorded['tokens'] > 0
  inputs = recorded['inputs']
  expected = call(T5.target_hidden, prefix, mask, inputs)
  hidden, cache = call(_prefill, prefix, mask)
  found = [hidden]
  for index in range(1, inputs.shape[1]):
    hidden, cache = call(T5.step, inputs[:, index], cache)
    found.append(hidden)
  np.testing.assert_allclose(jnp.stack(found, 1), expected, rtol=1e-5, atol=1e-4)
  # An answer of that length still has room for its last token.
  assert int(cache.index) == 13 < cache.written.keys.shape[2]


def test_answers_equal_those_of_transformers(tiny):
  """Cached, uncached, and by transformers: token for token."""
  decoder, recorded = tiny
  tokens, written = recorded['tokens'], recorded['written']
  prefix = decoder.embed(tokens)
  made = _greedy(decoder.module, decoder.params, prefix, tokens > 0, written.shape[1])
  np.testing.assert_array_equal(made, written)
  inputs = np.pad(written[:, :-1], ((0, 0), (1, 0)))
  logits = _call(decoder.module, decoder.params, T5.__call__, tokens, inputs)
  np.testing.assert_array_equal(np.argmax(logits, -1), written)


def _equals_recording(folder, name, config):
  """Loads a model of real size, generated, and compares logits and answers."""
  decoder = decoders.load_decoder(str(t5_weights.write(folder, config)))
  recorded = np.load(RECORDED / f'{name}.npz')
  tokens, inputs = recorded['tokens'], recorded['inputs']
  params = jax.device_put(decoder.params)
  logits = _call(decoder.module, params, T5.__call__, tokens, inputs)
  sample = logits[..., :: int(recorded['stride'])]
  np.testing.assert_allclose(sample, recorded['logits'], atol=1e-3)
  np.testing.assert_array_equal(logits.argmax(-1), recorded['best'])
  assert np.ptp(recorded['best']) > 1_000
  prefix = _call(decoder.module, params, T5.embed, tokens)
  made = _greedy(decoder.module, params, prefix, tokens > 0, 8)
  np.testing.assert_array_equal(made, recorded['written'])


def test_shape_of_t5_small_equals_transformers(tmp_path):
  """60 M parameters, prefixes of 150 and 9 tokens."""
  _equals_recording(tmp_path, 'small', t5_weights.SMALL)


@pytest.mark.slow
def test_shape_of_flan_t5_base_equals_transformers(tmp_path):
  """248 M parameters, prefixes of 150 and 9 tokens."""
  _equals_recording(tmp_path, 'base', t5_weights.BASE)


def test_lora_starts_as_the_base_model(flan):
  decoder, recorded = flan
  prefix, mask, inputs = recorded['prefix'], recorded['tokens'] > 0, recorded['inputs']
  added = lora.add_lora(decoder.params, seed=0)
  for stack, layer, name in _ATTENTIONS:
    assert 'lora_a' in added[stack][layer][name]['query']
  made = [
    _call(decoder.module, params, T5.target_hidden, prefix, mask, inputs)
    for params in (decoder.params, added)
  ]
  np.testing.assert_array_equal(*made)


@pytest.mark.parametrize('remat', [False, True])
def test_gradients_reach_lora_and_the_soft_prompt(flan, remat):
  decoder, recorded = flan
  mask, inputs = recorded['tokens'] > 0, recorded['inputs']
  module = T5(decoder.module.config, remat)
  added = lora.add_lora(decoder.params, seed=0)

  @jax.jit
  def gradients(prefix, params):
    def loss(prefix, params):
      call = functools.partial(module.apply, {'params': params})
      hidden = call(prefix, mask, inputs, method=T5.target_hidden)
      return jnp.mean(jax.nn.log_softmax(call(hidden, method=T5.logits))[..., 3])

    return jax.value_and_grad(loss, (0, 1))(prefix, params)

  _, (of_prefix, of_params) = gradients(recorded['prefix'], added)
  for stack, layer, name in _ATTENTIONS:
    assert np.abs(of_params[stack][layer][name]['query']['lora_b']).max() > 0
  np.testing.assert_array_equal(np.abs(of_prefix).max(-1) > 0, mask)
  # The slope that the gradient tells is the one that a small step finds.
  step = 1e-2 * of_prefix / np.linalg.norm(of_prefix)
  ahead, behind = (gradients(recorded['prefix'] + x, added)[0] for x in (step, -step))
  slope = float(ahead - behind) / 2e-2
  assert slope == pytest.approx(float(np.linalg.norm(of_prefix)), rel=1e-2)


def test_bfloat16_stays_near(flan):
  """Parameters in bfloat16 round the operands of products, and nothing else."""
  decoder, recorded = flan
  params = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), decoder.params)
  mask, inputs = recorded['tokens'] > 0, recorded['inputs']
  call = functools.partial(_call, decoder.module, params)
  hidden = call(T5.target_hidden, recorded['prefix'], mask, inputs)
  logits = call(T5.logits, hidden)
  assert hidden.dtype == logits.dtype == jnp.float32
  error = np.asarray(logits, np.float32) - recorded['prefix_logits']
  assert np.sqrt(np.mean(error**2)) < 0.05 * np.std(recorded['prefix_logits'])
