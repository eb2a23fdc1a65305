"""Prepares a process that trains or runs a job; called before heavy imports."""

import logging
import os
import pathlib
import subprocess
import sys

from persoma_tf import assets

# Orbax writes through absl, 30 lines a checkpoint.
_LIBRARIES = ('absl', 'jax')
# Notices and warnings of C++ libraries, which no setting keeps off the terminal, and
# the error that TensorFlow reports on every machine without a GPU.
_NOTICES = (
  r'^(WARNING: All log messages before absl|[IW][0-9]{4} [0-9:. ]+ |'
  r'E[0-9]{4} .*failed call to cuInit)'
)


def prepare() -> None:
  """Sets up the log, and the environment that JAX and TensorFlow read.

  The terminal shows this project's lines, and the errors of other libraries. JAX keeps
  compiled code in the cache folder, so that the next process need not compile it again.
  Variables that the environment has already are kept.
  """
  _filter_terminal()
  logging.basicConfig(level=logging.INFO, format='%(asctime)s %(name)s: %(message)s')
  for name in _LIBRARIES:
    logging.getLogger(name).setLevel(logging.ERROR)
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # errors
  if 'JAX_COMPILATION_CACHE_DIR' not in os.environ and (folder := _compiled_folder()):
    os.environ['JAX_COMPILATION_CACHE_DIR'] = folder
    os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
    os.environ.setdefault('JAX_COMPILATION_CACHE_MAX_SIZE', str(10**9))  # bytes


def _compiled_folder() -> str | None:
  """Returns the folder of compiled code; None where no such folder can be written."""
  try:
    folder = assets.cache_dir() / 'compiled'
    folder.mkdir(parents=True, exist_ok=True)
    _delete_halves(folder)
  except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
    return None
  return str(folder) if os.access(folder, os.W_OK) else None


def _delete_halves(folder: pathlib.Path) -> None:
  """Deletes what killed processes wrote without its time of use, in a second file.

  JAX reads all these times before it writes, and would fail at every entry.
  """
  for entry in folder.glob('*-cache'):
    if not entry.with_name(f'{entry.name.removesuffix("-cache")}-atime').exists():
      entry.unlink(missing_ok=True)


def _filter_terminal() -> None:
  """Hides the notices that C++ libraries write to a terminal past Python's logging.

  Python writes to the terminal itself. The filter is a process of its own, so that the
  last words of a process that crashes still pass.
  """
  if not (sys.stderr is sys.__stderr__ and sys.stderr and sys.stderr.isatty()):
    return  # not a terminal, or filtered already
  terminal = os.dup(sys.stderr.fileno())
  command = ['grep', '-a', '--line-buffered', '-vE', _NOTICES]
  try:
    filtered = subprocess.Popen(
      command, stdin=subprocess.PIPE, stdout=terminal, start_new_session=True
    )
  except OSError:  # no grep: the notices are shown
    os.close(terminal)
    return
  encoding = sys.stderr.encoding
  sys.stderr = os.fdopen(
    terminal, 'w', buffering=1, encoding=encoding, errors='backslashreplace'
  )
  os.dup2(filtered.stdin.fileno(), 2)
  filtered.stdin.close()
