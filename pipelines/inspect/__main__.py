"""Shows what a folder holds, what a dataset file makes, or what a recipe costs.

    python -m pipelines.inspect runs/quickstart/histories [PATH...] [--records=3]
    python -m pipelines.inspect --dataset=books.yaml
    python -m pipelines.inspect --histories_dir=histories --embeddings_dir=embeddings
    python -m pipelines.inspect --gin_file=runs/perceiver.gin \
      --histories_dir=histories --embeddings_dir=embeddings [--gin.NAME=VALUE]

Shows counts, shapes, configuration and a few records of folders of every job, model
folders, checkpoints, adapters and single files. For a dataset file, reads the first
rows of its files: interactions as texts, prompts with answers, counts, rejects. For a
recipe, runs a few steps of each stage with their real sizes. For histories with their
embeddings and no recipe, tells what methods without a language model reach. Writes
nothing. `--json` prints JSON for programs.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from persoma_tf import process, recipes
from pipelines.common.job import JobError
from pipelines.inspect import printed


def main(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and prints descriptions or estimates.

  Raises:
    SystemExit: 1 if a path does not exist, or a folder is damaged or not finished.
  """
  process.prepare()
  bindings, arguments = recipes.bindings_of(sys.argv[1:] if argv is None else argv)
  parser = argparse.ArgumentParser(
    prog='python -m pipelines.inspect',
    description=__doc__.split('\n')[0],
    epilog=recipes.HELP,
  )
  parser.add_argument('paths', nargs='*', metavar='PATH', help='folders or files')
  parser.add_argument(
    '--records', type=int, default=3, help='number of records to show of each table'
  )
  parser.add_argument('--json', action='store_true', help='print JSON')
  parser.add_argument('--dataset', help='dataset file whose first rows to show')
  parser.add_argument('--question', help='question of the histories, if not the first')
  recipes.add_gin_flag(parser, text='recipe whose cost to estimate')
  recipes.add_data_flags(parser)
  parser.add_argument(
    '--steps', type=int, default=8, help='number of steps to time of each stage'
  )
  flags = parser.parse_args(arguments)
  data = bool(flags.histories_dir and flags.embeddings_dir)
  asked = flags.paths, flags.dataset, flags.gin_file or data
  if sum(map(bool, asked)) != 1:
    parser.error(
      'expected either paths, --dataset, --gin_file, or --histories_dir and '
      '--embeddings_dir'
    )
  if flags.gin_file:
    results, format_result = _estimate(flags, bindings), printed.format_costs
  elif data:
    results, format_result = _tell_floors(flags), printed.format_floors
  else:
    results, format_result = _describe(flags), printed.format_folder
  if flags.json:
    print(json.dumps(results, indent=2, default=str))
  else:
    print('\n\n'.join(map(format_result, results)))
  unsound = [x for x in results if x.get('damaged') or 'NOT' in x.get('state', '')]
  sys.exit(1 if unsound else 0)


def _describe(flags):
  try:
    if flags.dataset:
      from pipelines.inspect import dataset_view  # imports Beam

      return [dataset_view.describe_dataset(flags.dataset, flags.records)]
    from pipelines.inspect import folder_contents  # imports TensorFlow and Orbax

    return [
      folder_contents.describe_folder(path, flags.records) for path in flags.paths
    ]
  except (FileNotFoundError, ValueError, JobError) as error:
    sys.exit(f'error: {error}')


def _tell_floors(flags):
  from pipelines.inspect import floors  # imports Beam

  try:
    folders = flags.histories_dir, flags.embeddings_dir
    return [floors.describe_floors(*folders, flags.question or '')]
  except (FileNotFoundError, ValueError, JobError) as error:
    sys.exit(f'error: {error}')


def _estimate(flags, bindings):
  from persoma_tf.training.training_run import Recipe, TrainingRun  # imports JAX
  from pipelines.inspect import costs

  bindings = [*bindings, *recipes.data_macros(flags)]
  try:
    recipes.parse_recipes(flags.gin_file, bindings)
    run = TrainingRun(Recipe())
  except (FileNotFoundError, ValueError) as error:
    sys.exit(f'error: {error}')
  return [costs.estimate_costs(run, flags.steps)]


if __name__ == '__main__':
  main()
