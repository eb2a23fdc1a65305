"""Gemma 3 against transformers, and against itself with a cache, from both formats.

benchmarks/record_gemma_reference.py recorded transformers' logits.
"""

import dataclasses
import functools
import json
import pathlib
import shutil

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf import decoders
from persoma_tf.decoders import rotary
from persoma_tf.decoders.causal_lm import CausalLm
from persoma_tf.parameters import lora
from tests import tiny as tiny_parts

FOLDER = pathlib.Path(__file__).parent
MODEL = FOLDER / 'tiny_gemma'  # 7 layers, of which the 6th is global; a window of 6
START = 2
# Compiles in a third of the time, and fuses nothing that would change sums.
quick = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


@pytest.fixture(scope='module')
def tiny():
  decoder = decoders.load_decoder(str(MODEL))
  return decoder._replace(params=decoder.wide_params)


@pytest.fixture(scope='module')
def call(tiny):
  """(method, *arguments) -> what the tiny model gives."""

  @functools.partial(quick, static_argnums=0)
  def apply(method, *args):
    return tiny.module.apply({'params': tiny.params}, *args, method=method)

  return apply


def _prefill(module, prefix, mask):
  return module.prefill(prefix, mask, 12)


def test_equals_transformers(tiny):
  """24 tokens, four times what a local layer reads."""
  reference = np.load(MODEL / 'logits.npz')
  made = quick(tiny.module.apply)({'params': tiny.params}, reference['tokens'])
  np.testing.assert_allclose(made, reference['logits'], atol=1e-4)
  assert np.abs(reference['logits']).max() > 1
  assert (tiny.width, tiny.vocab_size) == (24, 60)


def test_embeddings_are_what_the_stack_reads(tiny):
  """Soft prompts are scaled to them."""
  stored = tiny.params['embedder']['embedding']
  np.testing.assert_allclose(tiny.embed(np.array([3, 9])), stored[[3, 9]] * 24**0.5)


def test_cache_and_teacher_forcing_equal_the_whole_sequence(call):
  """The whole sequence has the start token, which prefixes have put before them."""
  tokens = jax.random.randint(jax.random.key(1), (2, 20), 3, 60)
  started = jnp.pad(tokens, ((0, 0), (1, 0)), constant_values=START)
  expected = call(CausalLm.__call__, started)[:, 9:]
  prefix, mask = call(CausalLm.embed, tokens[:, :9]), jnp.ones((2, 9), bool)
  inputs = jnp.pad(tokens[:, 9:], ((0, 0), (1, 0)))
  hidden = call(CausalLm.target_hidden, prefix, mask, inputs)
  np.testing.assert_allclose(call(CausalLm.logits, hidden), expected, atol=1e-4)
  hidden, cache = call(_prefill, prefix, mask)
  found = [call(CausalLm.logits, hidden)]
  for index in range(9, 20):
    hidden, cache = call(CausalLm.step, tokens[:, index], cache)
    found.append(call(CausalLm.logits, hidden))
  np.testing.assert_allclose(jnp.stack(found, 1), expected, atol=1e-4)
  # Without the start token the answer is another one.
  assert jnp.abs(call(CausalLm.__call__, tokens)[:, 8:] - expected).max() > 0.1


def test_padding_in_the_prefix_is_never_read(call):
  """Nor does it take a place in the window, which is shorter than the gaps."""
  prefix = jax.random.normal(jax.random.key(2), (2, 5, 24))
  inputs = jnp.array([[0, 4, 5, 6], [0, 7, 8, 9]])
  expected = call(CausalLm.target_hidden, prefix, jnp.ones((2, 5), bool), inputs)
  # The same prefixes, with garbage before, in the middle and behind.
  places = jnp.array([1, 2, 9, 10, 11])
  wide = jnp.full((2, 19, 24), 9.0).at[:, places].set(prefix)
  gaps = jnp.zeros((2, 19), bool).at[:, places].set(True)
  found = call(CausalLm.target_hidden, wide, gaps, inputs)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  hidden, cache = call(_prefill, wide, gaps)
  np.testing.assert_allclose(hidden, expected[:, 0], atol=1e-5)
  for index in (1, 2, 3):
    hidden, cache = call(CausalLm.step, inputs[:, index], cache)
    np.testing.assert_allclose(hidden, expected[:, index], atol=1e-5)


def test_lora_starts_as_nothing_and_then_acts(tiny):
  tokens = jnp.arange(3, 23)[None]
  forward = quick(lambda params: tiny.module.apply({'params': params}, tokens))
  expected = forward(tiny.params)
  adapted = lora.add_lora(tiny.params, seed=0, rank=2)
  np.testing.assert_array_equal(forward(adapted), expected)
  for name in ('query', 'value'):
    update = adapted['layers']['attention'][name]['lora_b']
    update += np.random.default_rng(0).normal(0, 0.1, update.shape)
  moved = forward(adapted)
  assert np.abs(moved - expected).max() > 0.1
  np.testing.assert_allclose(forward(lora.merge_lora(adapted)), moved, atol=1e-4)


def test_remat_changes_no_gradient(tiny):
  prefix, mask = jnp.ones((1, 8, 24)), jnp.ones((1, 8), bool)

  def gradient(module):
    target = lambda x: module.apply(
      {'params': tiny.params}, x, mask, jnp.array([[0, 5]]), method='target_hidden'
    )
    return quick(jax.grad(lambda x: jnp.sum(target(x) ** 2)))(prefix)

  expected = gradient(tiny.module)
  found = gradient(CausalLm(tiny.module.config, remat=True))
  np.testing.assert_allclose(found, expected, atol=1e-4)
  assert np.abs(expected).max() > 1e-2


