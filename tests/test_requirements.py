"""setup.py names what the code imports, and the locks hold what setup.py names."""

import ast
import importlib.metadata
import pathlib
import re
import sys
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).parents[1]
OURS = ('pipelines', 'tasks', 'persoma_tf')
# Only the bridge to T5X imports it, and only vLLM's own process imports the others.
ELSEWHERE = ('t5x', 'torch', 'vllm')
LOCKS = tuple(f'requirements{x}.txt' for x in ('', '-test', '-bigquery', '-vllm'))


def required() -> list[Requirement]:
  """What setup.py asks for."""
  for node in ast.walk(ast.parse((ROOT / 'setup.py').read_text())):
    if isinstance(node, ast.keyword) and node.arg == 'install_requires':
      return [Requirement(text) for text in ast.literal_eval(node.value)]
  raise AssertionError('setup.py has no install_requires')


def locked(name: str) -> dict[str, str]:
  """Distribution -> version of a lock."""
  text = (ROOT / name).read_text()
  return dict(re.findall(r'^([a-z0-9-]+)==(\S+)', text, re.MULTILINE))


def imported(package: str) -> Iterator[tuple[str, str]]:
  """(file, dotted name) of each import of others' code."""
  for path in (ROOT / package).rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      names = []
      if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom):
        names = [f'{node.module}.{alias.name}' for alias in node.names]
      for name in names:
        if name.split('.')[0] not in (*OURS, *ELSEWHERE):
          yield str(path.relative_to(ROOT)), name


def test_setup_names_what_is_imported():
  files = {
    str(file)
    for requirement in required()
    for file in importlib.metadata.files(requirement.name)
  }
  modules = {re.sub(r'(/__init__)?\.py$', '', x) for x in files if x.endswith('.py')}
  modules |= sys.stdlib_module_names

  def is_named(name: str) -> bool:
    parts = name.split('.')
    return any('/'.join(parts[:end]) in modules for end in range(len(parts), 0, -1))

  missing = {x for package in OURS for x in imported(package) if not is_named(x[1])}
  assert not missing, 'not in install_requires of setup.py'


@pytest.mark.parametrize('requirement', required(), ids=lambda x: x.name)
def test_the_lock_has_what_setup_asks_for(requirement):
  version = locked('requirements.txt')[canonicalize_name(requirement.name)]
  assert version in requirement.specifier


def test_test_tools_are_apart():
  tools, ours = locked('requirements-test.txt'), locked('requirements.txt')
  assert {'pytest', 'ruff', 'uv'} <= tools.keys()
  assert not tools.keys() & ours.keys()


@pytest.mark.parametrize('name', LOCKS)
def test_all_is_pinned_by_hash(name):
  text = re.sub(r'^ *#.*\n', '', (ROOT / name).read_text(), flags=re.MULTILINE)
  assert locked(name)
  for entry in text.replace('\\\n', '').strip().splitlines():
    assert re.fullmatch(r'[a-z0-9-]+==\S+( +--hash=sha256:[0-9a-f]{64})+', entry)
