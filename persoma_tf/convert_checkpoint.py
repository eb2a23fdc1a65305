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
from collections.abc import Mapping, Sequence

import numpy as np
from flax import traverse_util

from persoma_tf import checkpoints, recipes, run_folder
from persoma_tf.export import export as write_adapter
from persoma_tf.training_run import Recipe, TrainingRun

logger = logging.getLogger(__name__)


def trained_part(found: Mapping, start: Mapping) -> dict[str, np.ndarray]:
  """What a checkpoint has learned, {path: array}: its adapter, and of the decoder
  what is not as it was.

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


def export(checkpoint: str, run: TrainingRun, output_dir: str) -> None:
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
  write_adapter(output_dir, trained, run.decoder, step, run.task_prompt())


def main(argv: Sequence[str] | None = None) -> None:
  """Parses flags and recipe, and writes.

  Raises:
    FileExistsError: the output folder is not empty.
  """
  logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s', force=True)
  for library in ('absl', 'jax'):  # Orbax writes through absl
    logging.getLogger(library).setLevel(logging.ERROR)
  bindings, arguments = recipes.bindings_of(sys.argv[1:] if argv is None else argv)
  parser = argparse.ArgumentParser(
    prog='python -m persoma_tf.convert_checkpoint',
    description=__doc__.split('\n')[0],
    epilog=recipes.HELP,
  )
  parser.add_argument('--gin_file', action='append', required=True, help='recipe file')
  parser.add_argument('--histories_dir', required=True)
  parser.add_argument('--embeddings_dir', required=True)
  parser.add_argument('--output_dir', required=True)
  parser.add_argument('--checkpoint', help='a checkpoint_<step> of t5x.train')
  flags = parser.parse_args(arguments)
  folder = pathlib.Path(flags.output_dir)
  if folder.exists() and any(folder.iterdir()):
    raise FileExistsError(f'{folder} is not empty; name another --output_dir')
  bindings += [
    f'HISTORIES_DIR = {flags.histories_dir!r}',
    f'EMBEDDINGS_DIR = {flags.embeddings_dir!r}',
  ]
  recipes.parse(flags.gin_file, bindings)
  run = TrainingRun(Recipe())
  # Nothing is written before it is known to fit: what failed can be tried again.
  if flags.checkpoint:
    export(flags.checkpoint, run, flags.output_dir)
  else:
    params = run.fresh_params()
    run_folder.write_config(folder)
    checkpoints.save(checkpoints.manager(flags.output_dir), 0, params, {})
  logger.info('written %s', folder)


if __name__ == '__main__':
  main()
