"""Work that processes share."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from pipelines.study import claims

# A holder in a process of its own. It says when it holds; after a line on its standard
# input it says whether it still does, and ends.
HOLD = """
import json, pathlib, sys, time
from pipelines.study import claims
claims._BEAT = 0.5
with claims.hold(pathlib.Path(sys.argv[1])) as claim:
  print('held', flush=True)
  sys.stdin.readline()
  print(claim.is_ours())
"""
# A holder that stops between making its record and writing it.
STUCK = "json.dump = lambda *_: [print('made', flush=True), time.sleep(60)]\nwith"


@contextlib.contextmanager
def process(code: str, path: pathlib.Path):
  """Runs `code` up to its first word; ends it with the block."""
  with subprocess.Popen(
    [sys.executable, '-c', code, str(path)],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  ) as child:
    try:
      assert child.stdout.readline()
      yield child
    finally:
      child.kill()


def records(folder: pathlib.Path) -> list[str]:
  """Names of a folder's claims, without that of their lock."""
  return [path.name for path in folder.iterdir() if path.name != '.lock']


def test_only_one_holds_a_claim(tmp_path):
  path = tmp_path / 'claims' / 'cell'
  with claims.hold(path) as claim:
    assert claim.is_ours()
    assert str(os.getpid()) in claims.holder(path)
    with claims.hold(path) as second:
      assert not second
    assert claims.holder(path), 'who was refused takes nothing away'
  assert claims.holder(path) is None
  assert records(path.parent) == []


def test_many_at_once(tmp_path):
  """Of threads that begin together one at a time has the claim, and each gets it."""
  inside, most, done = [], [], []

  def work():
    with claims.wait(tmp_path / 'x', pause=0.01):
      inside.append(1)
      most.append(len(inside))
      time.sleep(0.01)
      inside.pop()
    done.append(1)

  threads = [threading.Thread(target=work) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert (max(most), len(done)) == (1, 8)


def test_a_dead_process_holds_nothing(tmp_path):
  path = tmp_path / 'x'
  with process(HOLD, path) as child:
    with claims.hold(path) as claim:
      assert not claim
    child.kill()
    child.wait()
    with claims.hold(path) as claim:
      assert claim
  assert records(tmp_path) == []


@pytest.mark.timeout(20)
def test_a_process_that_dies_over_its_record_holds_nothing(tmp_path, monkeypatch):
  path = tmp_path / 'x'
  with process(HOLD.replace('with', STUCK, 1), path) as child:
    child.kill()
    child.wait()
  assert path.read_text() == ''
  assert claims.holder(path) is None
  with claims.hold(path) as claim:
    assert not claim, 'on a network folder it may be just being written'
  monkeypatch.setattr(claims, '_DEAD', 0.2)
  with claims.wait(path, pause=0.02) as claim:
    assert claim.is_ours()
  assert records(tmp_path) == []


def test_who_slept_too_long_takes_nothing_from_its_successor(tmp_path, monkeypatch):
  path = tmp_path / 'x'
  monkeypatch.setattr(claims, '_DEAD', 0.2)
  with process(HOLD, path) as child:
    child.send_signal(signal.SIGSTOP)
    with claims.wait(path, pause=0.02) as claim:
      found = path.read_text(), path.stat().st_mtime_ns
      child.send_signal(signal.SIGCONT)
      said, _ = child.communicate('\n')
      assert path.exists()
      assert (path.read_text(), path.stat().st_mtime_ns) == found
      assert (claim.is_ours(), said) == (True, 'False\n')
  assert records(tmp_path) == []


def test_who_slept_a_little_goes_on(tmp_path):
  path = tmp_path / 'x'
  with process(HOLD, path) as child:
    child.send_signal(signal.SIGSTOP)
    with claims.hold(path) as claim:
      assert not claim
    child.send_signal(signal.SIGCONT)
    assert child.communicate('\n')[0] == 'True\n'
  assert records(tmp_path) == []


def test_a_kept_claim_cannot_be_lost(tmp_path, monkeypatch):
  path = tmp_path / 'x'
  monkeypatch.setattr(claims, '_DEAD', -1)  # everything is dead
  with claims.hold(path) as first:
    successor = threading.Thread(target=lambda: claims.Claim(path)._take())
    with first.keep():
      successor.start()
      successor.join(0.1)
      assert successor.is_alive(), 'waits'
    successor.join()
    with pytest.raises(claims.LostError, match='x: another process'), first.keep():
      raise AssertionError('nothing runs in a lost claim')
  assert records(tmp_path) == ['x']


def test_another_machine_is_believed_while_its_claim_is_fresh(tmp_path):
  path = tmp_path / 'x'
  path.write_text(json.dumps({'host': 'another', 'process': 1}))
  with claims.hold(path) as claim:
    assert not claim
  long_ago = time.time() - 3600
  os.utime(path, (long_ago, long_ago))
  assert claims.holder(path) is None
  with claims.hold(path) as claim:
    assert claim
