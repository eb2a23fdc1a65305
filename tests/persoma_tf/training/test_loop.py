"""The loop on a small model: validation, best checkpoints, early ends, devices."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import traverse_util

from persoma_tf.parameters import checkpoints, freezing, lora
from persoma_tf.training.loop import Loop
from persoma_tf.training.stages import Stage, segments
from tests.persoma_tf import small_model

BATCH = 4


def run(folder, stages, *, validation=None, done=0, period=2, poison=None, params=None):
  """Trains the small model on one batch; `poison` is the step whose batch has a nan."""
  model, fresh, batch = small_model.make(BATCH)
  bad = batch | {'history_embeddings': batch['history_embeddings'] * np.nan}

  def data(stage, *steps):
    step = steps[-1]
    while True:
      step += 1
      yield bad if step == poison else batch

  loop = Loop(
    model,
    str(folder),
    trained_part=lambda params: traverse_util.flatten_dict(params, sep='/'),
    data=data,
    validation=(lambda stage: [validation or batch]) if validation != 'none' else None,
    log_period=1,
    dtype='float32',
  )
  return loop.run(params or fresh, segments(stages, period), done)


def rows(folder, key):
  """{step: value} of a metric in metrics.jsonl."""
  lines = map(json.loads, (pathlib.Path(folder) / 'metrics.jsonl').open())
  return {line['step']: line[key] for line in lines if key in line}


def steps_kept(folder):
  return sorted(checkpoints.manager(str(folder), keep=None).all_steps())


def assert_same(first, second):
  jax.tree.map(np.testing.assert_array_equal, first, second)


def test_every_checkpoint_is_evaluated_and_the_best_one_kept(tmp_path):
  stage = Stage('a', 6, BATCH, 1e-2, warmup_steps=0)
  params = run(tmp_path, [stage])
  losses = rows(tmp_path, 'validation/a/loss')
  assert list(losses) == [2, 4, 6]
  assert losses[6] < losses[4] < losses[2], 'it is trained on what it is evaluated on'
  assert steps_kept(tmp_path) == [6]
  assert_same(checkpoints.load_params(str(tmp_path / 'checkpoint_6')), params)


def worse_with_training():
  """A validation batch whose targets the training batch pulls away from."""
  batch = small_model.make_batch(BATCH)
  return batch | {
    'decoder_target_tokens': small_model.V - batch['decoder_target_tokens']
  }


def test_patience_ends_a_stage_with_its_best_parameters(tmp_path):
  first = Stage('a', 20, BATCH, 3e-2, warmup_steps=0, patience=2)
  second = Stage('b', 2, BATCH, 0.0, warmup_steps=0)
  params = run(tmp_path, [first, second], validation=worse_with_training())
  losses = rows(tmp_path, 'validation/a/loss')
  best = min(losses, key=losses.get)
  assert list(losses)[-1] == best + 4 < 20, 'two evaluations later'
  assert rows(tmp_path, 'b/loss').keys() == {21, 22}
  # The second stage, at a rate of zero, evaluates what the first one handed over.
  found = rows(tmp_path, 'validation/b/loss')[22]
  np.testing.assert_allclose(found, losses[best], rtol=1e-6)
  assert steps_kept(tmp_path) == [22]
  assert_same(checkpoints.load_params(str(tmp_path / 'checkpoint_22')), params)


def test_a_cut_run_remembers_its_best_checkpoint(tmp_path, monkeypatch):
  stages = [Stage('a', 20, BATCH, 3e-2, warmup_steps=0, patience=2)]
  worse = worse_with_training()
  whole = run(tmp_path / 'whole', stages, validation=worse)
  save = checkpoints.save

  def save_and_stop(manager, step, *rest):
    save(manager, step, *rest)
    if step == 4:
      raise KeyboardInterrupt

  cut = tmp_path / 'cut'
  monkeypatch.setattr(checkpoints, 'save', save_and_stop)
  with pytest.raises(KeyboardInterrupt):
    run(cut, stages, validation=worse)
  monkeypatch.undo()
  stored = checkpoints.load_params(str(cut / 'checkpoint_4'))
  continued = run(cut, stages, validation=worse, done=4, params=stored)
  assert_same(continued, whole)
  key = 'validation/a/loss'
  assert rows(cut, key) == rows(tmp_path / 'whole', key)


def test_nan_names_the_step_and_the_last_good_checkpoint(tmp_path):
  stage = Stage('a', 6, BATCH, 1e-2, warmup_steps=0)
  message = 'at step 3, in stage a; the last good checkpoint is checkpoint_2'
  with pytest.raises(FloatingPointError, match=message):
    run(tmp_path, [stage], poison=3)
  assert steps_kept(tmp_path) == [2], 'nothing is saved behind it'
  with pytest.raises(FloatingPointError, match='stage a; there is no checkpoint yet'):
    run(tmp_path / 'early', [stage], poison=1)


@pytest.mark.parametrize('tuning', ['frozen', 'lora', 'full'])
def test_tuning(tmp_path, tuning):
  """Frozen arrays stay bit for bit; the others move."""
  _, params, _ = small_model.make(BATCH)
  if tuning == 'lora':
    params['decoder'] = lora.add_lora(params['decoder'], seed=0)
  patterns = ('adapter/.*', *freezing.tuned(tuning))
  stage = Stage('a', 2, BATCH, 1e-2, warmup_steps=0, trainable=patterns)
  after = run(tmp_path, [stage], validation='none', params=params)
  before, _ = freezing.split_params(params, ['.*'])
  after, _ = freezing.split_params(after, ['.*'])
  constant = ('token_rms', 'mean', 'scale', 'lora_scale', 'statistics')
  for path, x in before.items():
    same = np.array_equal(x, after[path])
    if path.startswith('decoder/'):
      trains = tuning == 'full' or path.endswith(('lora_a', 'lora_b'))
      assert same is not trains, path
    elif not any(name in path for name in constant):
      assert not same, path


_STAGE = Stage('a', 8, 8, 3e-3, warmup_steps=0, trainable=('adapter/.*', 'decoder/.*'))
_ON_DEVICES = """
import sys
import jax
from tests.persoma_tf.training import test_loop
assert jax.device_count() == 8
test_loop.BATCH = 8
test_loop.run(sys.argv[1], [test_loop._STAGE], validation='none', period=8)
"""


def test_eight_devices_follow_the_curve_of_one(tmp_path, monkeypatch):
  flags = f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count=8'
  subprocess.run(
    [sys.executable, '-c', _ON_DEVICES, str(tmp_path / 'eight')],
    env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
    check=True,
    timeout=240,
  )
  monkeypatch.setattr(f'{__name__}.BATCH', 8)
  run(tmp_path / 'one', [_STAGE], validation='none', period=8)
  one, eight = ([*rows(tmp_path / x, 'a/loss').values()] for x in ('one', 'eight'))
  assert len(one) == 8
  np.testing.assert_allclose(eight, one, rtol=1e-5)
  assert one[-1] < 0.95 * one[0]


def test_a_batch_that_cannot_be_cut(tmp_path, monkeypatch):
  """It is told before the first step of all, also for a later stage."""
  monkeypatch.setattr('jax.device_count', lambda: 3)
  stages = [Stage('a', 1, 6, 1e-2), Stage('b', 1, BATCH, 1e-2)]
  with pytest.raises(ValueError, match=r'b/Stage: 4 .* among 3 devices; use a'):
    run(tmp_path, stages)
  assert not (tmp_path / 'metrics.jsonl').exists()
