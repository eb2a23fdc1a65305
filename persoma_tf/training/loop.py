"""Runs the training loop: steps, validation and checkpoints, on all devices."""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from persoma_tf import model as persoma
from persoma_tf.parameters import checkpoints, freezing, quantization
from persoma_tf.training import vector_rows
from persoma_tf.training.metric_log import MetricLog
from persoma_tf.training.stages import (
  Stage,
  Steps,
  Stretch,
  make_steps,
  operands_of_stage,
)

logger = logging.getLogger(__name__)
Batches = Iterable[Mapping[str, np.ndarray]]


class Loop:
  """Trains a run from its newest checkpoint to its end.

  Batches are sharded over all devices along their first axis, and parameters are
  replicated; the compiler sums the gradients.

  With validation, the run evaluates at every checkpoint and keeps the newest and the
  best checkpoint of the stage. A stage that no longer improves ends early
  (`Stage.patience`). Every stage ends with its best parameters, in a checkpoint with
  the number of its last planned step, even if the stage ended early.

  Checkpoints have only what the run trains, since the rest of a decoder is as it was.
  """

  def __init__(
    self,
    model: persoma.Persoma,
    model_dir: str,
    *,
    trained_part: Callable[[Mapping], Mapping[str, np.ndarray]],
    data: Callable[[Stage, int, int], Iterator[Mapping]],
    validation: Callable[[Stage], Batches] | None,
    log_period: int,
    dtype: str,
    tables: Sequence[np.ndarray] = (),
    options: np.ndarray | None = None,
  ):
    """Makes the loop of a run.

    Args:
      model: adapter and decoder.
      model_dir: folder of the run.
      trained_part: function from all parameters to those that the run trains,
        {path: array}.
      data: function (stage, start, step) -> stream of batches of a stage that starts at
        step `start` of the run; the stream itself starts at `step`.
      validation: function stage -> validation batches; None for no validation.
      log_period: number of steps between reports.
      dtype: type of the operands of the decoder's products.
      tables: tables of vectors that batches have the rows of.
      options: see `make_steps`.
    """
    self._model, self._model_dir, self._trained_part = model, model_dir, trained_part
    self._data, self._validation = data, validation
    self._log_period, self._dtype, self._options = log_period, dtype, options
    self._manager = checkpoints.manager(model_dir, keep=None)
    mesh = Mesh(np.array(jax.devices()), ('data',))
    self._replicated = NamedSharding(mesh, PartitionSpec())
    self._sharded = NamedSharding(mesh, PartitionSpec('data'))
    self._tables = jax.device_put(tuple(tables), self._replicated)
    self._gather = jax.jit(vector_rows.gather)

  def run(self, params: Mapping, stretches: Sequence[Stretch], done: int) -> dict:
    """Trains the remaining steps.

    Args:
      params: {'adapter': ..., 'decoder': ...} after `done` steps.
      stretches: all stretches of the run, including the finished ones.
      done: number of finished steps.

    Returns:
      {'adapter': ..., 'decoder': ...} after the last step.

    Raises:
      FloatingPointError: the loss is not finite.
      ValueError: a batch of a stage cannot be divided among the devices, or a pattern
        in `Stage.trainable` matches no parameter.
    """
    for stretch in stretches:
      self._check_stage(stretch.stage, params)
    self._log = MetricLog(self._model_dir, done, stretches[-1].end)
    for _, of_stage in itertools.groupby(stretches, lambda stretch: stretch.start):
      left = [stretch for stretch in of_stage if stretch.end > done]
      if left:
        params = self._run_stage(params, left)
    self._log.close()
    return params

  def _run_stage(self, params, stretches):
    stage, start, stop = stretches[0].stage, stretches[0].start, stretches[0].stop
    steps = make_steps(self._model, stage, self._dtype, self._options)
    trained, frozen = freezing.split_params(params, stage.trainable)
    logger.info('%s: %s', stage.name, freezing.describe_trainable(trained, frozen))
    trained = quantization.widened(trained)
    state = steps.optimizer.init(trained)
    if stretches[0].begin > start:
      folder = checkpoints.checkpoint_folder(self._model_dir, stretches[0].begin)
      state = checkpoints.load_optimizer(folder, state)
    operands = operands_of_stage(stage, frozen, self._dtype)
    constant = jax.device_put(operands, self._replicated)
    trained, state = jax.device_put((trained, state), self._replicated)
    fixed = list(self._validation(stage)) if self._validation else []
    data = self._data(stage, start, stretches[0].begin)
    for stretch in stretches:
      trained, state = self._train(steps, stretch, data, trained, state, constant)
      closes, best = stretch.end == stop, stretch.end
      if fixed:
        values = self._evaluate(steps, stretch, trained, constant, fixed)
        best = min(values, key=values.get)
        waited = sum(step > best for step in values)
        closes |= 0 < stage.patience <= waited
      params = freezing.join_params(jax.device_get(trained), frozen)
      if closes and best != stretch.end:
        folder = checkpoints.checkpoint_folder(self._model_dir, best)
        params = freezing.overlay(params, checkpoints.load_params(folder))
        logger.info('%s ends with its best checkpoint, step %d', stage.name, best)
      step = stop if closes else stretch.end
      kept = freezing.join_params(self._trained_part(params), {})
      checkpoints.save(self._manager, step, kept, state)
      checkpoints.prune(self._manager, {step} if closes else {step, best})
      self._log.saved(step)
      if closes:
        return params
    raise AssertionError('the last stretch must end its stage')

  def _check_stage(self, stage, params):
    freezing.split_params(params, stage.trainable)
    part, devices = stage.batch_size // stage.accumulate, jax.device_count()
    if part % devices:
      raise ValueError(
        f'{stage.name}/Stage: {part} examples at a time (batch_size / accumulate) '
        f'cannot be divided among {devices} devices; use a multiple of {devices}'
      )

  def _train(self, steps: Steps, stretch: Stretch, data, trained, state, constant):
    stage = stretch.stage
    for step in range(stretch.begin + 1, stretch.end + 1):
      batch = self._on_device(next(data))
      trained, state, metrics = steps.update(trained, state, constant, batch)
      self._log.add(metrics)
      if step % self._log_period == 0 or step == stretch.end:
        self._log.flush(step, stage.name, stage.batch_size)
    return trained, state

  def _on_device(self, batch):
    return self._gather(jax.device_put(batch, self._sharded), self._tables)

  def _evaluate(self, steps: Steps, stretch: Stretch, trained, constant, fixed):
    """Validates; returns all validation losses of the stage so far, {step: loss}."""
    rows = [
      steps.evaluate(trained, constant, self._on_device(batch)) for batch in fixed
    ]
    return self._log.validation(stretch.end, stretch.stage.name, stretch.start, rows)
