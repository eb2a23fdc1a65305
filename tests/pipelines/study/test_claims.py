"""Work that processes share."""

import json
import os
import subprocess
import sys
import threading
import time

from pipelines.study import claims


def test_only_one_holds_a_claim(tmp_path):
  path = tmp_path / 'claims' / 'cell'
  with claims.hold(path) as ours:
    assert ours
    assert str(os.getpid()) in claims.holder(path)
    with claims.hold(path) as second:
      assert not second
    assert claims.holder(path), 'who was refused takes nothing away'
  assert claims.holder(path) is None


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
  hold = f"""
import pathlib, time
from pipelines.study import claims
with claims.hold(pathlib.Path({str(path)!r})):
  print('held', flush=True)
  time.sleep(60)
"""
  process = subprocess.Popen([sys.executable, '-c', hold], stdout=subprocess.PIPE)
  process.stdout.readline()
  with claims.hold(path) as ours:
    assert not ours
  process.kill()
  process.wait()
  with claims.hold(path) as ours:
    assert ours
  assert list(tmp_path.iterdir()) == []


def test_another_machine_is_believed_while_its_claim_is_fresh(tmp_path):
  path = tmp_path / 'x'
  path.write_text(json.dumps({'host': 'another', 'process': 1}))
  with claims.hold(path) as ours:
    assert not ours
  long_ago = time.time() - 3600
  os.utime(path, (long_ago, long_ago))
  assert claims.holder(path) is None
  with claims.hold(path) as ours:
    assert ours
