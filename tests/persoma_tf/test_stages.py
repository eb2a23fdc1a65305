"""Stages, optimizer and checkpoints in time."""

import jax
import numpy as np

from persoma_tf.stages import Stage, make_optimizer, segments


def test_segments():
  first, second = Stage('a', 5, 1, 0.1), Stage('b', 2, 1, 0.1)
  cut = segments([first, second], 2)
  assert [(x.begin, x.end, x.stage.name, x.opens_stage) for x in cut] == [
    (0, 2, 'a', True),
    (2, 4, 'a', False),
    (4, 5, 'a', False),
    (5, 7, 'b', True),
  ]


def test_optimizer_decays_matrices_only():
  optimizer = make_optimizer(Stage('a', 10, 1, 0.1, warmup_steps=0))
  params = {'matrix': np.ones((2, 2), np.float32), 'bias': np.ones(2, np.float32)}
  state = optimizer.init(params)
  zeros = jax.tree.map(np.zeros_like, params)
  updates, _ = optimizer.update(zeros, state, params)
  np.testing.assert_allclose(updates['matrix'], -0.1 * 0.01, rtol=1e-5)
  assert not np.any(updates['bias'])
