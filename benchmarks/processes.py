"""Measurements in processes of their own, each with what a fast run sets."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Sequence

import psutil

HUGE_PAGES = {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'}  # docs/speed.md


def last_line(command: Sequence[str]) -> dict:
  """The JSON that a process prints last; also printed here, as it comes."""
  done = subprocess.run(
    command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | HUGE_PAGES
  )
  row = json.loads(done.stdout.splitlines()[-1])
  print(*command[-3:], row, flush=True)
  return row


def run_measured(command: Sequence[str], shown: bool = False) -> tuple[float, float]:
  """Seconds and peak memory [GB] of a process and its children together."""
  started, peak = time.monotonic(), 0
  output = None if shown else subprocess.DEVNULL
  process = psutil.Popen(command, stdout=output, stderr=output)
  while process.poll() is None:
    with contextlib.suppress(psutil.Error):
      tree = [process, *process.children(recursive=True)]
      peak = max(peak, sum(x.memory_info().rss for x in tree))
    time.sleep(0.05)
  assert process.returncode == 0, command
  return time.monotonic() - started, peak / 1e9
