"""Weights in fewer bits, against the matrices they stand for."""

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
  assert made['embedder'] == PARAMS['embedder']


def test_everything_narrows():
  made = quantization.converted(PARAMS, 'bfloat16')
  assert {
    x.dtype.name for y in (made['embedder'], made['layers']['norm']) for x in y.values()
  } == {'bfloat16'}


def test_float32_stays():
  assert quantization.converted(PARAMS, 'float32') == PARAMS


def test_a_product_of_integers():
  kernel = np.random.default_rng(1).normal(size=(30, 5)).astype(np.float32)
  x = np.random.default_rng(2).normal(size=(7, 30)).astype(np.float32)
  found, scale = quantization.integers(kernel)
  made = Dense(5).apply({'params': {'kernel': found, 'kernel_scale': scale}}, x)
  np.testing.assert_allclose(made, x @ (found * scale), rtol=1e-4, atol=1e-4)
  assert np.abs(made - x @ kernel).max() < 0.2


def test_unknown():
  with pytest.raises(KeyError):
    quantization.converted(PARAMS, 'int3')
