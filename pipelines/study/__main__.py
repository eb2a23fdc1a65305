r"""Runs the cells of a study that are missing, and writes its page.

    python -m pipelines.study run studies/quick.yaml \
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
from pipelines.study import claims, processes, study_file
from pipelines.study.cells import StudyFolder, finish_cell
from pipelines.study.plan import estimate_minutes, study_table

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
  """Exits with 0 if every cell is done or at work elsewhere, 1 if one failed."""
  logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s', force=True)
  for library in ('absl', 'jax'):
    logging.getLogger(library).setLevel(logging.ERROR)
  flags = _parser().parse_args(argv)
  signal.signal(signal.SIGTERM, lambda *_: sys.exit('stopped'))
  try:
    chosen = study_file.read_study(flags.study, flags.data)
  except (ValueError, OSError, AssetError) as error:
    sys.exit(f'error: {error}')
  folder = StudyFolder(flags.output_dir or f'runs/studies/{chosen.name}')
  if flags.dry_run:
    print(study_table(folder, chosen))
    return
  states = _run(folder, chosen)
  print(study_table(folder, chosen))
  if any(folder.result(cell).exists() for cell in chosen.cells):
    with claims.wait(folder.claim('report')):
      log = folder.path / 'study.log'
      processes.run_process('study report', _report(folder), log, folder.compiled)
    print(f'report: {folder.path}/report/study.html')
  if 'failed' in states:
    sys.exit(1)


def _parser():
  parser = argparse.ArgumentParser(
    prog='python -m pipelines.study',
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
    minutes = estimate_minutes(folder, chosen, cell)
    about = f'about {minutes:.0f} minutes' if minutes else 'time not known'
    logger.info('cell %d of %d, %s: %s', number, len(chosen.cells), about, cell.name)
    states.append(finish_cell(folder, chosen, cell))
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
