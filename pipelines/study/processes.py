"""Runs the stages of a cell as processes, and measures their time and memory."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from persoma_tf import gin_settings, recipes
from pipelines.study import data_files
from pipelines.study.study_file import Cell, Study

# docs/speed.md.
_SETTINGS = {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'}


class StageError(RuntimeError):
  """Names a stage that failed, the reason, and the log."""


class Took(NamedTuple):
  """Holds the time and memory of a stage.

  Attributes:
    seconds: wall time.
    processor_seconds: processor time of all threads and child processes.
    peak_bytes: peak resident memory of the largest process.
  """

  seconds: float
  processor_seconds: float
  peak_bytes: int


def input_commands(
  cell: Cell, study: Study, folder: pathlib.Path
) -> dict[str, list[str]]:
  """Returns the arguments of each stage whose output cells share.

  Args:
    cell: cell that sets sampler and history length, unless a dataset file does.
    study: study that sets data and flags.
    folder: folder to write `histories` and `embeddings` into.
  """
  if data_files.is_dataset(study.data):
    data = [f'--dataset={study.data}']
  else:
    ratings, movies = data_files.find_data(study.data)
    data = [
      f'--ratings={ratings}',
      f'--movies={movies}',
      f'--sampler={cell.axes["sampler"]}',
      f'--max_history={cell.axes["max_history"]}',
      '--train_fraction=0.7',
      '--validation_fraction=0.1',
    ]
  return {
    'histories': [
      'pipelines.build_histories',
      *data,
      f'--output_dir={folder}/histories',
      *study.flags['histories'],
    ],
    'embeddings': [
      'pipelines.embed_items',
      f'--histories_dir={folder}/histories',
      f'--output_dir={folder}/embeddings',
      *study.flags['embeddings'],
    ],
  }


def cell_commands(
  cell: Cell, inputs: pathlib.Path, folder: pathlib.Path
) -> dict[str, list[str]]:
  """Returns the arguments of each stage that only this cell runs.

  Args:
    cell: cell that sets recipes and bindings.
    inputs: folder with `histories` and `embeddings`.
    folder: folder to write `model`, `predictions` and `report` into.
  """
  histories = f'--histories_dir={inputs}/histories'
  embeddings = f'--embeddings_dir={inputs}/embeddings'
  model, predictions = f'{folder}/model', f'{folder}/predictions'
  question = cell.axes.get('question')  # one of those that a model may answer
  return {
    'training': [
      'persoma_tf.train',
      *(f'--gin_file={file}' for file in cell.recipes),
      *(f'--gin.{binding.replace(" = ", "=", 1)}' for binding in cell.bindings),
      f'--model_dir={model}',
      histories,
      embeddings,
    ],
    'predictions': [
      'pipelines.batch_predict',
      f'--model_dir={model}',
      f'--output_dir={predictions}',
      *([f'--questions={question}'] if question else []),
      *_trusted(cell.config),
      histories,
      embeddings,
    ],
    'report': [
      'pipelines.evaluate',
      f'--predictions_dir={predictions}',
      f'--model_dir={model}',
      f'--output_dir={folder}/report',
      histories,
      embeddings,
    ],
  }


def _trusted(config: str) -> list[str]:
  """Returns the flag that trusts the modules of the study's own recipes."""
  own = [x for x in gin_settings.imports(config) if not recipes.is_trusted(x)]
  return [f'--trusted_modules={",".join(own)}'] if own else []


def run_process(stage: str, arguments: Sequence[str], log: pathlib.Path) -> Took:
  """Runs a stage and waits until it ends.

  Args:
    stage: name of the stage.
    arguments: module, then flags.
    log: file to append stdout and stderr to.

  Raises:
    StageError: the exit code of the stage is not 0.
  """
  log.parent.mkdir(parents=True, exist_ok=True)
  command = [sys.executable, '-m', *arguments]
  environment = _SETTINGS | os.environ
  begun = time.perf_counter()
  with log.open('a') as file:
    process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
      _, status, usage = os.wait4(process.pid, 0)
    except BaseException:  # the study is stopped: its stage must not run on
      process.send_signal(signal.SIGTERM)
      process.wait()
      raise
  seconds = time.perf_counter() - begun
  process.returncode = code = os.waitstatus_to_exitcode(status)
  if code:
    raise StageError(f'{stage} ended with {code}: {_reason(log)} (in {log})')
  return Took(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _reason(log):
  """Returns the last line of a log that names an error, or the last line."""
  lines = [line.strip() for line in log.read_text(errors='replace').splitlines()]
  named = [line for line in lines if re.match(r'[\w.]*[Ee]rror: ', line)]
  return (named or lines or ['nothing was written'])[-1]
