"""The stages of a cell as processes: what they are called with, and what they took."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.study import data_files
from pipelines.study.study_file import Cell, Study

# docs/speed.md; and TensorFlow's C++ side tells of missing GPUs at length.
_SETTINGS = {
  'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1',
  'TF_CPP_MIN_LOG_LEVEL': '3',
  'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
}


class StageError(RuntimeError):
  """A stage that failed: which, why, and where its log is."""


class Took(NamedTuple):
  """What a stage took.

  Attributes:
    seconds: of wall time.
    processor_seconds: of all its threads and child processes.
    peak_bytes: of resident memory, of the largest process.
  """

  seconds: float
  processor_seconds: float
  peak_bytes: int


def input_commands(
  cell: Cell, study: Study, folder: pathlib.Path
) -> dict[str, list[str]]:
  """Stage -> arguments of those whose folders cells share.

  Args:
    cell: decides sampler and history length.
    study: has the data, and flags of its own.
    folder: with `histories` and `embeddings` when they have run.
  """
  ratings, movies = data_files.find_data(study.data)
  return {
    'histories': [
      'pipelines.build_histories',
      f'--ratings={ratings}',
      f'--movies={movies}',
      f'--output_dir={folder}/histories',
      f'--sampler={cell.axes["sampler"]}',
      f'--max_history={cell.axes["max_history"]}',
      '--train_fraction=0.7',
      '--validation_fraction=0.1',
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
  """Stage -> arguments of those that are the cell's own.

  Args:
    cell: decides recipe and bindings.
    inputs: with `histories` and `embeddings`.
    folder: to write `model`, `predictions` and `report` into.
  """
  histories = f'--histories_dir={inputs}/histories'
  embeddings = f'--embeddings_dir={inputs}/embeddings'
  model, predictions = f'{folder}/model', f'{folder}/predictions'
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
      histories,
      embeddings,
    ],
    'report': [
      'pipelines.evaluate',
      f'--predictions_dir={predictions}',
      f'--model_dir={model}',
      f'--output_dir={folder}/report',
      histories,
    ],
  }


def run_process(
  stage: str, arguments: Sequence[str], log: pathlib.Path, compiled: pathlib.Path
) -> Took:
  """Runs a stage to its end.

  Args:
    stage: its name.
    arguments: module, then flags.
    log: gets what it writes.
    compiled: folder of JAX's compiled code: what one cell has compiled, the next ones
      of its shapes need not.

  Raises:
    StageError: it did not end well.
  """
  log.parent.mkdir(parents=True, exist_ok=True)
  command = [sys.executable, '-m', *arguments]
  cache = {'JAX_COMPILATION_CACHE_DIR': str(compiled.absolute())}
  environment = _SETTINGS | cache | os.environ
  begun = time.perf_counter()
  with log.open('a') as file:
    process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
      _, status, usage = os.wait4(process.pid, 0)
    except BaseException:  # the study is stopped: nothing goes on behind it
      process.send_signal(signal.SIGTERM)
      process.wait()
      raise
  seconds = time.perf_counter() - begun
  process.returncode = code = os.waitstatus_to_exitcode(status)
  if code:
    raise StageError(f'{stage} ended with {code}: {_reason(log)} (in {log})')
  return Took(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _reason(log):
  """The last line that names an error, or the last line."""
  lines = [line.strip() for line in log.read_text(errors='replace').splitlines()]
  named = [line for line in lines if re.match(r'[\w.]*[Ee]rror: ', line)]
  return (named or lines or ['nothing was written'])[-1]
