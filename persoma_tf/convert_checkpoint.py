"""Converts checkpoints to and from T5X.

    python -m persoma_tf.convert_checkpoint --gin_file=runs/quickstart.gin \
      --histories_dir=histories --embeddings_dir=embeddings --output_dir=start

This command reads the frozen decoder of the recipe (GGUF, safetensors or T5X) and makes
the same initial adapter as the native trainer, from the decoder's word embeddings and
the data. It writes both as `checkpoint_0`, the `INITIAL_CHECKPOINT_PATH` of the recipes
in `configs/t5x/`. With `--start=model/checkpoint_1500`, a checkpoint of
`persoma_tf.train`, it takes what was trained from there.

With `--checkpoint=t5x_model/checkpoint_120` it writes a `--model_dir` for
`pipelines.batch_predict`: the trained parameters, without the frozen ones, and the
recipe.
"""

import argparse
import logging
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from persoma_tf import operand_types, process, recipes
from persoma_tf.addresses import local_argument

logger = logging.getLogger('persoma_tf.convert_checkpoint')


def main(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and the recipe, and writes the checkpoint.

  Args:
    argv: arguments of the command line; by default `sys.argv[1:]`.

  Raises:
    FileExistsError: the output folder is not empty.
  """
  process.prepare()
  bindings, arguments = recipes.bindings_of(sys.argv[1:] if argv is None else argv)
  flags = _parser().parse_args(arguments)
  folder = pathlib.Path(flags.output_dir)
  if folder.exists() and any(folder.iterdir()):
    raise FileExistsError(f'{folder} is not empty; name another --output_dir')
  # These import JAX, which errors in the flags need not wait for.
  import jax

  from persoma_tf.parameters import checkpoints
  from persoma_tf.training import run_folder, run_inputs
  from persoma_tf.training.t5x_export import export_checkpoint, started_params
  from persoma_tf.training.training_run import Recipe, TrainingRun

  recipes.parse_recipes(flags.gin_file, [*bindings, *recipes.data_macros(flags)])
  if Recipe().dtype == operand_types.AUTO:  # T5X knows nothing of the setting
    recipes.bind_parameter('train.dtype', 'float32')
  run = TrainingRun(Recipe())
  # Nothing is written before all checks: after an error, the folder is still empty.
  if flags.checkpoint:
    export_checkpoint(flags.checkpoint, run, flags.output_dir)
  else:
    params = started_params(run, flags.start) if flags.start else run.fresh_params()
    # As T5X's optimizer expects them.
    params = jax.tree.map(lambda x: np.asarray(x, np.float32), params)
    run_inputs.write_inputs(folder, run_inputs.inputs_of_recipe())
    run_folder.write_config(folder)
    checkpoints.save(checkpoints.manager(flags.output_dir), 0, params, {})
  logger.info('wrote %s', folder)


def _parser():
  parser = argparse.ArgumentParser(
    prog='python -m persoma_tf.convert_checkpoint',
    description=__doc__.split('\n')[0],
    epilog=recipes.HELP,
  )
  recipes.add_gin_flag(parser, required=True)
  recipes.add_data_flags(parser, required=True)
  parser.add_argument(
    '--output_dir',
    required=True,
    type=local_argument,
    help='new or empty output folder',
  )
  which = parser.add_mutually_exclusive_group()
  which.add_argument(
    '--start',
    type=local_argument,
    help='checkpoint_<step> folder of persoma_tf.train to begin with in T5X',
  )
  which.add_argument(
    '--checkpoint',
    type=local_argument,
    help='checkpoint_<step> folder of t5x.train to convert from T5X',
  )
  return parser


if __name__ == '__main__':
  main()
