"""Measurements in processes of their own, each with what a fast run sets."""

import json
import os
import subprocess
from collections.abc import Sequence

HUGE_PAGES = {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'}  # docs/speed.md


def last_line(command: Sequence[str]) -> dict:
  """The JSON that a process prints last; also printed here, as it comes."""
  done = subprocess.run(
    command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | HUGE_PAGES
  )
  row = json.loads(done.stdout.splitlines()[-1])
  print(*command[-3:], row, flush=True)
  return row
