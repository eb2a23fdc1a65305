"""Every recipe as flat text, defaults of the code included.

tests/golden/recipes has a file for each file of persoma_tf/configs: a run by itself, an
adapter or a decoder on top of the quickstart. A change of a recipe, or of a default
that it leaves as it is, shows as a changed line. RENEW_GOLDEN=1 writes the files anew.

Recipes for T5X name t5x's own parts, which gin imports: of them, what our files say, as
text and without defaults.
"""

import importlib
import inspect
import os
import pathlib
import re
from collections.abc import Iterator

import gin
import pytest
from flax import linen as nn
from gin import config_parser

from persoma_tf import recipes
from persoma_tf.gin_settings import settings

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / 'tests' / 'golden' / 'recipes'
FILES = sorted(
  str(x.relative_to(recipes.CONFIGS)) for x in recipes.CONFIGS.rglob('*.gin')
)
PLACES = [
  f'{name} = {name.lower()!r}'
  for name in ('HISTORIES_DIR', 'EMBEDDINGS_DIR', 'T5_DIR', 'T5_VOCABULARY')
]
# What some recipe names is there where one names it; the code itself calls the others.
CHOSEN = {
  name.rpartition('/')[2]
  for file in FILES
  for name in re.findall(r'@([\w/]+)\(', (recipes.CONFIGS / file).read_text())
}


def configurables() -> list:
  """All that recipes can set, apart from the bridge to T5X."""
  for package in ('persoma_tf', 'tasks'):
    for path in (ROOT / package).rglob('*.py'):
      if '@gin.configurable' in path.read_text() and path.stem != 't5x_model':
        name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        with gin.unlock_config():  # for those that this recipe does not import
          importlib.import_module(name)
  return [
    found
    for _, found in gin.config._REGISTRY.items()
    if found.wrapped.__module__.split('.')[0] in ('persoma_tf', 'tasks')
  ]


def parameters(found) -> Iterator[tuple[str, str]]:
  """(name, value) of each parameter of a configurable, in the present scope."""
  is_module = inspect.isclass(found.wrapped) and issubclass(found.wrapped, nn.Module)
  flax_own = ('parent', 'name') if is_module else ()
  bound = gin.get_bindings(found.wrapper, resolve_references=False)
  for name, parameter in inspect.signature(found.wrapped).parameters.items():
    if name in flax_own:
      continue
    if name in bound:
      yield name, repr(bound[name])
    elif parameter.default is gin.REQUIRED:
      yield name, 'REQUIRED, from the program'
    elif parameter.default is not parameter.empty:
      value = parameter.default
      yield name, getattr(value, '__qualname__', None) or repr(value)


def resolved(text: str) -> list[str]:
  """Lines of a recipe that was parsed: macros, and all parameters of all its parts."""
  lines = [
    f'{name} = {value!r}' for name, value in settings(text).items() if name.isupper()
  ]
  scopes = {}
  for scope, name in re.findall(r'@(?:([\w/]+)/)?(\w+)\(', text):
    scopes.setdefault(name, set()).add(scope)
  for found in configurables():
    where = scopes.get(found.name, set() if found.name in CHOSEN else {''})
    for scope in where:
      with gin.config_scope(scope or None):
        name = f'{scope}/{found.name}' if scope else found.name
        lines += [f'{name}.{key} = {value}' for key, value in parameters(found)]
  return sorted(lines)


class _AsText(config_parser.ParserDelegate):
  """References as a recipe spells them."""

  def configurable_reference(self, scoped_configurable_name, evaluate):
    return _Text(f'@{scoped_configurable_name}{"()" if evaluate else ""}')

  def macro(self, scoped_macro_name):
    return _Text(f'%{scoped_macro_name}')


class _Text(str):
  __slots__ = ()
  __repr__ = str.__str__


def said(file: pathlib.Path) -> dict[str, str]:
  """What a file and those of ours that it includes say: name -> value."""
  found = {}
  for line in config_parser.ConfigParser(file.read_text(), _AsText()):
    if isinstance(line, config_parser.IncludeStatement):
      ours = ROOT / line.filename
      found |= said(ours) if ours.exists() else {f'include {line.filename!r}': ''}
    elif isinstance(line, config_parser.BindingStatement):
      name = f'{line.scope}/{line.selector}'.removeprefix('/')
      found['.'.join(filter(None, (name, line.arg_name)))] = f' = {line.value!r}'
  return found


@pytest.mark.parametrize('file', FILES)
def test_a_recipe_is_as_committed(file):
  golden = (GOLDEN / file).with_suffix('.txt')
  if file.startswith('t5x/'):
    lines = sorted(name + value for name, value in said(recipes.CONFIGS / file).items())
  else:
    run = [] if file.startswith('runs/') else ['runs/perceiver.gin']
    recipes.parse_recipes([*run, file], PLACES)
    lines = resolved(gin.config_str(max_line_length=10**6))
  made = ''.join(f'{line}\n' for line in lines)
  if os.environ.get('RENEW_GOLDEN') == '1':
    golden.parent.mkdir(parents=True, exist_ok=True)
    golden.write_text(made)
  assert golden.read_text() == made, 'RENEW_GOLDEN=1 writes it anew'


def test_no_recipe_is_gone():
  named = {
    str(x.relative_to(GOLDEN).with_suffix('.gin')) for x in GOLDEN.rglob('*.txt')
  }
  assert named == {*FILES}
