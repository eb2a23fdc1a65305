"""Runs a cell and writes its result."""

import datetime
import json
import logging
import os
import pathlib
import platform
from importlib import metadata

import jax

from pipelines.study import claims, data_files, processes
from pipelines.study.study_file import Cell, Study, digest_settings

logger = logging.getLogger(__name__)
_PACKAGES = ('jax', 'flax', 'tensorflow', 'seqio', 'apache-beam', 'numpy')


class StudyFolder:
  """Names the parts of a study's folder.

  `results/` has a JSON file for every finished cell, `cells/` the outputs of the runs,
  `inputs/` histories and embeddings, by sampler and length where a cell names them,
  `claims/` the claims of the
  processes.
  """

  def __init__(self, path: str):
    """Takes the path of the folder; creates nothing."""
    self.path = pathlib.Path(path)

  def result(self, cell: Cell) -> pathlib.Path:
    """Returns the path of the cell's result."""
    return self.path / 'results' / f'{cell.name}.json'

  def claim(self, name: str) -> pathlib.Path:
    """Returns the path of the claim of a cell or of shared inputs."""
    return self.path / 'claims' / name

  def error(self, cell: Cell) -> pathlib.Path:
    """Returns the path of the text that says why the cell failed last time."""
    return self.path / 'cells' / cell.name / 'error.txt'


def finish_cell(folder: StudyFolder, study: Study, cell: Cell) -> str:
  """Runs a cell that is not finished, unless another process is running it.

  Returns:
    'done', 'failed', or 'elsewhere' if another process runs the cell or took it over.
  """
  with claims.hold(folder.claim(cell.name)) as claim:
    if not claim:
      return 'elsewhere'
    if folder.result(cell).exists():  # finished since the last check
      return 'done'
    try:
      _run(folder, study, cell, claim)
    except claims.LostError as error:
      logger.warning('%s', error)
      return 'elsewhere'
    except processes.StageError as error:
      if not claim.is_ours():  # another process runs the cell and reports it
        return 'elsewhere'
      logger.error('%s: %s', cell.name, error)
      folder.error(cell).write_text(f'{error}\n')
      return 'failed'
  return 'done'


def _run(folder, study, cell, claim):
  own = folder.path / 'cells' / cell.name
  folder.error(cell).unlink(missing_ok=True)
  inputs = folder.path / 'inputs' / _inputs(study, cell)
  with claims.wait(folder.claim(inputs.name)) as shared:
    for stage, arguments in processes.input_commands(cell, study, inputs).items():
      if not (inputs / stage / 'COMPLETED').exists():
        processes.run_process(stage, arguments, inputs / f'{stage}.log')
        with shared.keep():
          logger.info('%s: %s', inputs.name, stage)
  took_file = own / 'took.json'
  took = json.loads(took_file.read_text()) if took_file.exists() else {}
  for stage, arguments in processes.cell_commands(cell, inputs, own).items():
    if stage not in took:
      logger.info('%s: %s', cell.name, stage)
      is_resumed = (own / f'{stage}.log').exists()
      ran = processes.run_process(stage, arguments, own / f'{stage}.log')
      took[stage] = {**ran._asdict(), 'continued': is_resumed}
      with claim.keep():
        _write(took_file, took)
  result = cell_result(study, cell, own, took)
  with claim.keep():
    _write(folder.result(cell), result)


def _inputs(study, cell):
  """Names the folder of inputs that cells with the same histories share."""
  data = digest_settings(data_files.checksums(study.data))
  own = [str(cell.axes[x]) for x in ('sampler', 'max_history') if x in cell.axes]
  name = '-'.join([*own, data])
  return f'{name}-{digest_settings(study.flags)}' if any(study.flags.values()) else name


def cell_result(study: Study, cell: Cell, folder: pathlib.Path, took: dict) -> dict:
  """Returns the result of a finished cell, as JSON types.

  Args:
    study: study of the cell.
    cell: a finished cell.
    folder: folder of the cell, with its `report`.
    took: fields of `processes.Took` of each stage, and `continued`: whether an earlier
      process began the stage, whose time is missing then.
  """
  reports = folder / 'report' / cell.axes.get('question', '')
  report = json.loads((reports / 'metrics.json').read_text())
  versions = {name: metadata.version(name) for name in _PACKAGES}
  name = pathlib.Path(
    study.data
  ).name  # no path of this machine: the checksums identify the data
  device = jax.devices()[0]
  return {
    'study': study.name,
    'cell': cell.name,
    'axes': dict(cell.axes),
    'data': {'name': name, 'sha256': data_files.checksums(study.data)},
    'flags': study.flags,
    'score': report['data'].get('score', 'f1'),
    'methods': report['methods'],
    'model': report['run']['model'],
    'took': took,
    'wall_seconds': sum(x['seconds'] for x in took.values()),
    'peak_bytes': max(x['peak_bytes'] for x in took.values()),
    'finished_at': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    'machine': {
      'processors': _processors(),
      'processor': platform.machine(),
      'device': device.device_kind,
    },
    'versions': {'python': platform.python_version(), **versions},
    'config': cell.config,
  }


def _processors():
  """Counts the processors of this process: several cells can share a machine."""
  known = hasattr(os, 'sched_getaffinity')  # Linux
  return len(os.sched_getaffinity(0)) if known else os.cpu_count()


def _write(path, value):
  """Writes a JSON file atomically."""
  path.parent.mkdir(parents=True, exist_ok=True)
  half = path.with_name(f'{path.name}.tmp-{os.getpid()}')
  half.write_text(json.dumps(value, indent=2) + '\n')
  half.rename(path)
