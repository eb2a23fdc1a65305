"""Runs the missing cells of a study, one after the other, and writes its page."""

import logging
import sys

from persoma_tf.assets import AssetError
from pipelines.study import claims, processes, study_file
from pipelines.study.cells import StudyFolder, finish_cell
from pipelines.study.plan import about, estimate_minutes, study_table

logger = logging.getLogger(__name__)


def run_study(path: str, data: str, output_dir: str, dry_run: bool) -> None:
  """Runs a study.

  Args:
    path: study file.
    data: asset, folder or dataset file that replaces the study file's data; '' for the
      file's.
    output_dir: folder to write; '' for the default, `runs/studies/<study>`.
    dry_run: whether to list the cells without running them.

  Raises:
    SystemExit: 1 if a cell failed; a message if the study cannot be read.
  """
  try:
    chosen = study_file.read_study(path, data)
  except (ValueError, OSError, AssetError) as error:
    sys.exit(f'error: {error}')
  folder = StudyFolder(output_dir or f'runs/studies/{chosen.name}')
  if dry_run:
    print(study_table(folder, chosen))
    return
  states = _run_cells(folder, chosen)
  print(study_table(folder, chosen))
  if any(folder.result(cell).exists() for cell in chosen.cells):
    with claims.wait(folder.claim('report')):
      log = folder.path / 'study.log'
      processes.run_process('study report', _report(folder), log)
    print(f'report: {folder.path}/report')
  if 'failed' in states:
    sys.exit(1)


def _run_cells(folder, chosen) -> list[str]:
  """Runs the cells in order and returns their states."""
  states = []
  for number, cell in enumerate(chosen.cells, 1):
    if folder.result(cell).exists():
      states.append('done')
      continue
    minutes = estimate_minutes(folder, chosen, cell)
    takes = f'about {about(minutes)}' if minutes else 'time not known'
    logger.info('cell %d of %d, %s: %s', number, len(chosen.cells), takes, cell.name)
    states.append(finish_cell(folder, chosen, cell))
  return states


def _report(folder) -> list[str]:
  """Returns the command that writes the page of a study."""
  return [
    'pipelines.study_report',
    f'--results_dir={folder.path}/results',
    f'--output_dir={folder.path}/report',
    '--overwrite',
  ]
