"""The Example wire format against TensorFlow, with many and with damaged messages."""

import contextlib

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from pipelines.common import arrow_bytes
from pipelines.histories import tf_example


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
    made = tf_example.encode_example_features(fields)
    assert made == example.SerializeToString(deterministic=True)
    read = tf_example.decode_example_features(made)
    np.testing.assert_array_equal(read['a'], numbers)
    np.testing.assert_array_equal(read['b'], floats)
    assert read['c'] == texts


def test_many_at_once_equal_one_by_one():
  rng = np.random.default_rng(0)
  values = rng.integers(-(2**63), 2**63 - 1, 900) >> rng.integers(0, 64, 900)
  splits = np.concatenate([[0, 0], np.sort(rng.integers(0, 901, 98)), [900]])
  floats = rng.normal(size=900).astype('<f4')
  texts = [[f'{"t" * n}é' for n in range(m % 4 * 50)] for m in range(100)]
  names = [f'u{n}' * n for n in range(100)]
  made = tf_example.encode_many_features(
    {
      'numbers': ('int64', tf_example.packed_varints(values, splits)),
      'floats': ('float', arrow_bytes.binary(floats.view(np.uint8), 4 * splits)),
      'texts': ('bytes', tf_example.text_lists(texts)),
      'a name': ('bytes', tf_example.single_texts(pa.array(names))),
    }
  )
  for row, record in enumerate(made.to_pylist()):
    within = slice(splits[row], splits[row + 1])
    assert record == tf_example.encode_example_features(
      {
        'a name': ('bytes', [names[row]]),
        'texts': ('bytes', texts[row]),
        'floats': ('float', floats[within]),
        'numbers': ('int64', values[within]),
      }
    )


def test_no_records():
  nothing = tf_example.packed_varints(np.zeros(0, np.int64), np.zeros(1, np.int64))
  assert len(tf_example.encode_many_features({'x': ('int64', nothing)})) == 0


def test_every_cut_is_an_error():
  data = tf_example.encode_example_features(
    {'x': ('int64', [1, 300]), 'y': ('bytes', [b'abc'])}
  )
  for size in range(1, len(data)):
    with pytest.raises(ValueError, match='cut off'):
      tf_example.decode_example_features(data[:size])


def test_damage_is_a_value_error_if_any():
  data = tf_example.encode_example_features(
    {'x': ('int64', [1, 300]), 'y': ('bytes', [b'abc']), 'z': ('float', [1.0, 2.0])}
  )
  rng = np.random.default_rng(0)
  for _ in range(2000):
    broken = bytearray(data)
    broken[rng.integers(len(data))] = rng.integers(256)
    with contextlib.suppress(ValueError):
      tf_example.decode_example_features(bytes(broken))
