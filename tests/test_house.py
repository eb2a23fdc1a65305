"""The rules of the house that no linter knows: names, docstrings, sizes."""

import ast
import collections
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ('pipelines', 'tasks', 'persoma_tf')
TREES = {
  path.relative_to(ROOT): ast.parse(path.read_text())
  for package in PACKAGES
  for path in sorted((ROOT / package).rglob('*.py'))
}
MOVED = ('persoma_tf/experiments.py', 'persoma_tf/inspect.py')  # tell the new name
# Every command has these, and every family of decoders its own layers.
SHARED_NAMES = {'Config', 'run', 'main', 'run_job', 'build'}
SHARED_NAMES |= {'Attention', 'Block', 'Mlp'}
LONG_MODULES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}


def definitions(tree: ast.Module):
  """Functions and classes of a module, methods too."""
  for node in tree.body:
    yield node
    if isinstance(node, ast.ClassDef):
      yield from node.body


def test_no_two_modules_have_one_name():
  found = collections.Counter(
    path.stem
    for path in TREES
    if not path.stem.startswith('__') and str(path) not in MOVED
  )
  assert [name for name, count in found.items() if count > 1] == []


def test_no_module_has_the_name_of_one_of_python():
  """But the folder of the command `pipelines.inspect`."""
  names = {path.stem for path in TREES if str(path) not in MOVED}
  names |= {part for path in TREES for part in path.parts[:-1]}
  assert names & sys.stdlib_module_names == {'inspect'}


@pytest.mark.parametrize('name', ['build_histories', 'load_predictions'])
def test_a_job_can_be_run_by_its_file(name):
  """As the launcher of a flex template does, with the image's PYTHONSAFEPATH."""
  assert 'ENV PYTHONSAFEPATH=1' in (ROOT / 'Dockerfile').read_text()
  environment = {**os.environ, 'PYTHONSAFEPATH': '1', 'PYTHONPATH': str(ROOT)}
  command = [sys.executable, str(ROOT / 'pipelines' / f'{name}.py'), '--help']
  done = subprocess.run(command, capture_output=True, text=True, env=environment)
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('name', ['experiments', 'inspect'])
def test_an_old_command_says_the_new_one(name):
  command = [sys.executable, '-m', f'persoma_tf.{name}']
  done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
  assert done.returncode == 2
  assert 'this command is now python -m pipelines.' in done.stderr


def test_no_two_definitions_have_one_name():
  found = collections.defaultdict(list)
  for path, tree in TREES.items():
    for node in tree.body:
      if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != '_':
        found[node.name].append(str(path))
  twice = {name: paths for name, paths in found.items() if len(paths) > 1}
  assert twice.keys() - SHARED_NAMES == set(), twice


@pytest.mark.parametrize('path', TREES, ids=str)
def test_a_docstring_starts_with_a_verb(path):
  wrong = {}
  for node in definitions(TREES[path]):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
      text = ast.get_docstring(node)
      if text and not re.match(r'[A-Z][a-z]+s\b', text):
        wrong[node.name] = text.split('\n')[0]
  assert not wrong


@pytest.mark.parametrize('path', TREES, ids=str)
def test_a_module_is_short_or_says_why(path):
  lines = (ROOT / path).read_text().count('\n')
  assert lines <= 300 or str(path) in LONG_MODULES
  for node in ast.walk(TREES[path]):
    if isinstance(node, ast.FunctionDef):
      body = node.body[1:] if ast.get_docstring(node) else node.body
      length = node.end_lineno - body[0].lineno + 1 if body else 0
      assert length <= 40 or f'{path}:{node.name}' in LONG_FUNCTIONS, node.name


def test_the_model_names_neither_beam_nor_movielens():
  """But for the asset table, and recipes that say which tasks they train on."""
  for path in TREES:
    if path.parts[0] == 'persoma_tf' and path.name != 'asset_table.py':
      text = (ROOT / path).read_text()
      assert not re.search(r'apache_beam|\bBeam\b|(?i:movielens|ml-100k)', text), path


def test_the_readme_names_every_room():
  text = (ROOT / 'README.md').read_text()
  rooms = {path.parent.name for path in TREES if len(path.parts) > 2}
  for room in rooms - {'adapters', 'models', 'runs', 't5x'} | {'adapters'}:
    assert f'  {room}/  ' in text, room


def test_recipes_import_only_what_may_stand_below_them():
  """Recipes bind a model to tasks: they may name both, and no job."""
  for path in (ROOT / 'persoma_tf' / 'configs').rglob('*.gin'):
    imported = re.findall(r'^import (\w+)', path.read_text(), re.MULTILINE)
    assert 'pipelines' not in imported, path
