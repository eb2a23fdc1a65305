"""Checkpoints from and to T5X: where a run starts, and what batch prediction takes.

    python -m persoma_tf.convert_checkpoint --gin_file=runs/quickstart.gin \
      --histories_dir=histories --embeddings_dir=embeddings --output_dir=start

Reads the frozen decoder from wherever the recipe has it (GGUF, safetensors, T5X) and
makes the adapter that the native trainer would start from: it depends on the decoder's
word embeddings and on the data. Writes `checkpoint_0`, which `INITIAL_CHECKPOINT_PATH`
of the recipes in `configs/t5x/` takes.

With `--checkpoint=t5x_model/checkpoint_120` it writes what `pipelines.batch_predict`
takes as `--model_dir`: the trained parameters alone, with the recipe.
"""

import argparse
import logging
import pathlib
import sys
from collections.abc import Sequence

from persoma_tf import process, recipes

logger = logging.getLogger('persoma_tf.convert_checkpoint')


def main(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and the recipe, and writes.

  Raises:
    FileExistsError: the output folder is not empty.
  """
  process.prepare()
  bindings, arguments = recipes.bindings_of(sys.argv[1:] if argv is None else argv)
  parser = argparse.ArgumentParser(
    prog='python -m persoma_tf.convert_checkpoint',
    description=__doc__.split('\n')[0],
    epilog=recipes.HELP,
  )
  parser.add_argument('--gin_file', action='append', required=True, help='recipe file')
  recipes.add_data_flags(parser, required=True)
  parser.add_argument('--output_dir', required=True, help='folder to write')
  parser.add_argument('--checkpoint', help='a checkpoint_<step> of t5x.train')
  flags = parser.parse_args(arguments)
  folder = pathlib.Path(flags.output_dir)
  if folder.exists() and any(folder.iterdir()):
    raise FileExistsError(f'{folder} is not empty; name another --output_dir')
  from persoma_tf.parameters import checkpoints  # JAX, behind the flags
  from persoma_tf.training import run_folder
  from persoma_tf.training.t5x_export import export_checkpoint
  from persoma_tf.training.training_run import Recipe, TrainingRun

  recipes.parse_recipes(flags.gin_file, [*bindings, *recipes.data_macros(flags)])
  run = TrainingRun(Recipe())
  # Nothing is written before it is known to fit: what failed can be tried again.
  if flags.checkpoint:
    export_checkpoint(flags.checkpoint, run, flags.output_dir)
  else:
    params = run.fresh_params()
    run_folder.write_config(folder)
    checkpoints.save(checkpoints.manager(flags.output_dir), 0, params, {})
  logger.info('written %s', folder)


if __name__ == '__main__':
  main()
