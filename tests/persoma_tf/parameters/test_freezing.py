"""Patterns that decide what trains."""

import numpy as np
import pytest

from persoma_tf.parameters import freezing

PARAMS = {
  'adapter': {'a': np.ones(2), 'b': {'c': np.ones((3, 4))}},
  'decoder': {'a': np.ones(100)},
}


def test_split_and_merge():
  trained, frozen = freezing.split_params(PARAMS, ['adapter/.*'])
  assert trained.keys() == {'adapter/a', 'adapter/b/c'}
  assert frozen.keys() == {'decoder/a'}
  assert freezing.join_params(trained, frozen)['adapter']['b']['c'].shape == (3, 4)


def test_patterns_match_whole_paths():
  assert freezing.split_params(PARAMS, ['adapter/a', '.*/c'])[0].keys() == {
    'adapter/a',
    'adapter/b/c',
  }
  with pytest.raises(ValueError, match="'adapter' matches no parameter"):
    freezing.split_params(PARAMS, ['.*', 'adapter'])


def test_overlay():
  made = freezing.overlay(PARAMS, {'decoder/a': np.zeros(1), 'new/x': np.ones(1)})
  assert made['decoder']['a'].shape == (1,)
  assert made['new']['x'].shape == (1,)
  assert made['adapter']['a'].shape == (2,)


def test_describe():
  line = freezing.describe_trainable(*freezing.split_params(PARAMS, ['adapter/.*']))
  assert line == 'trainable 14 of 114 parameters (12.28 %)'
