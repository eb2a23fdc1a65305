"""What a folder holds, and what a recipe would cost.

    python -m persoma_tf.inspect runs/quickstart/histories [PATH...] [--records=3]
    python -m persoma_tf.inspect --gin_file=runs/quickstart.gin \
      --histories_dir=histories --embeddings_dir=embeddings [--gin.NAME=VALUE]

Folders of every job, model folders, checkpoints, adapters and single files: counts,
shapes, configuration, a few records. With a recipe, a few steps of each stage are run
at their true sizes, and nothing is written. `--json` prints the same for programs.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence

from persoma_tf import recipes
from persoma_tf.inspect import folders, text


def main(argv: Sequence[str] | None = None) -> None:
  """Parses flags and prints.

  Raises:
    SystemExit: 1 if a path is not there or something is damaged or not finished.
  """
  bindings, arguments = recipes.bindings_of(sys.argv[1:] if argv is None else argv)
  parser = argparse.ArgumentParser(
    prog='python -m persoma_tf.inspect',
    description=__doc__.split('\n')[0],
    epilog=recipes.HELP,
  )
  logging.getLogger('absl').setLevel(logging.ERROR)  # Orbax misses files of its own
  parser.add_argument('paths', nargs='*', metavar='PATH', help='folders or files')
  parser.add_argument('--records', type=int, default=3, help='shown of each table')
  parser.add_argument('--json', action='store_true', help='print JSON')
  parser.add_argument('--gin_file', action='append', help='estimate this recipe')
  parser.add_argument('--histories_dir', help='sets the macro HISTORIES_DIR')
  parser.add_argument('--embeddings_dir', help='sets the macro EMBEDDINGS_DIR')
  parser.add_argument('--steps', type=int, default=8, help='timed of each stage')
  flags = parser.parse_args(arguments)
  if bool(flags.paths) == bool(flags.gin_file):
    parser.error('expected either paths or --gin_file')
  if flags.gin_file:
    found, shown = _estimate(flags, bindings), text.estimate
  else:
    found, shown = _describe(flags), text.folder
  if flags.json:
    print(json.dumps(found, indent=2, default=str))
  else:
    print('\n\n'.join(map(shown, found)))
  unsound = [x for x in found if x.get('damaged') or 'NOT' in x.get('state', '')]
  sys.exit(1 if unsound else 0)


def _describe(flags):
  try:
    return [folders.describe(path, flags.records) for path in flags.paths]
  except (FileNotFoundError, ValueError) as error:
    sys.exit(f'error: {error}')


def _estimate(flags, bindings):
  # What trains is imported only to be timed.
  from persoma_tf.inspect import estimate
  from persoma_tf.training_run import Recipe, TrainingRun

  logging.basicConfig(level=logging.WARNING)
  macros = {
    'HISTORIES_DIR': flags.histories_dir,
    'EMBEDDINGS_DIR': flags.embeddings_dir,
  }
  bindings += [f'{name} = {value!r}' for name, value in macros.items() if value]
  try:
    recipes.parse(flags.gin_file, bindings)
    run = TrainingRun(Recipe())
  except (FileNotFoundError, ValueError) as error:
    sys.exit(f'error: {error}')
  return [estimate.estimate(run, flags.steps)]


if __name__ == '__main__':
  main()
