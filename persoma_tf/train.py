"""Native trainer: fits the adapter of a gin recipe and checkpoints as T5X does.

    python -m persoma_tf.train --gin_file=persoma_tf/configs/runs/quickstart.gin \
      --model_dir=runs/quickstart/model \
      --histories_dir=runs/quickstart/histories \
      --embeddings_dir=runs/quickstart/embeddings [--gin.NAME=VALUE ...]

A run is a sequence of stages. It goes on from its newest checkpoint and then takes
the very steps that an uncut run takes: the data stream is seeded anew at every
checkpoint from (seed, step), so its position needs no saving.

Writes `config.gin`, `checkpoint_<step>/`, `adapter/` with its model card,
`metrics.jsonl`, TensorBoard events and, last of all, `COMPLETED`.
"""

import argparse
import logging
import os
import pathlib
import sys
from collections.abc import Sequence

import jax

from persoma_tf import checkpoints, recipes, run_folder
from persoma_tf.export import export
from persoma_tf.loop import Loop
from persoma_tf.stages import segments
from persoma_tf.training_run import Recipe, TrainingRun

logger = logging.getLogger(__name__)


def train(
  model_dir: str, *, overwrite: bool = False, chosen: Sequence[str] = ()
) -> None:
  """Trains the recipe that gin has read, or goes on training it, in `model_dir`.

  Nothing is deleted or written before the recipe has loaded decoder and data.

  Args:
    model_dir: folder of the run.
    overwrite: delete a run in it and start again.
    chosen: bindings of the command line; those without effect are named.

  Raises:
    ValueError: the folder holds a run of another configuration, or is to be deleted
      and holds no run.
  """
  run, folder = TrainingRun(Recipe()), pathlib.Path(model_dir)
  for stage in run.stages:  # by now gin knows all that the recipe reads
    next(run.data(stage, 0))
  for binding in recipes.without_effect(chosen):
    logger.warning('nothing in this recipe reads --gin.%s', binding)
  if overwrite:
    run_folder.delete_run(folder)
  run_folder.check_config(folder)
  if (folder / 'COMPLETED').exists():
    logger.info('%s is finished; --overwrite trains again', model_dir)
    return
  done = checkpoints.manager(model_dir).latest_step() or 0
  run_folder.write_config(folder)
  if done:
    logger.info('going on from checkpoint_%d', done)
    params = run.params_at(checkpoints.folder(model_dir, done))
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
  trained, prompt = run.trained_part(params), run.task_prompt()
  export(model_dir, trained, run.decoder, stretches[-1].end, prompt)


def main(argv: Sequence[str] | None = None) -> None:
  """Parses flags and recipe, and trains."""
  logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s', force=True)
  for library in ('absl', 'jax'):  # Orbax writes through absl, 30 lines a checkpoint
    logging.getLogger(library).setLevel(logging.ERROR)
  bindings, arguments = recipes.bindings_of(sys.argv[1:] if argv is None else argv)
  parser = argparse.ArgumentParser(
    prog='python -m persoma_tf.train',
    description=__doc__.split('\n')[0],
    epilog=recipes.HELP,
  )
  parser.add_argument('--gin_file', action='append', required=True, help='recipe file')
  parser.add_argument('--model_dir', required=True, help='folder of the run')
  parser.add_argument('--histories_dir', help='sets the macro HISTORIES_DIR')
  parser.add_argument('--embeddings_dir', help='sets the macro EMBEDDINGS_DIR')
  parser.add_argument(
    '--overwrite', action='store_true', help='delete the folder and start again'
  )
  flags = parser.parse_args(arguments)
  tunables = os.environ.get('GLIBC_TUNABLES', '')
  if jax.default_backend() == 'cpu' and 'hugetlb' not in tunables:
    logger.info('GLIBC_TUNABLES=glibc.malloc.hugetlb=1 would make steps on CPU faster')
  folders = {
    'HISTORIES_DIR': flags.histories_dir,
    'EMBEDDINGS_DIR': flags.embeddings_dir,
  }
  macros = [f'{name} = {value!r}' for name, value in folders.items() if value]
  recipes.parse(flags.gin_file, [*bindings, *macros])
  train(flags.model_dir, overwrite=flags.overwrite, chosen=bindings)


if __name__ == '__main__':
  main()
