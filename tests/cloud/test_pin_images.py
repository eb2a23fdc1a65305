"""Digests of images: the text of a Dockerfile, and tools that stand in for the real."""

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
DIGEST = f'sha256:{"ab" * 32}'
BEAM = 'apache/beam_python3.11_sdk:2.77.0'
LAUNCHER = 'gcr.io/dataflow-templates-base/python311-template-launcher-base:latest'


def run(folder: pathlib.Path, path: str = '') -> subprocess.CompletedProcess:
  """Pins the folder's Dockerfile with the tools that are in the folder."""
  command = [sys.executable, str(ROOT / 'cloud' / 'pin_images.py'), 'Dockerfile']
  return subprocess.run(
    command,
    cwd=folder,
    env={'PATH': f'{folder}:{path}'},
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
  """A folder with the project's Dockerfile."""
  shutil.copy(ROOT / 'Dockerfile', tmp_path)
  return tmp_path


def put(path: pathlib.Path, script: str) -> None:
  """Writes a program."""
  path.write_text(f'#!/bin/sh\n{script}\n')
  path.chmod(0o755)


@pytest.mark.parametrize('tool', ['docker', 'crane', 'skopeo'])
def test_both_images_are_pinned(folder, tool):
  before = (folder / 'Dockerfile').read_text()
  put(folder / tool, f'echo "$@" >> asked; echo {DIGEST}')
  assert run(folder).returncode == 0
  after = (folder / 'Dockerfile').read_text()
  assert f'FROM {BEAM}@{DIGEST}\n' in after
  assert f'COPY --from={LAUNCHER}@{DIGEST} \\\n' in after
  assert after.replace(f'@{DIGEST}', '') == before
  first, second = (folder / 'asked').read_text().splitlines()
  assert first.endswith(BEAM)
  assert second.endswith(LAUNCHER)


def test_a_digest_is_renewed(folder):
  put(folder / 'crane', f'echo {DIGEST}')
  run(folder)
  newer = DIGEST.replace('ab', 'cd')
  put(folder / 'crane', f'echo {newer}')
  before = (folder / 'Dockerfile').read_text()
  run(folder)
  assert (folder / 'Dockerfile').read_text() == before.replace(DIGEST, newer)


def test_stages_and_platforms(folder):
  put(folder / 'crane', f'echo {DIGEST}')
  text = (
    'FROM --platform=linux/amd64 python:3.11 AS builder\nFROM builder\n'
    'COPY --from=builder /a:b /c\nCOPY setup.py ./\nCOPY tasks/x tasks/\n'
  )
  (folder / 'Dockerfile').write_text(text)
  assert run(folder).returncode == 0
  expected = text.replace('python:3.11', f'python:3.11@{DIGEST}')
  assert (folder / 'Dockerfile').read_text() == expected


@pytest.mark.parametrize(
  ('script', 'error'),
  [
    (None, 'error: none of crane, skopeo, docker is here to ask a registry\n'),
    (
      'echo no such host >&2; exit 1',
      f'error: no digest of {BEAM} from crane: no such',
    ),
    ('echo latest', f'error: no digest of {BEAM} from crane: latest'),
  ],
)
def test_no_registry_changes_nothing(folder, script, error):
  before = (folder / 'Dockerfile').read_text()
  if script:
    put(folder / 'crane', script)
  done = run(folder)
  assert (done.returncode, done.stdout) == (1, '')
  assert done.stderr.startswith(error)
  assert (folder / 'Dockerfile').read_text() == before
