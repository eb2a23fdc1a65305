"""Estimates memory and time of a recipe on this machine, by running a few steps."""

import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from persoma_tf import model as persoma
from persoma_tf import operand_types
from persoma_tf.parameters import freezing
from persoma_tf.training.stages import Stage, make_steps, operands_of_stage, segments
from persoma_tf.training.training_run import TrainingRun
from persoma_tf.training.vector_rows import gather

# Largest number of batches to run per stage. Grouped batches have several shapes, and
# the first batch of each shape is not timed as a step, since it includes compilation.
_MOST_BATCHES = 60


def estimate_costs(run: TrainingRun, steps: int = 8) -> dict[str, Any]:
  """Estimates a run from a few batches of every stage; writes nothing.

  Args:
    run: training run, with its data and decoder.
    steps: number of timed steps per stage, without the first step of each shape.

  Returns:
    JSON types: 'stages', a list of mappings; 'prompt_parts', what stands before an
    answer; 'parameter_bytes'; 'checkpoint_bytes' of the largest checkpoint; 'seconds'
    of all stages, without the start of the process; 'peak_memory_bytes' of this
    process, which has held the arrays of a whole run.

  Raises:
    ValueError: `steps` is below 1.
  """
  if steps < 1:
    raise ValueError(f'steps={steps}: expected at least 1')
  params = run.fresh_params()
  stages = [_stage(run, params, stage, steps) for stage in run.stages]
  return {
    'stages': stages,
    'prompt_parts': list(run.prompt_parts),
    'parameter_bytes': _bytes(params),
    'checkpoint_bytes': _bytes(run.trained_part(params))
    + max(stage['optimizer_bytes'] for stage in stages),
    'seconds': sum(stage['seconds'] for stage in stages),
    'peak_memory_bytes': _peak_memory(),
  }


def _stage(
  run: TrainingRun, params: Mapping, stage: Stage, wanted: int
) -> dict[str, Any]:
  dtype = operand_types.chosen_type(run.recipe.dtype)
  steps = make_steps(run.model, stage, dtype, run.option_tokens)
  trained, frozen = freezing.split_params(params, stage.trainable)
  about = freezing.describe_trainable(trained, frozen)
  state = steps.optimizer.init(trained)
  optimizer_bytes = _bytes(state)
  constant = jax.device_put(operands_of_stage(stage, frozen, dtype))
  trained = jax.tree.map(lambda x: jax.numpy.array(x), trained)  # updates donate it
  tables = jax.device_put(tuple(run.recipe.vector_tables))
  whole = jax.jit(gather)

  def update(batch):
    nonlocal trained, state
    batch = whole(batch, tables)
    trained, state, metrics = steps.update(trained, state, constant, batch)
    return metrics

  compiled, step = _timed(run.data(stage, 0, 0), update, wanted)
  shapes = _shapes(run.model, params, whole(next(run.data(stage, 0, 0)), tables))
  validation = 0.0
  if run.recipe.validation_examples:
    batches = list(run.validation(stage))
    evaluate = lambda batch: steps.evaluate(trained, constant, whole(batch, tables))
    first, each = _timed(iter([*batches, *batches]), evaluate, len(batches))
    times = len(segments([stage], run.recipe.checkpoint_period))
    compiled, validation = compiled + first, times * len(batches) * each
  return {
    'stage': stage.name,
    'parameters': about,
    'optimizer_bytes': optimizer_bytes,
    **shapes,
    'batch_size': stage.batch_size,
    'steps': stage.steps,
    'seconds_a_step': step,
    'examples_a_second': stage.batch_size / step,
    'compile_seconds': compiled,
    'validation_seconds': validation,
    'seconds': compiled + stage.steps * step + validation,
  }


def _timed(data, call, wanted: int) -> tuple[float, float]:
  """Returns (seconds of the first calls of all shapes, mean seconds of other calls).

  The time of a call includes the reading of its batch. If no shape came twice, the last
  call is repeated.
  """
  first, others, begin, batch = {}, [], time.perf_counter(), None
  for batch, _ in zip(data, range(_MOST_BATCHES), strict=False):
    jax.block_until_ready(call(batch))
    seconds, begin = time.perf_counter() - begin, time.perf_counter()
    shape = tuple((name, np.shape(x)) for name, x in sorted(batch.items()))
    if shape in first:
      others.append(seconds)
    first.setdefault(shape, seconds)
    if len(others) == wanted:
      break
  if not others:
    begin = time.perf_counter()
    jax.block_until_ready(call(batch))
    others = [time.perf_counter() - begin]
  return sum(first.values()), float(np.mean(others))


def _shapes(model, params: Mapping, batch: Mapping) -> dict[str, int]:
  """Returns the padded lengths of a batch: soft, prompt and target tokens."""
  soft = jax.eval_shape(
    lambda params, batch: model.apply(
      {'params': params},
      batch['history_embeddings'],
      batch['history_mask'],
      method=persoma.Persoma.soft_prompt,
    ),
    params,
    batch,
  )
  return {
    'soft_tokens': soft.tokens.shape[1],
    'prompt_tokens': batch['encoder_input_tokens'].shape[1],
    'target_tokens': batch['decoder_target_tokens'].shape[1],
  }


def _bytes(tree) -> int:
  return sum(np.asarray(x).nbytes for x in jax.tree.leaves(tree))


def _peak_memory() -> int:
  """Returns the peak memory of this process in bytes; Linux counts in kB."""
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak if sys.platform == 'darwin' else peak * 1024
