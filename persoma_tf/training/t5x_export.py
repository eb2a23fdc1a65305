"""Makes a finished model folder of a checkpoint that t5x.train wrote."""

import logging
import pathlib
from collections.abc import Mapping

import numpy as np
from flax import traverse_util

from persoma_tf.parameters import checkpoints
from persoma_tf.training import run_folder
from persoma_tf.training.export import export_adapter
from persoma_tf.training.training_run import TrainingRun

logger = logging.getLogger(__name__)


def trained_part(found: Mapping, start: Mapping) -> dict[str, np.ndarray]:
  """Returns what a checkpoint has learned, {path: array}.

  These are its adapter, and the parameters of the decoder that have changed.

  Args:
    found: parameters of the checkpoint.
    start: parameters that a run of the same recipe starts from.

  Raises:
    ValueError: the checkpoint is of another model.
  """
  checkpoints.check_same(start, found, 'the checkpoint')
  flatten = lambda tree: traverse_util.flatten_dict(tree, sep='/')
  found, start = flatten(found), flatten(start)
  kept = lambda path: path.startswith('adapter/') or '/lora_' in path
  return {
    path: np.asarray(x)
    for path, x in found.items()
    if kept(path) or not np.array_equal(x, start[path])
  }


def export_checkpoint(checkpoint: str, run: TrainingRun, output_dir: str) -> None:
  """Makes a finished model folder of a T5X checkpoint.

  Args:
    checkpoint: a `checkpoint_<step>` folder.
    run: the recipe that it was trained by.
    output_dir: folder to write.
  """
  trained = trained_part(checkpoints.load_params(checkpoint), run.fresh_params())
  moved = sorted(path for path in trained if path.startswith('decoder/'))
  logger.info('%d parameters of the decoder are not as they were', len(moved))
  step = int(pathlib.Path(checkpoint).name.removeprefix('checkpoint_'))
  run_folder.write_config(pathlib.Path(output_dir))
  export_adapter(output_dir, trained, run.decoder, step, run.task_prompt())
