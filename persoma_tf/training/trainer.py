"""Trains the recipe that gin has read, from its newest checkpoint to its adapter."""

import logging
import pathlib
from collections.abc import Sequence

from persoma_tf import recipes
from persoma_tf.parameters import checkpoints
from persoma_tf.training import run_folder, run_inputs
from persoma_tf.training.export import export_adapter
from persoma_tf.training.loop import Loop
from persoma_tf.training.stages import segments
from persoma_tf.training.training_run import Recipe, TrainingRun

logger = logging.getLogger(__name__)


def train(
  model_dir: str, *, overwrite: bool = False, chosen: Sequence[str] = ()
) -> None:
  """Trains the recipe that gin has read, or resumes its training, in `model_dir`.

  Nothing is deleted or written before the decoder and the data are loaded.

  Args:
    model_dir: folder of the run.
    overwrite: whether to delete an existing run and start again.
    chosen: gin bindings of the command line; the log warns of bindings without effect.

  Raises:
    ValueError: the folder belongs to a run with another configuration or with other
      inputs, or should be overwritten but is not the folder of a run.
  """
  run, folder = TrainingRun(Recipe()), pathlib.Path(model_dir)
  for stage in run.stages:  # completes gin's operative configuration
    next(run.data(stage, 0, 0))
  for binding in recipes.without_effect(chosen):
    logger.warning('nothing in this recipe reads --gin.%s', binding)
  inputs = run_inputs.inputs_of_recipe()
  if overwrite:
    run_folder.delete_run(folder)
  run_folder.check_config(folder)
  finished = (folder / 'COMPLETED').exists()
  done = checkpoints.manager(model_dir).latest_step() or 0
  if done or finished:
    run_inputs.check_inputs(folder, inputs)
  if finished:
    logger.info('%s is finished; --overwrite trains again', model_dir)
    return
  run_folder.write_config(folder)
  run_inputs.write_inputs(folder, inputs)
  if done:
    logger.info('resuming from checkpoint_%d', done)
    params = run.params_at(checkpoints.checkpoint_folder(model_dir, done))
  else:
    params = run.fresh_params()
  _train(run, model_dir, params, done)


def _train(run, model_dir, params, done):
  recipe = run.recipe
  if recipe.initialize_only:
    checkpoints.save(checkpoints.manager(model_dir), 0, params, {})
    return
  stretches = segments(run.stages, recipe.checkpoint_period)
  loop = Loop(
    run.model,
    model_dir,
    data=run.data,
    validation=run.validation if recipe.validation_examples else None,
    log_period=recipe.log_period,
    dtype=recipe.dtype,
  )
  params = loop.run(params, stretches, done)
  export_adapter(model_dir, run, run.trained_part(params), stretches[-1].end)
