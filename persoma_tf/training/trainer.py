"""Trains the recipe that gin has read, from its newest checkpoint to its adapter."""

import logging
import pathlib
from collections.abc import Sequence

from persoma_tf import gin_settings, operand_types, recipes
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
  folder = pathlib.Path(model_dir)
  _bind_type(folder, overwrite)
  run = TrainingRun(Recipe())
  run.check_data()  # completes gin's operative configuration
  for binding in recipes.without_effect(chosen):
    logger.warning('nothing in this recipe reads --gin.%s', binding)
  inputs = run_inputs.inputs_of_recipe()
  if overwrite:
    run_folder.delete_run(folder)
  run_folder.check_config(folder)
  finished = (folder / 'COMPLETED').exists()
  found = checkpoints.manager(model_dir).latest_step()
  done = found or 0
  if found is not None or finished:
    run_inputs.check_inputs(folder, inputs)
  if finished:
    logger.info('%s is finished; --overwrite trains again', model_dir)
    return
  run_folder.write_config(folder)
  run_inputs.write_inputs(folder, inputs)
  if found is not None:
    logger.info('resuming from checkpoint_%d', done)
    params = run.params_at(checkpoints.checkpoint_folder(model_dir, done))
  else:
    params = run.fresh_params()
  _train(run, model_dir, params, done)


def _bind_type(folder, overwrite):
  """Sets `train.dtype`, if it is 'auto', to a type, which `config.gin` then records.

  It is the type of the run in the folder, even of one that has no checkpoint yet; or
  this machine's; or float32 if the whole decoder is trained, whose gradients would be
  rounded.
  """
  recipe, config = Recipe(), folder / run_folder.CONFIG
  if recipe.dtype != operand_types.AUTO:
    return
  chosen = operand_types.chosen_type('float32' if recipe.tuning == 'full' else 'auto')
  if config.exists() and not overwrite:
    settings = gin_settings.settings(config.read_text())
    known = gin_settings.setting(settings, 'train.dtype')
    chosen = known if known in operand_types.TYPES else chosen
  recipes.bind_parameter('train.dtype', chosen)


def _train(run, model_dir, params, done):
  recipe = run.recipe
  if recipe.initialize_only:
    manager = checkpoints.manager(model_dir)
    if manager.latest_step() is None:
      checkpoints.save(manager, 0, params, {})
    return
  stretches = segments(run.stages, recipe.checkpoint_period)
  loop = Loop(
    run.model,
    model_dir,
    trained_part=run.trained_part,
    data=run.data,
    validation=run.validation if recipe.validation_examples else None,
    log_period=recipe.log_period,
    dtype=recipe.dtype,
    tables=recipe.vector_tables,
    options=run.option_tokens,
  )
  params = loop.run(params, stretches, done)
  export_adapter(model_dir, run, run.trained_part(params), stretches[-1].end)
