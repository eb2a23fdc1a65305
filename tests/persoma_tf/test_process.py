"""What a process shows on a terminal, and where it keeps compiled code."""

import os
import pty
import subprocess
import sys

SAYS = """
import os, sys
from persoma_tf import process
process.prepare()
process.prepare()  # twice is once
os.write(2, b'I0000 00:00:1 1 port.cc:1] a notice\\n')
os.write(2, b'E0000 00:00:1 1 x.cc:1] an error \\xff\\x00\\n')
print('from Python', file=sys.stderr)
os.abort()
"""


def shown(code: str, **environment) -> str:
  """What a process shows on a terminal."""
  ours, theirs = pty.openpty()
  process = subprocess.Popen(
    [sys.executable, '-c', code], stderr=theirs, env={**os.environ, **environment}
  )
  os.close(theirs)
  text = b''
  try:
    while part := os.read(ours, 1 << 16):
      text += part
  except OSError:  # the other end is closed
    pass
  process.wait()
  return text.decode(errors='replace')


def test_a_terminal_shows_errors_and_no_notices(tmp_path):
  """Also those of a process that crashes, and of bytes that are no text."""
  text = shown(SAYS, PERSOMA_CACHE=str(tmp_path))
  assert 'a notice' not in text
  assert 'an error' in text
  assert 'from Python' in text


def compiled_folder(**environment) -> str:
  """JAX's folder after `prepare`, '' for none."""
  code = (
    'import os; from persoma_tf import process; process.prepare(); '
    "print(os.environ.get('JAX_COMPILATION_CACHE_DIR', ''))"
  )
  inherited = {k: v for k, v in os.environ.items() if not k.startswith('JAX_')}
  done = subprocess.run(
    [sys.executable, '-c', code],
    env={**inherited, **environment},
    capture_output=True,
    text=True,
    check=True,
  )
  return done.stdout.strip()


def test_what_a_killed_process_left_of_an_entry_is_deleted(tmp_path):
  """JAX itself would fail at every later entry."""
  folder = tmp_path / 'compiled'
  folder.mkdir()
  for name in ('whole-cache', 'whole-atime', 'half-cache'):
    (folder / name).write_bytes(bytes(8))
  compiled_folder(PERSOMA_CACHE=str(tmp_path))
  assert {x.name for x in folder.iterdir()} == {'whole-cache', 'whole-atime'}


def test_compiled_code_lies_in_the_cache(tmp_path):
  assert compiled_folder(PERSOMA_CACHE=str(tmp_path)) == f'{tmp_path}/compiled'
  kept = compiled_folder(PERSOMA_CACHE=str(tmp_path), JAX_COMPILATION_CACHE_DIR='mine')
  assert kept == 'mine'


def test_a_cache_that_cannot_be_written_is_left_out(tmp_path):
  (tmp_path / 'file').touch()
  assert compiled_folder(PERSOMA_CACHE=str(tmp_path / 'file')) == ''
