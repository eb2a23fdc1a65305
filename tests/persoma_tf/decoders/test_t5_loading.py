"""T5 from Hugging Face folders and from T5X checkpoints in both of their layouts."""

import dataclasses
import json
import pathlib
import shutil

import ml_dtypes
import numpy as np
import pytest
import tensorstore
from flax import serialization, traverse_util
from safetensors import numpy as safetensors

from persoma_tf import decoders
from persoma_tf.parameters import checkpoints
from tests.persoma_tf.decoders import t5_weights

MODELS = pathlib.Path(__file__).parent / 'tiny_t5'
_EMBED = 'token_embedder/embedding'
_NORM = 'encoder/encoder_norm/scale'
_QUERY = 'decoder/layers_2/encoder_decoder_attention/query/kernel'


def flat(params):
  """Parameter path -> array."""
  return traverse_util.flatten_dict(params, sep='/')


def assert_same(found, expected):
  """Equal names, shapes and bits."""
  assert checkpoints.fingerprint(found) == checkpoints.fingerprint(expected)


@pytest.fixture(scope='module', params=['v1_0', 'v1_1'])
def params(request):
  """Parameters of a small model; its kind is told by them."""
  return decoders.load_decoder(str(MODELS / request.param)).params


@pytest.fixture
def folder(tmp_path):
  """(path, config, tensors) of T5 1.0 as transformers 4 stored it, and a rewrite."""
  config, tensors = dict(t5_weights.TINY_V1_0), t5_weights.weights(t5_weights.TINY_V1_0)

  def write():
    (tmp_path / 'config.json').write_text(json.dumps(config))
    safetensors.save_file(tensors, tmp_path / 'model.safetensors')
    return decoders.load_decoder(str(tmp_path))

  return config, tensors, write


def write_legacy(folder, params, dtype='float32', driver='file', small=()):
  """A `checkpoint_<step>` as T5X wrote them before Orbax.

  Args:
    folder: to make.
    params: the tree under 'target'.
    dtype: of the stored arrays.
    driver: what the file names as the place; paths are relative everywhere.
    small: parameters that stand in the file itself, as those do that T5X's
      partitioning rules do not name.
  """
  target = {}
  for path, x in flat(params).items():
    if path in small:
      target[path] = x
      continue
    name = f'target.{path.replace("/", ".")}'
    kvstore = {'driver': 'file', 'path': f'{folder / name}/'}
    chunks = [*x.shape[:-1], -(-x.shape[-1] // 2)]
    metadata = {'compressor': {'id': 'gzip'}, 'shape': x.shape, 'chunks': chunks}
    spec = {'driver': 'zarr', 'dtype': dtype, 'metadata': metadata}
    store = tensorstore.open(spec | {'kvstore': kvstore}, create=True).result()
    short = x.astype(ml_dtypes.bfloat16)
    stored = {
      'int8': x.astype(np.int8),
      'float32': x,
      'bfloat16': short,
      'uint16': short.view(np.uint16),
    }
    store.write(stored[dtype]).result()
    described = store.spec().to_json()
    target[path] = described | {'kvstore': {'driver': driver, 'path': name}}
  tree = traverse_util.unflatten_dict(target, sep='/')
  state = {'step': np.int32(7), 'param_states': {}}
  contents = {'version': 3, 'optimizer': {'target': tree, 'state': state}}
  (folder / 'checkpoint').write_bytes(serialization.msgpack_serialize(contents))
  return contents


def test_transformers_4_and_5_say_untied_in_two_ways(tmp_path):
  """The weights of the folder that transformers 5 stored, in the form of 4."""
  decoder = decoders.load_decoder(str(t5_weights.write(tmp_path, t5_weights.TINY_V1_1)))
  stored = decoders.load_decoder(str(MODELS / 'v1_1'))
  new = json.loads((MODELS / 'v1_1' / 'config.json').read_text())
  assert new['tie_word_embeddings'] is True
  assert t5_weights.TINY_V1_1['tie_word_embeddings'] is False
  assert decoder.module.config == stored.module.config
  assert not stored.module.config.tied
  assert_same(decoder.params, stored.params)


def test_copies_are_read_only_where_they_agree(folder):
  _, tensors, write = folder
  expected = write()
  assert expected.module.config.tied
  unused = 'decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight'
  tensors[unused] = np.ones((8, 3), np.float32)
  for name in ('encoder.embed_tokens', 'decoder.embed_tokens', 'lm_head'):
    tensors[f'{name}.weight'] = tensors['shared.weight'].copy()
  assert_same(write().params, expected.params)
  tensors['lm_head.weight'][3, 4] += 1
  with pytest.raises(ValueError, match=r'lm_head\.weight differs from shared\.weight'):
    write()


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'feed_forward_proj': 'gated-silu'}, "expected 'relu' or 'gated-gelu'"),
    ({'dense_act_fn': 'gelu'}, "dense_act_fn='gelu'; expected 'relu' or 'gelu_new'"),
    ({'decoder_start_token_id': 5}, 'decoder_start_token_id=5; expected 0'),
    ({'quantization_config': {'load_in_8bit': True}}, 'quantization_config=.*GGUF'),
    ({'d_ff': None}, r'config\.json: no field d_ff'),
    ({'model_type': 'mt5'}, "='mt5'; expected 'llama' or .* or 't5'"),
    ({'num_layers': 3}, r"no tensor 'encoder\.block\.2\."),
    ({'num_layers': 1}, r'unknown tensors.*encoder\.block\.1\.layer\.0'),
    ({'feed_forward_proj': 'gated-gelu'}, r'unknown tensors.*DenseReluDense\.wi\.'),
    ({'tie_word_embeddings': False}, r"no tensor 'lm_head\.weight'"),
    ({'d_kv': 4}, r'misshapen.*attention/key/kernel \(20, 24\) instead of \(20, 12\)'),
    ({'vocab_size': 61}, r'misshapen.*embedding \(60, 20\) instead of \(61, 20\)'),
  ],
)
def test_other_models_are_refused(folder, changes, message):
  config, _, write = folder
  config.update(changes)
  with pytest.raises(ValueError, match=message):
    write()


