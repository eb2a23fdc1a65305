"""Gin recipes: parsing with errors that say what to do."""

import argparse
import difflib
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import gin

from persoma_tf.gin_settings import scope_of, scopes, settings

# Recipes include one another by package, as 'persoma_tf/configs/...': gin then finds
# them from every working directory.
CONFIGS = pathlib.Path(__file__).parent / 'configs'
# Behind the flags of every program that reads recipes.
HELP = (
  '--gin_file may be given several times, later ones on top; it is looked up as it is '
  'and under persoma_tf/configs. --gin.NAME=VALUE sets one thing on top of all of '
  "them, in Python's spelling: --gin.train.seed=1, --gin.train.tuning=\"'lora'\"."
)


def parse_recipes(files: Sequence[str], bindings: Sequence[str] = ()) -> None:
  """Reads recipe files, then bindings such as "NAME = 3".

  Args:
    files: gin files, found as they are or under `persoma_tf/configs`.
    bindings: override what the files say.

  Raises:
    FileNotFoundError: a recipe is not there; the nearest names are given.
    ValueError: a recipe does not parse or names something unknown.
  """
  found = []
  for file in files:
    paths = [path for path in (pathlib.Path(file), CONFIGS / file) if path.is_file()]
    if not paths:
      known = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob('*.gin'))
      near = difflib.get_close_matches(file, known, n=3, cutoff=0.3) or known
      raise FileNotFoundError(f'no recipe {file!r}; nearest under {CONFIGS}: {near}')
    found.append(str(paths[0].absolute()))
  try:
    gin.parse_config_files_and_bindings(found, list(bindings))
  except (SyntaxError, ValueError, ImportError) as error:
    hint = ''
    if 'malformed node' in str(error):  # what literal_eval says of a bare word
      hint = ' (a text needs quotes that survive the shell: --gin.NAME="\'text\'")'
    raise ValueError(
      f'recipe {list(files)} with {list(bindings)}: {error}{hint}'
    ) from error
  _check_scopes()


def _check_scopes():
  """gin takes a setting in any scope: one that is nearly that of a stage is a slip.

  Other scopes may be those of a person's own parts, and of recipes that leave them out.

  Raises:
    ValueError: names the setting and the scope that was meant.
  """
  text = gin.config_str()
  known = scopes(text)
  for name in settings(text):
    scope = scope_of(name)
    inside = any(f'{x}/'.startswith(f'{scope}/') for x in known)
    near = difflib.get_close_matches(scope, sorted(known), n=1, cutoff=0.7)
    if scope and near and not inside:
      raise ValueError(
        f'{name}: nothing runs in the scope {scope!r}; did you mean {near[0]}?'
      )


def bind_parameter(name: str, value: Any) -> None:
  """Sets one parameter after parsing, for values that only the data can tell."""
  with gin.unlock_config():
    gin.bind_parameter(name, value)


def bindings_of(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
  """Splits `--gin.NAME=VALUE` flags from the others.

  Returns:
    (bindings, other arguments).

  Raises:
    ValueError: a flag that begins with `--gin.` has no "=".
  """
  for argument in arguments:
    if argument.startswith('--gin.') and '=' not in argument:
      raise ValueError(f'{argument}: expected --gin.NAME=VALUE, in one word')
  found = [re.fullmatch(r'--gin\.([^=]+)=(.*)', x, re.DOTALL) for x in arguments]
  bindings = [f'{match[1]} = {match[2]}' for match in found if match]
  return bindings, [x for x, match in zip(arguments, found, strict=True) if not match]


def without_effect(bindings: Sequence[str]) -> list[str]:
  """Those of some bindings that nothing has read; after all was made from the recipe.

  gin takes a binding of any known parameter, in any scope, and any macro: mistyped
  scopes and parameters of parts that the recipe has not got are no errors to it.
  """
  read = settings(gin.operative_config_str())
  return [binding for binding in bindings if not _is_read(binding, read)]


def _is_read(binding, read):
  """Whether a name's last part and scope are there, and its value is not overridden."""
  ((name, value),) = settings(binding).items()
  scope, _, selector = name.rpartition('/')
  selector = '.'.join(selector.split('.')[-2:])  # without its module
  for found, now in read.items():
    within, _, parameter = found.rpartition('/')
    below = not scope or f'{within}/'.startswith(f'{scope}/')
    if parameter == selector and below and (scope == within or now == value):
      return True
  return False


def add_data_flags(parser: argparse.ArgumentParser, required: bool = False) -> None:
  """Adds the flags that say where the data of a recipe lies."""
  for name, job in (('histories', 'build_histories'), ('embeddings', 'embed_items')):
    parser.add_argument(
      f'--{name}_dir',
      required=required,
      help=f'finished folder of pipelines.{job}; sets the macro {name.upper()}_DIR',
    )


def data_macros(flags: argparse.Namespace) -> list[str]:
  """Returns the bindings that `add_data_flags` stands for."""
  names = ('histories_dir', 'embeddings_dir')
  given = {name.upper(): getattr(flags, name) for name in names}
  return [f'{name} = {value!r}' for name, value in given.items() if value]
