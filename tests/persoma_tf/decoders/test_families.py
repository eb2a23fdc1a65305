"""All families against transformers, from Hugging Face folders and from GGUF.

benchmarks/record_family_references.py made the folders and recorded the logits.
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
from flax import traverse_util
from safetensors.numpy import load_file, save_file

from persoma_tf import decoders
from persoma_tf.decoders import stack
from persoma_tf.parameters import checkpoints, quantization
from tests import tiny

FOLDERS = pathlib.Path(__file__).parent / 'tiny_families'
NAMES = sorted(path.name for path in FOLDERS.iterdir())
# Those whose GGUF files can say what their folder says.
OF_GGUF = {
  'llama3': 'llama',
  'mistral_nemo': 'llama',
  'qwen2': 'qwen2',
  'qwen2_yarn': 'qwen2',
  'qwen3': 'qwen3',
  'smollm3': 'smollm3',
}
INTERLEAVED = ('llama', 'smollm3')
quick = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def reference(name):
  return np.load(FOLDERS / name / 'logits.npz')


def check_logits(decoder, name):
  assert decoder.module.start_token is None  # the folders have no tokenizer
  made = quick(decoder.module.apply)(
    {'params': decoder.params}, reference(name)['tokens']
  )
  np.testing.assert_allclose(made, reference(name)['logits'], atol=1e-3)
  assert np.abs(reference(name)['logits']).max() > 1


def without_start(decoder):
  """The decoder as transformers ran it: with no token before the text."""
  module = decoder.module
  config = dataclasses.replace(module.config, start_token=None)
  params = decoder.wide_params
  return decoder._replace(module=module.clone(config=config), params=params)


@functools.cache
def loaded(name):
  return without_start(decoders.load_decoder(str(FOLDERS / name)))


@pytest.mark.parametrize('name', NAMES)
def test_logits_equal_transformers(name):
  check_logits(loaded(name), name)


@pytest.mark.parametrize('name', NAMES)
def test_greedy_answers_from_a_cache_equal_transformers(name):
  """In unrolled layers, as answers are written; 12 tokens behind 6."""
  decoder, written = loaded(name), reference(name)['written']
  module, params = stack.unrolled(decoder.module, decoder.params)

  @quick
  def write(params, prompt):
    call = lambda method, *args: module.apply({'params': params}, *args, method=method)
    mask = jnp.ones(prompt.shape, bool)
    hidden, cache = call('prefill', call('embed', prompt), mask, 12)
    best = lambda hidden: jnp.argmax(call('logits', hidden), -1).astype(jnp.int32)

    def step(state, _):
      token, cache = state
      hidden, cache = call('step', token, cache)
      return (best(hidden), cache), token

    return jax.lax.scan(step, (best(hidden), cache), length=12)[1].T

  np.testing.assert_array_equal(write(params, written[:, :6]), written[:, 6:])


@pytest.mark.parametrize('name', ['llama3', 'qwen2_windows', 'gemma3'])
def test_padding_in_a_prefix_changes_nothing(name):
  """Neither positions nor windows count it."""
  decoder, tokens = loaded(name), reference(name)['tokens']

  @quick
  def read(params, prefix, mask, inputs):
    call = lambda method, *args: decoder.module.apply(
      {'params': params}, *args, method=method
    )
    return call('target_hidden', call('embed', prefix), mask, inputs)

  inputs = np.pad(tokens[:, 12:], ((0, 0), (1, 0)))
  expected = read(decoder.params, tokens[:, :12], np.ones((2, 12), bool), inputs)
  wide = np.insert(tokens[:, :12], [0, 5, 5, 12], 9, axis=1)
  mask = np.insert(np.ones((2, 12), bool), [0, 5, 5, 12], False, axis=1)
  found = read(decoder.params, wide, mask, inputs)
  np.testing.assert_allclose(found, expected, atol=1e-4)


def old_words(config):
  """A config.json in the words of transformers 4."""
  rope = config.pop('rope_parameters')
  config.pop('layer_types', None)
  if 'full_attention' in rope:
    base = lambda kind: rope[kind]['rope_theta']
    config['rope_local_base_freq'] = base('sliding_attention')
    config['sliding_window_pattern'] = 3
    rope = rope['full_attention']
  config['rope_theta'] = rope.pop('rope_theta')
  scaled = rope['rope_type'] != 'default'
  config['rope_scaling'] = rope if scaled else None
  return config


def rewritten(folder, name, change, rename=lambda tensor: tensor, more=()):
  """A copy of a model with another config.json and other names of tensors."""
  shutil.copytree(FOLDERS / name, folder)
  config = json.loads((folder / 'config.json').read_text())
  (folder / 'config.json').write_text(json.dumps(change(config)))
  tensors = load_file(folder / 'model.safetensors')
  tensors = {rename(name): values for name, values in tensors.items()} | dict(more)
  save_file(tensors, folder / 'model.safetensors')
  return str(folder)


@pytest.mark.parametrize('name', NAMES)
def test_older_configurations_say_the_same(name, tmp_path):
  if name == 'mistral_nemo':  # as it is published: no window at all
    change = lambda config: old_words(config) | {'sliding_window': None}
  else:
    change = old_words
  found = decoders.load_decoder(rewritten(tmp_path / 'old', name, change))
  assert without_start(found).module == loaded(name).module


@pytest.mark.parametrize(
  'body', ['language_model.model.', 'model.language_model.'], ids=['v4', 'v5']
)
def test_the_text_part_of_a_model_with_images(body, tmp_path):
  """As published: what transformers takes as given is left out."""
  change = lambda config: {
    'model_type': 'gemma3',
    'bos_token_id': 2,
    'text_config': {k: x for k, x in config.items() if k != 'rms_norm_eps'},
    'vision_config': {'hidden_size': 8},
  }
  rename = lambda name: name.replace('model.', body, 1)
  images = {'vision_tower.embed.weight': np.ones((3, 4), np.float32)}
  folder = rewritten(tmp_path / 'whole', 'gemma3', change, rename, images)
  found = without_start(decoders.load_decoder(folder))
  assert found.module == loaded('gemma3').module
  check_logits(found, 'gemma3')


def write_gguf(path, name, architecture):
  """A model's GGUF file: names by the package gguf, order of rows as llama.cpp's."""
  config = json.loads((FOLDERS / name / 'config.json').read_text())
  layers, heads = config['num_hidden_layers'], config['num_attention_heads']
  writer = gguf.GGUFWriter(str(path), architecture)
  writer.add_block_count(layers)
  writer.add_context_length(config['max_position_embeddings'])
  writer.add_embedding_length(config['hidden_size'])
  writer.add_feed_forward_length(config['intermediate_size'])
  writer.add_head_count(heads)
  writer.add_head_count_kv(config['num_key_value_heads'])
  writer.add_layer_norm_rms_eps(config['rms_norm_eps'])
  if 'head_dim' in config:
    writer.add_key_length(config['head_dim'])
    writer.add_value_length(config['head_dim'])
    writer.add_rope_dimension_count(config['head_dim'])
  rope = config['rope_parameters']
  writer.add_rope_freq_base(rope['rope_theta'])
  if rope['rope_type'] == 'yarn':
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(rope['factor'])
    writer.add_rope_scaling_orig_ctx_len(rope['original_max_position_embeddings'])
  if rope['rope_type'] == 'llama3':
    writer.add_tensor('rope_freqs.weight', llama3_factors(rope, 6))
  known = gguf.get_tensor_name_map(
    next(key for key, x in gguf.MODEL_ARCH_NAMES.items() if x == architecture), layers
  )
  for theirs, values in load_file(FOLDERS / name / 'model.safetensors').items():
    values = values.astype(np.float32)
    if architecture in INTERLEAVED and theirs.endswith(
      ('q_proj.weight', 'k_proj.weight')
    ):
      count = heads if 'q_proj' in theirs else config['num_key_value_heads']
      pairs = values.reshape(count, 2, len(values) // count // 2, -1)
      values = np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(values.shape))
    writer.add_tensor(known.get_name(theirs, ('.weight', '.bias')), values)
  tiny.finish(writer)
  return str(path)


def llama3_factors(rope, head_dim):
  """As llama.cpp's converter computes rope_freqs."""
  low = rope['original_max_position_embeddings'] / rope['low_freq_factor']
  high = rope['original_max_position_embeddings'] / rope['high_freq_factor']
  factors = []
  for place in range(0, head_dim, 2):
    length = 2 * np.pi * rope['rope_theta'] ** (place / head_dim)
    turns = rope['original_max_position_embeddings'] / length
    smooth = (turns - rope['low_freq_factor']) / (
      rope['high_freq_factor'] - rope['low_freq_factor']
    )
    between = 1 / ((1 - smooth) / rope['factor'] + smooth)
    factors.append(
      1.0 if length < high else rope['factor'] if length > low else between
    )
  return np.array(factors, np.float32)


@pytest.mark.parametrize('name', OF_GGUF)
def test_gguf_files_equal_transformers(name, tmp_path):
  decoder = decoders.load_decoder(write_gguf(tmp_path / 'x.gguf', name, OF_GGUF[name]))
  check_logits(without_start(decoder), name)
  jax.tree.map(np.testing.assert_array_equal, decoder.params, loaded(name).params)


def test_matrices_keep_the_type_of_the_file():
  """Half the memory on the host; what is computed is the same."""
  decoder = decoders.load_decoder(str(FOLDERS / 'qwen2_yarn'))
  flat = traverse_util.flatten_dict(decoder.params, sep='/')
  for path, x in flat.items():
    is_matrix = path.endswith(('kernel', 'embedding'))
    # Biases are stacked over the layers, too, and are added, not multiplied.
    assert x.dtype == (np.float16 if is_matrix else np.float32), path
  wide = decoder.wide_params
  assert checkpoints.fingerprint(decoder.params) == checkpoints.fingerprint(wide)
  for kind in ('float32', 'bfloat16', 'int8'):
    jax.tree.map(
      np.testing.assert_array_equal,
      quantization.converted(decoder.params, kind),
      quantization.converted(wide, kind),
    )
