"""Who works on what, for processes on one or several machines that share a folder.

A claim is a small record that names its holder. It is made, renewed, checked and taken
away under a lock, which is held for a moment only. Its time is renewed while the work
goes on, so that the claim of a machine that died is known by its age. A process that
was suspended can lose its claim to another: `Claim.keep` and `Claim.is_ours` tell it.

Where a network folder's locks do not reach other machines, two of them can still take
the same dead claim: both do the work then, and only the later one keeps the claim.

The leases of filelock do the same with one file, but an empty one blocks for ever, and
only a process that waits all the time until a lease has expired can take it.
"""

import contextlib
import json
import os
import pathlib
import socket
import threading
import time
import uuid
from collections.abc import Iterator

import filelock

_BEAT = 20  # seconds
_DEAD = 300  # seconds without a beat


class LostError(RuntimeError):
  """Says that another process has taken a claim over."""


class Claim:
  """Holds a piece of work for this process, from `hold` or `wait`."""

  def __init__(self, path: pathlib.Path):
    """Claims nothing yet; `path` is that of the record."""
    self._path = path
    self._token = uuid.uuid4().hex

  def is_ours(self) -> bool:
    """Returns whether nobody has taken the work over."""
    with _lock(self._path):
      return self._is_named()

  @contextlib.contextmanager
  def keep(self) -> Iterator[None]:
    """Keeps others from taking the work over while the block runs, a short one.

    Raises:
      LostError: somebody has taken it over before.
    """
    with _lock(self._path):
      if not self._is_named():
        raise LostError(f'{self._path.name}: another process has taken it over')
      yield

  def _is_named(self):
    return _read(self._path).get('token') == self._token

  def _take(self):
    who = {'host': socket.gethostname(), 'process': os.getpid(), 'token': self._token}
    with _lock(self._path), contextlib.suppress(FileExistsError):
      if _is_dead(self._path):
        self._path.unlink(missing_ok=True)
      with self._path.open('x') as file:
        json.dump(who, file)
      return True
    return False

  def _renew(self, ended):
    with contextlib.suppress(LostError):
      while not ended.wait(_BEAT):
        # A folder that does not answer now may answer the next time.
        with contextlib.suppress(OSError), self.keep():
          self._path.touch()

  def _release(self):
    with contextlib.suppress(LostError), self.keep():
      self._path.unlink()


@contextlib.contextmanager
def hold(path: pathlib.Path) -> Iterator[Claim | None]:
  """Claims a piece of work until the block ends; gives None if another holds it."""
  path.parent.mkdir(parents=True, exist_ok=True)
  claim = Claim(path)
  if not claim._take():
    yield None
    return
  ended = threading.Event()
  beat = threading.Thread(target=claim._renew, args=(ended,), daemon=True)
  beat.start()
  try:
    yield claim
  finally:
    ended.set()
    beat.join()
    claim._release()


@contextlib.contextmanager
def wait(path: pathlib.Path, pause: float = 2) -> Iterator[Claim]:
  """Claims a piece of work as soon as nobody else holds it."""
  while True:
    with hold(path) as claim:
      if claim:
        yield claim
        return
    time.sleep(pause)


def holder(path: pathlib.Path) -> str | None:
  """Returns 'host, process' of a claim that is held; None if it is free."""
  who = _read(path)
  if not who or _is_dead(path):
    return None
  return f'{who["host"]}, process {who["process"]}'


def _lock(path):
  """Returns the lock of all claims in a folder."""
  return filelock.FileLock(path.with_name('.lock'))


def _read(path):
  """Returns a record; {} if there is none, or its writer died over it."""
  try:
    return json.loads(path.read_text())
  except (FileNotFoundError, ValueError):
    return {}


def _is_dead(path):
  who = _read(path)
  if who.get('host') == socket.gethostname() and not _runs(who['process']):
    return True
  try:
    return time.time() - path.stat().st_mtime > _DEAD
  except FileNotFoundError:
    return False


def _runs(process):
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:  # somebody else's process
    pass
  return True