def test_orbax_checkpoint(tmp_path, params):
  """As our trainer and T5X write it."""
  checkpoints.save(checkpoints.manager(str(tmp_path)), 7, params, ())
  decoder = decoders.load_decoder(str(tmp_path / 'checkpoint_7'))
  assert_same(decoder.params, params)
  assert decoder.width == 20
  assert decoder.vocab_size == 60


@pytest.mark.parametrize('driver', ['file', 'gfile', 'gcs'])
def test_legacy_checkpoint(tmp_path, params, driver):
  write_legacy(tmp_path, params, driver=driver, small=(_NORM,))
  decoder = decoders.load_decoder(str(tmp_path))
  assert_same(decoder.params, params)
  assert (tmp_path / f'target.{_QUERY.replace("/", ".")}' / '.zarray').exists()
  assert not (tmp_path / f'target.{_NORM.replace("/", ".")}').exists()


def test_legacy_checkpoint_in_bfloat16(tmp_path, params):
  write_legacy(tmp_path, params, dtype='bfloat16')
  decoder = decoders.load_decoder(str(tmp_path))
  rounded = {
    path: x.astype(ml_dtypes.bfloat16).astype(np.float32)
    for path, x in flat(params).items()
  }
  assert_same(decoder.params, traverse_util.unflatten_dict(rounded, sep='/'))


def test_a_checkpoint_of_whole_numbers_is_refused(tmp_path, params):
  write_legacy(tmp_path, params, dtype='int8')
  message = r'parameter .* has dtype int8; expected one of'
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(str(tmp_path))


@pytest.mark.parametrize('name', ['v1_0', 'v1_1'])
def test_a_checkpoint_tells_the_shape_of_its_model(tmp_path, name):
  expected = decoders.load_decoder(str(MODELS / name))
  write_legacy(tmp_path, expected.params)
  config = decoders.load_decoder(str(tmp_path)).module.config
  assert config == dataclasses.replace(expected.module.config, max_distance=128)
  assert (config.tied, config.gated) == (name == 'v1_0', name == 'v1_1')


@pytest.mark.parametrize('layout', ['orbax', 'legacy'])
@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({_QUERY: None}, f"missing .'{_QUERY}'"),
    ({_EMBED: None}, f'{_EMBED} is missing'),
    (
      {'encoder/layers_0/bias': np.ones(1, np.float32)},
      "unknown .'encoder/layers_0/bias'",
    ),
    ({_QUERY: np.ones((20, 25), np.float32)}, rf'misshapen .*{_QUERY} \(20, 25\)'),
  ],
)
def test_checkpoints_of_other_models_are_refused(
  tmp_path, params, layout, change, message
):
  changed = {k: x for k, x in {**flat(params), **change}.items() if x is not None}
  changed = traverse_util.unflatten_dict(changed, sep='/')
  if layout == 'orbax':
    checkpoints.save(checkpoints.manager(str(tmp_path)), 7, changed, ())
  else:
    (tmp_path / 'checkpoint_7').mkdir()
    write_legacy(tmp_path / 'checkpoint_7', changed)
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(str(tmp_path / 'checkpoint_7'))


def test_broken_legacy_checkpoints(tmp_path, params):
  contents = write_legacy(tmp_path, params)
  array = tmp_path / f'target.{_QUERY.replace("/", ".")}'
  assert {x.name for x in array.iterdir()} == {'.zarray', '0.0', '0.1'}
  (array / '0.1').unlink()
  message = f'cannot read parameter {_QUERY}: 1 chunks in its folder; expected 2'
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(str(tmp_path))
  shutil.rmtree(array)
  with pytest.raises(ValueError, match=f'cannot read parameter {_QUERY}'):
    decoders.load_decoder(str(tmp_path))
  contents['version'] = 1
  (tmp_path / 'checkpoint').write_bytes(serialization.msgpack_serialize(contents))
  with pytest.raises(ValueError, match='version=1; expected 2 or 3'):
    decoders.load_decoder(str(tmp_path))


def test_bfloat16_of_long_ago_is_refused(tmp_path, params):
  write_legacy(tmp_path, params, dtype='uint16')
  with pytest.raises(ValueError, match='uint16, in which T5X stored bfloat16'):
    decoders.load_decoder(str(tmp_path))
