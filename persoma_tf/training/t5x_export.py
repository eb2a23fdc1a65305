"""Converts checkpoints between the native trainer and t5x.train."""

import logging
import pathlib

from persoma_tf.gin_settings import settings
from persoma_tf.parameters import checkpoints, freezing
from persoma_tf.training import run_folder, run_inputs
from persoma_tf.training.export import export_adapter
from persoma_tf.training.training_run import TrainingRun

logger = logging.getLogger(__name__)


def export_checkpoint(checkpoint: str, run: TrainingRun, output_dir: str) -> None:
  """Converts a T5X checkpoint to a finished model folder.

  Args:
    checkpoint: path of a `checkpoint_<step>` folder.
    run: run of the recipe that trained the checkpoint.
    output_dir: folder to write.

  Raises:
    ValueError: the checkpoint belongs to another model, decoder, or data.
  """
  found = checkpoints.load_params(checkpoint)
  checkpoints.check_same(run.fresh_params(), found, 'the checkpoint')
  run.check_decoder(checkpoint, found)
  inputs = run_inputs.inputs_of_recipe()
  run_inputs.check_inputs(_start_folder(pathlib.Path(checkpoint)), inputs)
  trained = run.trained_part(found)
  changed = sum(path.startswith('decoder/') for path in trained)
  logger.info('%d parameters of the decoder were trained', changed)
  step = int(pathlib.Path(checkpoint).name.removeprefix('checkpoint_'))
  output = pathlib.Path(output_dir)
  run_inputs.write_inputs(output, inputs)
  run_folder.write_config(output)
  export_adapter(output_dir, run, trained, step)


def started_params(run: TrainingRun, checkpoint: str) -> dict:
  """Returns all parameters of a run that goes on from a native checkpoint.

  LoRA's parameters, if the run has them and the checkpoint has not, are new.

  Args:
    run: run of the recipe that goes on.
    checkpoint: path of a `checkpoint_<step>` folder of `persoma_tf.train`.

  Returns:
    {'adapter': ..., 'decoder': ...}.

  Raises:
    ValueError: the checkpoint belongs to another model, decoder, or data.
  """
  stored, folder = checkpoints.load_params(checkpoint), pathlib.Path(checkpoint).parent
  fresh = run.fresh_params()
  if not (folder / run_inputs.FILE).exists():
    raise ValueError(
      f'{checkpoint} has no decoder, and no {run_inputs.FILE} in the folder above it '
      'says which one its adapter was trained with; give it in its whole model folder'
    )
  run_inputs.check_inputs(folder, run_inputs.inputs_of_recipe())
  params = freezing.overlay({'decoder': fresh['decoder']}, stored)
  checkpoints.check_same(fresh, params, checkpoint)
  run.check_decoder(checkpoint, params)
  return params


def _start_folder(checkpoint: pathlib.Path) -> pathlib.Path:
  """Returns the folder that says which inputs the training of a checkpoint began with.

  For T5X this is the folder of the checkpoint that it began with, else its own.
  """
  config = checkpoint.parent / run_folder.CONFIG
  text = config.read_text() if config.exists() else ''
  start = settings(text).get('INITIAL_CHECKPOINT_PATH', checkpoint)
  return pathlib.Path(start).parent
