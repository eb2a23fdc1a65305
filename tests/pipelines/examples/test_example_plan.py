"""Splits of examples, and the files that they are in."""

import numpy as np

from pipelines.examples.example_plan import Examples, ExampleSplit


def test_times():
  split = ExampleSplit('time', (100, 200))
  assert split.of_times(np.array([5, 99, 100, 199, 200, 900])).tolist() == (
    [0, 0, 1, 1, 2, 2]
  )


def test_files():
  by_user, by_time = Examples(), Examples(split=ExampleSplit('time', (1, 2)))
  shard = 'train-00001-of-00003'
  assert by_user.file_names(shard) == {'train': shard}
  assert by_time.file_names(shard) == {
    'train': shard,
    'validation': 'validation-00001-of-00003',
    'test': 'test-00001-of-00003',
  }
  assert by_time.file_names('test-00000-of-00001') == {}
