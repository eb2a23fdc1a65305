"""Processes that tests start: bounded in time, and nothing of them stays behind."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import psutil

ROOT = pathlib.Path(__file__).parents[2]


class Done(NamedTuple):
  """A process that ended.

  Attributes:
    code: what it returned.
    output: stdout and stderr.
    workers: process ids of the SDK workers seen below it.
  """

  code: int
  output: str
  workers: set[int]


def environment(**changes: str) -> dict[str, str]:
  """This process' variables, with this Python first in PATH and no other modules."""
  path = f'{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
  variables = {**os.environ, 'PATH': path, **changes}
  variables.pop('PYTHONPATH', None)
  return variables


@contextlib.contextmanager
def started(
  command: Sequence[str],
  log: pathlib.Path,
  env: Mapping[str, str],
  cwd: pathlib.Path = ROOT,
) -> Iterator[subprocess.Popen]:
  """Starts a process in a group of its own; kills the group at the end."""
  with open(log, 'wb') as file:
    process = subprocess.Popen(
      command, stdout=file, stderr=file, env=env, cwd=cwd, start_new_session=True
    )
  try:
    yield process
  finally:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(
  command: Sequence[str],
  log: pathlib.Path,
  env: Mapping[str, str],
  cwd: pathlib.Path = ROOT,
  timeout: float = 120,
) -> Done:
  """Runs a process to its end.

  Raises:
    TimeoutError: it took longer; a dead worker lets Beam's runners wait forever.
  """
  workers, end = set(), time.monotonic() + timeout
  with started(command, log, env, cwd) as process:
    while process.poll() is None:
      workers |= sdk_workers(process.pid)
      if time.monotonic() > end:
        raise TimeoutError(f'{command[:4]}: {timeout} s\n{log.read_text()}')
      time.sleep(0.1)
  return Done(process.returncode, log.read_text(errors='replace'), workers)


def sdk_workers(pid: int) -> set[int]:
  """Process ids of Beam workers below a process."""
  found = set()
  with contextlib.suppress(psutil.Error):
    for child in psutil.Process(pid).children(recursive=True):
      with contextlib.suppress(psutil.Error):
        words = child.cmdline()
        if words and any('sdk_worker' in word for word in words[2:]):
          found.add(child.pid)
  return found


def free_port() -> int:
  """A port at which nobody listens."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    return free.getsockname()[1]


def wait_for_port(port: int, process: subprocess.Popen) -> None:
  """Waits until a server listens."""
  end = time.monotonic() + 60
  while True:
    assert process.poll() is None, 'the server ended'
    assert time.monotonic() < end, 'the server does not start'
    with contextlib.suppress(OSError):
      socket.create_connection(('localhost', port), 1).close()
      return
    time.sleep(0.05)


def wait_for_file(path: pathlib.Path, process: subprocess.Popen) -> str:
  """The text of a file that a server writes when it is ready."""
  end = time.monotonic() + 60
  while not (path.exists() and path.read_text()):
    assert process.poll() is None, 'the server ended'
    assert time.monotonic() < end, 'the server does not start'
    time.sleep(0.05)
  return path.read_text()
