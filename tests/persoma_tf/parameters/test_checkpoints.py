"""Checkpoints in T5X's layout, adapters on their own, strict restores."""

import json

import numpy as np
import orbax.checkpoint as ocp
import pytest

from persoma_tf.parameters import checkpoints

PARAMS = {
  'adapter': {'w': np.arange(6, dtype=np.float32).reshape(2, 3), 's': np.float32(3)},
  'decoder': {'e': np.ones((4, 2), np.float32)},
}


def test_save_and_load(tmp_path):
  manager = checkpoints.manager(str(tmp_path))
  state = ({'m': np.ones(3, np.float32)}, np.int32(5))
  checkpoints.save(manager, 10, PARAMS, state)
  checkpoints.save(manager, 20, PARAMS, state)
  assert [path.name for path in tmp_path.glob('checkpoint_*')] == ['checkpoint_20']
  assert checkpoints.latest(str(tmp_path)) == str(tmp_path / 'checkpoint_20')
  loaded = checkpoints.load_params(checkpoints.latest(str(tmp_path)))
  checkpoints.check_same(PARAMS, loaded, 'it')
  np.testing.assert_array_equal(loaded['adapter']['w'], PARAMS['adapter']['w'])
  like = ({'m': np.zeros(3, np.float32)}, np.int32(0))
  restored = checkpoints.load_optimizer(checkpoints.latest(str(tmp_path)), like)
  np.testing.assert_array_equal(restored[0]['m'], np.ones(3))
  assert restored[1] == 5
  with pytest.raises(ValueError, match='does not fit this run'):
    checkpoints.load_optimizer(checkpoints.latest(str(tmp_path)), like[0]['m'][:2])


def test_layout_is_that_of_t5x(tmp_path):
  checkpoints.save(checkpoints.manager(str(tmp_path)), 3, PARAMS, ())
  with ocp.PyTreeCheckpointer() as reader:
    tree = reader.restore(tmp_path / 'checkpoint_3' / 'state')
  assert tree.keys() == {'target', 'state'}
  assert tree['state']['step'] == 3


def test_nothing_there(tmp_path):
  with pytest.raises(FileNotFoundError, match='no checkpoint_<step>'):
    checkpoints.latest(str(tmp_path))
  with pytest.raises(FileNotFoundError, match='no Orbax state/'):
    checkpoints.load_params(str(tmp_path / 'checkpoint_1'))


def test_differences_are_named():
  other = {'adapter': {'w': np.ones((2, 4)), 'new': np.ones(1)}}
  with pytest.raises(ValueError, match=r'decoder/e.*adapter/new.*adapter/w'):
    checkpoints.check_same(PARAMS, other, 'it')


def test_adapter_alone(tmp_path):
  flat = {'adapter/w': PARAMS['adapter']['w'], 'adapter/s': PARAMS['adapter']['s']}
  sha256 = checkpoints.fingerprint(PARAMS['decoder'])
  folder = checkpoints.save_adapter(str(tmp_path), flat, {'decoder_sha256': sha256})
  loaded = checkpoints.load_adapter(str(folder), sha256)
  assert loaded['adapter/s'].shape == ()
  np.testing.assert_array_equal(loaded['adapter/w'], flat['adapter/w'])
  manifest = json.loads((folder / 'manifest.json').read_text())
  assert manifest['parameters'] == {'adapter/w': [2, 3], 'adapter/s': []}
  with pytest.raises(ValueError, match='trained with the decoder of sha256'):
    checkpoints.load_adapter(str(folder), '0' * 64)


def test_fingerprint_sees_every_bit():
  changed = {'e': PARAMS['decoder']['e'].copy()}
  before = checkpoints.fingerprint(changed)
  assert before == checkpoints.fingerprint(PARAMS['decoder'])
  changed['e'][1, 1] = np.nextafter(np.float32(1), np.float32(2))
  assert before != checkpoints.fingerprint(changed)
