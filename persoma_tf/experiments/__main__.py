r"""Runs the cells of a study that are missing, and writes its page.

    python -m persoma_tf.experiments run studies/quick.yaml \
      [--data=ml-100k] [--output_dir=runs/studies/quick] [--dry_run]

Each finished cell is a JSON in `<output_dir>/results`, which is never written again:
the same command goes on with the others, and several machines that share the folder
each take what nobody works on. A cell that failed is named, and tried by the next run.
"""

import argparse
import logging
import pathlib
import signal
import sys
from collections.abc import Sequence

from persoma_tf.assets import AssetError
from persoma_tf.experiments import claims, stages, study
from persoma_tf.experiments.plan import about, estimate, table
from persoma_tf.experiments.runner import Folder, finish

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
  """Exits with 0 if every cell is done or at work elsewhere, 1 if one failed."""
  logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s', force=True)
  for library in ('absl', 'jax'):
    logging.getLogger(library).setLevel(logging.ERROR)
  flags = _parser().parse_args(argv)
  signal.signal(signal.SIGTERM, lambda *_: sys.exit('stopped'))
  try:
    chosen = study.read(flags.study, flags.data)
  except (ValueError, OSError, AssetError) as error:
    sys.exit(f'error: {error}')
  folder = Folder(flags.output_dir or f'runs/studies/{chosen.name}')
  if flags.dry_run:
    print(table(folder, chosen))
    return
  states = _run(folder, chosen)
  print(table(folder, chosen))
  if any(folder.result(cell).exists() for cell in chosen.cells):
    with claims.wait(folder.claim('report')):
      log = folder.path / 'study.log'
      stages.run('study report', _report(folder), log, folder.compiled)
    print(f'report: {folder.path}/report/study.html')
  if 'failed' in states:
    sys.exit(1)


def _parser():
  parser = argparse.ArgumentParser(
    prog='python -m persoma_tf.experiments',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  run = parser.add_subparsers(required=True, metavar='run').add_parser('run')
  run.add_argument('study', help='YAML file')
  run.add_argument(
    '--data', default='', help="ml-100k or a folder; default: the study's"
  )
  run.add_argument('--output_dir', default='', help='default: runs/studies/<study>')
  run.add_argument('--dry_run', action='store_true', help='list cells, run none')
  return parser


def _run(folder, chosen):
  """States of the cells, in order."""
  states = []
  for number, cell in enumerate(chosen.cells, 1):
    if folder.result(cell).exists():
      states.append('done')
      continue
    minutes = estimate(folder, chosen, cell)
    takes = f'about {about(minutes)}' if minutes else 'time not known'
    logger.info('cell %d of %d, %s: %s', number, len(chosen.cells), takes, cell.name)
    states.append(finish(folder, chosen, cell))
  return states


def _report(folder):
  results = pathlib.Path(folder.path, 'results')
  return [
    'pipelines.study_report',
    f'--results_dir={results}',
    f'--output_dir={folder.path}/report',
    '--overwrite',
  ]


if __name__ == '__main__':
  main()
