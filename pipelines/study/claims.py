"""Who works on what, for processes on several machines that share a folder.

A claim is a file that only one process can have created. Its time is renewed while the
work goes on, so that the claim of a machine that died is known by its age.
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

_BEAT = 20  # seconds
_DEAD = 300  # seconds without a beat


@contextlib.contextmanager
def hold(path: pathlib.Path) -> Iterator[bool]:
  """Claims a piece of work; tells whether it is ours until the block ends."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if not (_create(path) or (_is_dead(path) and _take_over(path))):
    yield False
    return
  ended = threading.Event()
  beat = threading.Thread(target=_renew, args=(path, ended), daemon=True)
  beat.start()
  try:
    yield True
  finally:
    ended.set()
    beat.join()
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def wait(path: pathlib.Path, pause: float = 2) -> Iterator[None]:
  """Claims a piece of work as soon as nobody else holds it."""
  while True:
    with hold(path) as ours:
      if ours:
        yield
        return
    time.sleep(pause)


def holder(path: pathlib.Path) -> str | None:
  """'host, process' of a claim that is held; None if it is free."""
  try:
    who = json.loads(path.read_text())
  except (FileNotFoundError, ValueError):
    return None
  return None if _is_dead(path) else f'{who["host"]}, process {who["process"]}'


def _create(path):
  try:
    with path.open('x') as file:
      json.dump({'host': socket.gethostname(), 'process': os.getpid()}, file)
  except FileExistsError:
    return False
  return True


def _is_dead(path):
  try:
    old = time.time() - path.stat().st_mtime > _DEAD
    who = json.loads(path.read_text())
  except (FileNotFoundError, ValueError):  # gone, or just being written
    return False
  if who['host'] != socket.gethostname():
    return old
  try:
    os.kill(who['process'], 0)
  except ProcessLookupError:
    return True
  except PermissionError:  # somebody else's process
    pass
  return old


def _take_over(path):
  """Only one of those who find a dead claim can rename it."""
  aside = path.with_name(f'{path.name}.dead-{uuid.uuid4().hex}')
  try:
    path.rename(aside)
  except FileNotFoundError:
    return False
  aside.unlink()
  return _create(path)


def _renew(path, ended):
  while not ended.wait(_BEAT):
    path.touch()
