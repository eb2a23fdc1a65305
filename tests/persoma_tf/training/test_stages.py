"""Stages, schedules, optimizer, accumulation, and checkpoints in time."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from persoma_tf.adapters.perceiver import Perceiver
from persoma_tf.parameters import freezing, quantization
from persoma_tf.soft_prompt import LinearReadout, SoftPrompt
from persoma_tf.training.stages import (
  Stage,
  make_optimizer,
  make_schedule,
  make_steps,
  segments,
)
from tests.persoma_tf import small_model


def test_segments():
  first, second = Stage('a', 5, 1, 0.1), Stage('b', 2, 1, 0.1)
  cut = segments([first, second], 2)
  assert [(x.begin, x.end, x.stage.name, x.start, x.stop) for x in cut] == [
    (0, 2, 'a', 0, 5),
    (2, 4, 'a', 0, 5),
    (4, 5, 'a', 0, 5),
    (5, 7, 'b', 5, 7),
  ]


@pytest.mark.parametrize('weight', ['category_weight', 'value_weight'])
def test_supervised_items_need_a_prediction(weight):
  adapter = SoftPrompt(Perceiver(), LinearReadout(), width=4)
  stage = Stage('a', 5, 1, 0.1, **{weight: 0.5})
  with pytest.raises(ValueError, match=r'a/Stage\.category_weight and value_weight'):
    stage.check_adapter(adapter)
  stage.check_adapter(adapter.clone(num_categories=3))
  Stage('a', 5, 1, 0.1).check_adapter(adapter)


@pytest.mark.parametrize(
  ('schedule', 'middle', 'last'),
  [('cosine', 0.51, 0.02), ('linear', 0.51, 0.02), ('constant', 1, 1)],
)
def test_schedule(schedule, middle, last):
  rate = make_schedule(Stage('a', 110, 1, 3.0, schedule=schedule, warmup_steps=10))
  steps = [rate(step) / 3 for step in (0, 4, 9, 10, 60, 110)]
  np.testing.assert_allclose(steps, [0.1, 0.5, 1, 1, middle, last], atol=1e-6)


def test_no_warmup():
  rate = make_schedule(Stage('a', 10, 1, 3.0, schedule='constant', warmup_steps=0))
  assert [float(rate(step)) for step in (0, 9)] == [3, 3]


def test_settings_that_cannot_work():
  with pytest.raises(ValueError, match=r"a/Stage.schedule='cos': expected cosine"):
    Stage('a', 1, 1, 0.1, schedule='cos')
  with pytest.raises(ValueError, match=r'a/Stage\.steps=0: expected at least 1'):
    Stage('a', 0, 1, 0.1)
  with pytest.raises(ValueError, match='accumulate=3 does not divide batch_size=8'):
    Stage('a', 1, 8, 0.1, accumulate=3)
  with pytest.raises(ValueError, match=r"a/Stage.group_by='words': expected one of"):
    Stage('a', 1, 8, 0.1, group_by='words')


def test_optimizer_decays_matrices_only():
  optimizer = make_optimizer(Stage('a', 10, 1, 0.1, warmup_steps=0))
  shapes = {'x/kernel': (2, 2), 'x/bias': (2,), 'layers/norm/scale': (3, 2)}
  params = {path: np.ones(shape, np.float32) for path, shape in shapes.items()}
  state = optimizer.init(params)
  zeros = jax.tree.map(np.zeros_like, params)
  updates, _ = optimizer.update(zeros, state, params)
  np.testing.assert_allclose(updates['x/kernel'], -0.1 * 0.01, rtol=1e-5)
  assert not np.any(updates['x/bias'])
  assert not np.any(updates['layers/norm/scale'])


STAGE = Stage('a', 10, 4, 1e-2, warmup_steps=0, slot_weight=0.5, statistics_weight=2.0)


@functools.cache
def moved(stage, dtype='float32'):
  """(trainable parameters, metrics) after one update of the small model."""
  model, params, batch = small_model.make(batch_size=4)
  trainable, frozen = freezing.split_params(params, stage.trainable)
  frozen = quantization.frozen_operands(frozen, dtype)
  steps = make_steps(model, stage, dtype)
  state = steps.optimizer.init(trainable)
  trainable = jax.tree.map(jax.numpy.array, trainable)
  trainable, _, metrics = steps.update(trainable, state, frozen, batch)
  return trainable, metrics


def test_accumulated_parts_are_the_whole_batch():
  """Also where the parts have different numbers of target tokens."""
  whole, metrics = moved(STAGE)
  parts, again = moved(dataclasses.replace(STAGE, accumulate=2))
  for name, value in metrics.items():
    np.testing.assert_allclose(again[name], value, rtol=1e-5)
  for path, x in whole.items():
    # Adam's first step is the sign of the gradient, where that is not near zero.
    close = np.isclose(parts[path], x, atol=1e-4)
    assert close.mean() > 0.99, path


def test_bfloat16_is_near_float32():
  _, exact = moved(STAGE)
  _, rounded = moved(STAGE, 'bfloat16')
  np.testing.assert_allclose(rounded['loss'], exact['loss'], rtol=1e-2)
  assert rounded['lm_loss'] != exact['lm_loss']


def test_stacks_of_weights_stay_narrow():
  """XLA must not widen a stack of all layers before it takes a layer out."""
  model, params, batch = small_model.make(batch_size=4)
  trainable, frozen = freezing.split_params(params, STAGE.trainable)
  shapes = {
    f'[{",".join(map(str, x.shape))}]'
    for path, x in frozen.items()
    if x.ndim == 3 and path.endswith('/kernel')
  }
  assert shapes
  state = make_steps(model, STAGE).optimizer.init(trainable)
  for dtype, is_wide in (('float32', True), ('bfloat16', False)):
    operands = quantization.frozen_operands(frozen, dtype)
    update = make_steps(model, STAGE, dtype).update
    text = update.lower(trainable, state, operands, batch).compile().as_text()
    assert any(f'f32{shape}' in text for shape in shapes) == is_wide


def test_evaluation_reports_what_the_update_does():
  model, params, batch = small_model.make(batch_size=4)
  trainable, frozen = freezing.split_params(params, STAGE.trainable)
  found = make_steps(model, STAGE).evaluate(trainable, frozen, batch)
  _, expected = moved(STAGE)
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-5)
