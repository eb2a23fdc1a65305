"""The recipes for T5X, as far as they can be checked without t5x."""

import ast
import pathlib
import re

import pytest

from persoma_tf import recipes

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted((recipes.CONFIGS / 't5x').glob('*.gin'))
OURS = ('persoma_tf', 'tasks')


def parameters(module: str) -> dict[str, set[str]]:
  """What a module of ours defines at its top -> the parameters it takes.

  Read and not imported: one of them imports t5x.
  """
  found = {}
  tree = ast.parse((ROOT / f'{module.replace(".", "/")}.py').read_text())
  for node in tree.body:
    if isinstance(node, ast.ClassDef):
      inits = [x for x in node.body if getattr(x, 'name', '') == '__init__']
      fields = [x.target.id for x in node.body if isinstance(x, ast.AnnAssign)]
      found[node.name] = arguments(inits[0]) if inits else set(fields)
    elif isinstance(node, ast.FunctionDef):
      found[node.name] = arguments(node)
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
      found[node.targets[0].id] = set()
  return found


def arguments(function: ast.FunctionDef) -> set[str]:
  return {x.arg for x in (*function.args.args, *function.args.kwonlyargs)}


def imports(text: str) -> dict[str, str]:
  """Prefix of a configurable in a recipe -> module of ours."""
  found = {}
  for line in text.splitlines():
    if match := re.fullmatch(r'from (\S+) import (\S+)', line):
      found[match[2]] = f'{match[1]}.{match[2]}'
    elif match := re.fullmatch(r'import (\S+)', line):
      found[match[1]] = match[1]
  return {name: x for name, x in found.items() if x.split('.')[0] in OURS}


def used(text: str):
  """(configurable, parameter or None) of all that a recipe names."""
  text = re.sub(r'#.*', '', text)
  block = None
  for line in text.splitlines():
    for name in re.findall(r'@([\w./]+)', line):
      yield name, None
    if match := re.match(r'([\w./]+):$', line):
      block = match[1]
    elif match := re.match(r'  (\w+) = ', line):
      yield block, match[1]
    elif match := re.match(r'([\w./]+)\.(\w+) = ', line):
      yield match[1], match[2]


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_what_a_recipe_names_of_ours_exists(file):
  text = file.read_text()
  modules, seen = imports(text), 0
  for name, parameter in used(text):
    prefix, _, configurable = name.rpartition('.')
    if prefix in modules:
      known = parameters(modules[prefix])
      assert configurable in known, f'{name} is not in {modules[prefix]}'
      if parameter:
        assert parameter in known[configurable], f'{name} has no {parameter}'
      seen += 1
  for path in re.findall(r"^include '(persoma_tf/\S+)'", text, re.MULTILINE):
    assert (ROOT / path).is_file()
    seen += 1
  assert seen


def test_the_check_sees_what_is_wrong():
  text = 'from persoma_tf.training import stages\nstages.Stage:\n  no_such = 1\n'
  (found,) = used(text)
  assert found == ('stages.Stage', 'no_such')
  assert 'no_such' not in parameters('persoma_tf.training.stages')['Stage']
  assert 'learning_rate' in parameters('persoma_tf.training.stages')['Stage']


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.stem)
def test_headers(file):
  """Provides, Requires, Include after; every T5X value that must be given is named."""
  header = file.read_text().split('\n\n', 1)[0]
  for word in ('Provides:', 'Requires:', 'Include after:'):
    assert word in header
