"""The Example wire format against TensorFlow, with many and with damaged messages."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from pipelines.transforms import tf_example


def test_equals_tensorflow_byte_by_byte():
  """TensorFlow writes the features in the same order when it is asked to."""
  rng = np.random.default_rng(0)
  for size in (1, 3, 200):
    numbers = rng.integers(-(2**63), 2**63 - 1, size) >> rng.integers(0, 64, size)
    floats = rng.normal(size=size).astype(np.float32)
    texts = [rng.bytes(length) for length in range(size)]
    example = tf.train.Example()
    feature = example.features.feature
    feature['a'].int64_list.value.extend(numbers.tolist())
    feature['b'].float_list.value.extend(floats.tolist())
    feature['c'].bytes_list.value.extend(texts)
    fields = {
      'c': ('bytes', texts),
      'a': ('int64', numbers),
      'b': ('float', floats),
    }
    made = tf_example.encode(fields)
    assert made == example.SerializeToString(deterministic=True)
    read = tf_example.decode(made)
    np.testing.assert_array_equal(read['a'], numbers)
    np.testing.assert_array_equal(read['b'], floats)
    assert read['c'] == texts


def test_packed_lists():
  values = np.array([0, 1, 127, 128, 300, 2**35, -1, 2**63 - 1])
  splits = np.array([0, 0, 3, 5, 8, 8])
  lists = tf_example.packed_varints(values, splits)
  assert lists[0] == lists[4] == b''
  whole = {'x': ('int64', b''.join(lists))}
  np.testing.assert_array_equal(
    tf_example.decode(tf_example.encode(whole))['x'], values
  )


def test_every_cut_is_an_error():
  data = tf_example.encode({'x': ('int64', [1, 300]), 'y': ('bytes', [b'abc'])})
  for size in range(1, len(data)):
    with pytest.raises(ValueError, match='cut off'):
      tf_example.decode(data[:size])


def test_damage_is_a_value_error_if_any():
  data = tf_example.encode(
    {'x': ('int64', [1, 300]), 'y': ('bytes', [b'abc']), 'z': ('float', [1.0, 2.0])}
  )
  rng = np.random.default_rng(0)
  for _ in range(2000):
    broken = bytearray(data)
    broken[rng.integers(len(data))] = rng.integers(256)
    with contextlib.suppress(ValueError):
      tf_example.decode(bytes(broken))
