"""Weights in fewer bits, against the matrices they stand for."""

import jax
import ml_dtypes
import numpy as np
import pytest

from persoma_tf.parameters import quantization
from persoma_tf.parameters.lora import Dense

PARAMS = {
  'embedder': {'embedding': np.ones((4, 3), np.float32)},
  'layers': {
    'gate': {'kernel': np.random.default_rng(0).normal(size=(2, 3, 5))},
    'norm': {'scale': np.ones((2, 3), np.float32)},
  },
}


def test_integers_are_nearest():
  kernel = np.random.default_rng(0).normal(size=(2, 30, 5)).astype(np.float32)
  kernel[0, :, 0] = 0
  found, scale = quantization.integers(kernel)
  assert (found.dtype, found.shape, scale.shape) == (np.int8, kernel.shape, (2, 5))
  error = np.abs(found * scale[:, None] - kernel)
  assert (error <= scale[:, None] / 2 + 1e-7).all()
  assert np.abs(found).max(axis=1).ravel().tolist() == [0] + [127] * 9


def test_only_matrices_of_layers_become_integers():
  made = quantization.converted(PARAMS, 'int8')
  assert made['layers']['gate'].keys() == {'kernel', 'kernel_scale'}
  assert made['layers']['gate']['kernel'].dtype == np.int8
  assert made['layers']['norm'] == PARAMS['layers']['norm']
  assert made['embedder']['embedding'].dtype == ml_dtypes.bfloat16


def test_matrices_are_rounded():
  made = quantization.converted(PARAMS, 'bfloat16')
  assert made['layers']['norm'] == PARAMS['layers']['norm']
  for x in (made['embedder']['embedding'], made['layers']['gate']['kernel']):
    assert x.dtype == ml_dtypes.bfloat16


def test_float32_stays():
  """No matrix is copied."""
  params = jax.tree.map(np.float32, PARAMS)
  found = quantization.converted(params, 'float32')
  assert all(jax.tree.leaves(jax.tree.map(lambda x, y: x is y, found, params)))


def test_a_product_of_integers():
  kernel = np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32)
  x = np.random.default_rng(2).normal(size=(7, 30)).astype(np.float32)
  found, scale = quantization.integers(kernel)
  made = Dense(5).apply({'params': {'kernel': found, 'kernel_scale': scale}}, x)
  # bfloat16 holds the integers exactly; x is rounded to it.
  error = np.abs(made - x @ (found * scale))
  assert (error <= (2.0**-8 + 1e-6) * (np.abs(x) @ np.abs(found * scale))).all()
  assert np.abs(made - x @ kernel).max() < 0.2


def test_operands_of_a_training():
  """The adapter and LoRA stay; stacked matrices become bits, which Dense reads."""
  rng = np.random.default_rng(0)
  flat = {
    path: rng.normal(size=shape).astype(np.float32)
    for path, shape in {
      'adapter/kernel': (3, 4, 5),
      'decoder/embedder/embedding': (7, 4),
      'decoder/layers/gate/kernel': (3, 4, 5),
      'decoder/layers/gate/lora_a': (3, 4, 2),
      'decoder/layers/gate/lora_scale': (3,),
      'decoder/layers/norm/scale': (3, 4),
      'decoder/output/kernel': (4, 7),
    }.items()
  }
  frozen = quantization.frozen_operands(flat, 'bfloat16')
  trained = quantization.trained_operands(flat, 'bfloat16')
  for path, x in flat.items():
    if path.startswith('adapter') or not path.endswith(('kernel', 'embedding')):
      assert frozen[path] is x
      assert trained[path] is x
    elif path.endswith('embedding'):  # its gradient is a sum over many places
      assert frozen[path].dtype == ml_dtypes.bfloat16
      assert trained[path] is x
    else:
      expected = x.astype(ml_dtypes.bfloat16)
      bits = path == 'decoder/layers/gate/kernel'
      assert frozen[path].dtype == (np.uint16 if bits else ml_dtypes.bfloat16)
      np.testing.assert_array_equal(frozen[path].view(expected.dtype), expected)
      np.testing.assert_array_equal(trained[path], expected)
  kept = quantization.frozen_operands(flat, 'float32')
  assert all(kept[path] is x for path, x in flat.items())
  name, x = 'decoder/layers/gate/kernel', rng.normal(size=(2, 4)).astype(np.float32)
  made = [
    Dense(5).apply({'params': {'kernel': kernel}}, x)
    for kernel in (frozen[name][0], trained[name][0])
  ]
  np.testing.assert_array_equal(*made)


def test_unknown():
  with pytest.raises(KeyError):
    quantization.converted(PARAMS, 'int3')


@pytest.mark.parametrize('weights', ['bfloat16', 'int8'])
def test_updates_of_lora_are_not_rounded_away(weights):
  """An update that is smaller than half of the last digit of every weight."""
  rng = np.random.default_rng(0)
  kernel = np.ones((30, 5), np.float32)
  x = rng.normal(size=(7, 30)).astype(np.float32)
  update = {
    'lora_a': rng.normal(size=(30, 2)).astype(np.float32),
    'lora_b': rng.normal(size=(2, 5)).astype(np.float32),
    'lora_scale': np.float32(2.0**-12),
  }
  params = {'layers_0': {'gate': {'kernel': kernel, **update}}}
  made = quantization.converted(params, weights)['layers_0']['gate']
  without = {name: value for name, value in made.items() if 'lora' not in name}
  call = lambda params: Dense(5).apply({'params': params}, x)
  wanted = x @ update['lora_a'] @ update['lora_b'] * update['lora_scale']
  np.testing.assert_allclose(call(made) - call(without), wanted, atol=1e-5)
  assert np.abs(wanted).max() > 1e-3
