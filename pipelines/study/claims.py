"""Claims pieces of work, for processes on machines that share a folder.

A claim is a small file that names its holder. It is created, renewed, checked and
removed under a lock, which is held only for a moment. The holder renews the file's time
while it works; an old claim is that of a dead machine. A suspended process can lose its
claim to another process: `Claim.keep` and `Claim.is_ours` detect this.

If the locks of a network folder do not reach other machines, two machines can take the
same dead claim. Then both do the work, and only the later one keeps the claim.

The leases of filelock do the same with one file. But an empty lease file blocks for
ever, and only a process that waits until a lease has expired can take it.
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
  """Holds a piece of work for this process; made by `hold` and `wait`."""

  def __init__(self, path: pathlib.Path):
    """Takes the path of the claim's file; claims nothing yet."""
    self._path = path
    self._token = uuid.uuid4().hex

  def is_ours(self) -> bool:
    """Tells whether this process still has the claim."""
    with _lock(self._path):
      return self._is_named()

  @contextlib.contextmanager
  def keep(self) -> Iterator[None]:
    """Locks the claim while a short block runs: no other process can take it over.

    Raises:
      LostError: another process has already taken the claim over.
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
        # An error of the shared folder may be gone the next time.
        with contextlib.suppress(OSError), self.keep():
          self._path.touch()

  def _release(self):
    with contextlib.suppress(LostError), self.keep():
      self._path.unlink()


@contextlib.contextmanager
def hold(path: pathlib.Path) -> Iterator[Claim | None]:
  """Claims a piece of work until the block ends; gives None if it is already held."""
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
  """Waits until a piece of work is free, then claims it until the block ends."""
  while True:
    with hold(path) as claim:
      if claim:
        yield claim
        return
    time.sleep(pause)


def holder(path: pathlib.Path) -> str | None:
  """Returns the host and process that hold a claim; None if it is free."""
  who = _read(path)
  if not who or _is_dead(path):
    return None
  return f'{who["host"]}, process {who["process"]}'


def _lock(path):
  """Returns the lock of all claims in a folder."""
  return filelock.FileLock(path.with_name('.lock'))


def _read(path):
  """Returns the content of a claim's file; {} if the file is missing or incomplete."""
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
  except PermissionError:  # another user's process
    pass
  return True
