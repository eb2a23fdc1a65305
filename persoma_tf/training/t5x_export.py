"""Converts a checkpoint of t5x.train to a finished model folder."""

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
  """Returns the trained parameters of a checkpoint, {path: array}.

  The result has the adapter, LoRA, and all parameters of the decoder that have changed.

  Args:
    found: parameters of the checkpoint.
    start: parameters at the start of a run of the same recipe.

  Raises:
    ValueError: the checkpoint belongs to another model.
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
  """Converts a T5X checkpoint to a finished model folder.

  Args:
    checkpoint: path of a `checkpoint_<step>` folder.
    run: run of the recipe that trained the checkpoint.
    output_dir: folder to write.
  """
  trained = trained_part(checkpoints.load_params(checkpoint), run.fresh_params())
  changed = sorted(path for path in trained if path.startswith('decoder/'))
  logger.info('%d parameters of the decoder have changed', len(changed))
  step = int(pathlib.Path(checkpoint).name.removeprefix('checkpoint_'))
  run_folder.write_config(pathlib.Path(output_dir))
  export_adapter(output_dir, trained, run.decoder, step, run.task_prompt())