def test_gguf_equals_hugging_face(tiny, tmp_path):
  read = decoders.load_decoder(str(tiny_parts.write_gemma(tmp_path / 'x.gguf', tiny)))
  epsilon = float(np.float32(1e-6))  # as GGUF stores it
  expected = dataclasses.replace(tiny.module.config, norm_epsilon=epsilon)
  assert read.module == CausalLm(expected)
  jax.tree.map(np.testing.assert_array_equal, read.params, dict(tiny.params))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (
      lambda writer: writer.add_string('general.architecture', 'gpt2'),
      r"architecture 'gpt2'; expected one of \['gemma3', 'llama', 'qwen2', 'qwen3', 's",
    ),
    (
      lambda writer: writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE),
      r"x\.gguf: rope_type='longrope'; expected one of",
    ),
    (
      lambda writer: writer.add_tensor('output.bias', np.ones(60, np.float32)),
      "has 1 tensors, such as 'output.bias'; expected exactly the 93",
    ),
    (
      lambda writer: writer.tensors[0].pop('blk.3.attn_q_norm.weight'),
      "lacks 1 tensors, such as 'blk.3.attn_q_norm.weight'",
    ),
    (
      lambda writer: writer.kv_data[0].pop('gemma3.attention.sliding_window'),
      r'no field gemma3\.attention\.sliding_window$',
    ),
    (
      lambda writer: writer.add_sliding_window_pattern(5),
      r'gemma3\.attention\.sliding_window_pattern=5; expected 6',
    ),
    (
      lambda writer: writer.add_attn_logit_softcapping(50.0),
      r'gemma3\.attn_logit_softcapping=50.0; expected 0',
    ),
  ],
)
def test_other_gguf_files_are_refused(tiny, tmp_path, change, message):
  path = tiny_parts.write_gemma(tmp_path / 'x.gguf', tiny, change)
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(str(path))


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'final_logit_softcapping': 30.0}, 'final_logit_softcapping=30.0; expected None'),
    ({'use_bidirectional_attention': True}, 'use_bidirectional_attention=True; exp'),
    ({'tie_word_embeddings': False}, 'tie_word_embeddings=False; expected True'),
    (
      {'layer_types': ['chunked_attention'] * 7},
      r"layer_types has \['chunked_attention",
    ),
    ({'quantization_config': {'quant_method': 'fp8'}}, 'quantization_config=.*GGUF'),
    ({'head_dim': None}, r'config\.json: no field head_dim'),
    (
      {
        'rope_parameters': {'full_attention': {'rope_type': 'dynamic', 'rope_theta': 9}}
      },
      "rope_type='dynamic'; expected one of",
    ),
  ],
)
def test_other_models_are_refused(tmp_path, changes, message):
  folder = shutil.copytree(MODEL, tmp_path / 'model')
  config = json.loads((folder / 'config.json').read_text())
  (folder / 'config.json').write_text(json.dumps(config | changes))
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(str(folder))


def test_older_configurations_name_their_rotations_otherwise(tiny, tmp_path):
  folder = shutil.copytree(MODEL, tmp_path / 'model')
  config = json.loads((folder / 'config.json').read_text())
  del config['rope_parameters'], config['layer_types']
  config |= {'rope_theta': 1e6, 'rope_local_base_freq': 1e4}
  (folder / 'config.json').write_text(json.dumps(config))
  assert decoders.load_decoder(str(folder)).module == tiny.module
  config['sliding_window_pattern'] = 3
  (folder / 'config.json').write_text(json.dumps(config))
  layers = decoders.load_decoder(str(folder)).module.config.layers
  assert [bool(kind.window) for kind in layers] == [True, True, False] * 2 + [True]


def test_the_rotations_of_local_layers_in_gguf(tiny, tmp_path):
  change = lambda writer: writer.add_rope_freq_base_swa(5000.0)
  read = decoders.load_decoder(
    str(tiny_parts.write_gemma(tmp_path / 'x.gguf', tiny, change))
  )
  rotations = {bool(kind.window): kind.rotation for kind in read.module.config.kinds}
  assert rotations == {base == 5e3: rotary.unscaled(base, 8) for base in (5e3, 1e6)}


@pytest.mark.assets
@pytest.mark.slow
def test_real_weights_equal_transformers(assets):
  """Downloads 238 MB; takes half a minute and 3.4 GB."""
  assets('gemma3-270m')
  decoder = decoders.load_decoder('gemma3-270m')
  reference = np.load(FOLDER / 'gemma3_reference.npz')
  params = jax.device_put(decoder.params)
  forward = jax.jit(decoder.module.apply)
  for number in range(4):
    tokens = reference[f'tokens_{number}']
    assert tokens[0] == decoder.module.start_token
    whole = np.concatenate([tokens, reference[f'written_{number}']])
    # One length for all, to compile once: what stands behind is never read.
    padded = np.pad(whole, (0, 48 - len(whole)))
    logits = np.asarray(forward({'params': params}, padded[None]))[0, : len(whole)]
    sample = logits[: len(tokens), :: int(reference['stride'])]
    np.testing.assert_allclose(sample, reference[f'logits_{number}'], atol=1e-3)
    best = logits.argmax(-1)
    np.testing.assert_array_equal(best[: len(tokens)], reference[f'best_{number}'])
    np.testing.assert_array_equal(best[len(tokens) - 1 : -1], whole[len(tokens) :])
