"""Runs a job; defines the errors, rejects and versions that all jobs report.

A command is a module with a frozen dataclass `Config`, whose fields are its flags
(`pipelines.common.flags`), and a function `run(argv)`. Its last lines import the module
by name, so that nothing of `__main__` is pickled:

    if __name__ == '__main__':
      from pipelines import build_histories
      job.main(build_histories.run)
"""

import logging
import re
import sys
import threading
from collections.abc import Callable
from importlib import metadata

import pipelines
from persoma_tf import process

_PACKAGES = ('apache-beam', 'numpy', 'pyarrow')
_OF_A_WORKER = (
  r'JobError: (.*?)(?: \[while running|\n|$)'
  r"|FileNotFoundError: \[Errno 2\] (No such file or directory: '[^']*')"
  r' \[while running'
)
UNREACHED = (
  'inputs and output must be where all workers reach them by the same path: in a '
  'bucket, or on a shared disk by its absolute path'
)


class JobError(ValueError):
  """Reports an error that the user can fix, in one sentence without a traceback."""


def main(run: Callable[[], object]) -> None:
  """Runs a job; exits with code 0 for success, 1 for a JobError, 2 for a bad flag."""
  process.prepare()
  logging.getLogger('apache_beam').setLevel(logging.WARNING)
  logging.getLogger('apache_beam.runners.common').addFilter(_is_no_job_error)
  for handler in logging.getLogger().handlers:
    handler.addFilter(_is_no_notice_of_beam)
  threading.excepthook = _tell_of_thread
  try:
    run()
  except JobError as error:  # Beam appends the step's name
    sys.exit(f'error: {str(error).split(" [while running")[0]}')
  except Exception as error:  # runners with separate workers send text
    sentence = _sentence_in(str(error))
    if not sentence:
      raise
    sys.exit(sentence)


def _sentence_in(said: str) -> str:
  """Finds in the text of a runner what the user can mend; '' for an error of ours."""
  if found := re.search(_OF_A_WORKER, said):
    reason = found[1] or found[2]
    if 'No such file' in reason:
      return f'error: a worker: {reason}; {UNREACHED}'
    return f'error: {reason}'
  # Of gRPC: the job service is gone, or it finds no worker.
  found = re.search(r'StatusCode\.UNAVAILABLE\n\s*details = "(.*)"', said)
  # Of a job service, about its workers; an error of our code comes with its trace.
  if not found and 'Traceback (most recent' not in said:
    found = re.match(r'Pipeline \S+ failed in state \w+: (.+)', said)
  if not found:
    return ''
  return (
    f'error: the engine gave up: {found[1]}; the logs of the engine and of its workers '
    'tell more, such as which file or user it was'
  )


def _is_no_job_error(record):
  """Drops the traceback that Beam logs for a JobError: its sentence is enough."""
  return not (record.exc_info and isinstance(record.exc_info[1], JobError))


def _tell_of_thread(raised):
  """Drops what a thread of Beam raises when its job service is gone; `main` tells."""
  if not raised.exc_type.__module__.startswith('grpc.'):
    threading.__excepthook__(raised)


def _is_no_notice_of_beam(record):
  """Tells apart what Beam logs below an error by the root logger, past its own."""
  of_beam = record.name == 'root' and '/apache_beam/' in record.pathname
  return not of_beam or record.levelno >= logging.ERROR


def versions(*packages: str) -> dict[str, str]:
  """Returns the versions of Python and of packages, for the info files."""
  python = '.'.join(map(str, sys.version_info[:3]))
  # Not from the package metadata: a plain checkout has none.
  found = {'python': python, 'persoma': pipelines.__version__}
  for name in (*_PACKAGES, *packages):
    try:
      found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      found[name] = 'not installed'
  return found


def reject(stage: str, reason: str, **record) -> dict:
  """Returns the entry of rejects-*.jsonl for a row that cannot be used.

  Args:
    stage: name of the step that rejected the row, such as 'read_ratings'.
    reason: fixed name of the reason, such as 'not_a_number'.
    **record: `file`, `line` (counted from 1), `field`, `value`, `raw` text, and
      `expected`, a text that says what a valid row has.
  """
  return {'stage': stage, 'reason': reason, 'record': record}
