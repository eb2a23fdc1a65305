"""Parses gin recipes, with errors that say what to do."""

import argparse
import difflib
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import gin

from persoma_tf.addresses import local_argument
from persoma_tf.gin_settings import scope_of, scopes, settings

# Recipes include each other by package path, 'persoma_tf/configs/...', which gin finds
# from every working directory.
CONFIGS = pathlib.Path(__file__).parent / 'configs'
# Ends the --help of every program that reads recipes.
HELP = (
  '--gin_file may be given several times; later files override earlier ones. A path is '
  'looked up as it is and under persoma_tf/configs. --gin.NAME=VALUE overrides one '
  'setting of the files. VALUE is a Python literal: --gin.train.seed=1, '
  '--gin.train.tuning="\'lora\'".'
)


def parse_recipes(files: Sequence[str], bindings: Sequence[str] = ()) -> None:
  """Parses recipe files, then bindings such as "NAME = 3".

  Args:
    files: paths of gin files, looked up as they are and under `persoma_tf/configs`.
    bindings: gin bindings that override the files.

  Raises:
    FileNotFoundError: a recipe does not exist; the message has the nearest names.
    ValueError: a recipe does not parse or has an unknown name.
  """
  existing = []
  for file in files:
    paths = [path for path in (pathlib.Path(file), CONFIGS / file) if path.is_file()]
    if not paths:
      known = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob('*.gin'))
      near = difflib.get_close_matches(file, known, n=3, cutoff=0.3) or known
      raise FileNotFoundError(f'no recipe {file!r}; nearest under {CONFIGS}: {near}')
    existing.append(str(paths[0].absolute()))
  try:
    gin.parse_config_files_and_bindings(existing, list(bindings))
  except (SyntaxError, ValueError, ImportError) as error:
    hint = ''
    if 'malformed node' in str(error):  # literal_eval's error for a word without quotes
      hint = ' (a text needs quotes that survive the shell: --gin.NAME="\'text\'")'
    raise ValueError(
      f'recipe {list(files)} with {list(bindings)}: {error}{hint}'
    ) from error
  _check_scopes()


def _check_scopes():
  """Checks that no setting has a scope that is nearly the scope of a stage.

  gin accepts a setting in any scope. A scope that is similar to a known one is taken
  for a typing error. Other unknown scopes are accepted: they may belong to modules of
  the user or to parts that this recipe leaves out.

  Raises:
    ValueError: a scope is nearly a known one; the message names the setting and both.
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
  """Sets a parameter after parsing, for values that depend on the data."""
  with gin.unlock_config():
    gin.bind_parameter(name, value)


def bindings_of(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
  """Separates the `--gin.NAME=VALUE` flags from the other arguments.

  Args:
    arguments: arguments of a command line.

  Returns:
    (bindings "NAME = VALUE", other arguments).

  Raises:
    ValueError: a flag that begins with `--gin.` has no "=".
  """
  for argument in arguments:
    if argument.startswith('--gin.') and '=' not in argument:
      raise ValueError(f'{argument}: expected --gin.NAME=VALUE, in one word')
  matches = [re.fullmatch(r'--gin\.([^=]+)=(.*)', x, re.DOTALL) for x in arguments]
  bindings = [f'{match[1]} = {match[2]}' for match in matches if match]
  return bindings, [x for x, match in zip(arguments, matches, strict=True) if not match]


def without_effect(bindings: Sequence[str]) -> list[str]:
  """Returns the bindings that no configurable has read.

  Call it after everything was built from the recipe. gin accepts bindings of any known
  parameter in any scope, and of any macro. So mistyped scopes and parameters of parts
  that the recipe does not use are no errors in gin.

  Args:
    bindings: gin bindings, "NAME = VALUE".
  """
  read = settings(gin.operative_config_str())
  return [binding for binding in bindings if not _is_read(binding, read)]


def _is_read(binding, read):
  """Tells whether a binding is among the settings that were read.

  Args:
    binding: gin binding, "NAME = VALUE".
    read: name -> value of the settings that were read. A setting with a narrower scope
      counts only if it has the same value; otherwise it overrides the binding.
  """
  ((name, value),) = settings(binding).items()
  scope, _, selector = name.rpartition('/')
  selector = '.'.join(selector.split('.')[-2:])  # without its module
  for read_name, read_value in read.items():
    read_scope, _, parameter = read_name.rpartition('/')
    inside = not scope or f'{read_scope}/'.startswith(f'{scope}/')
    same = scope == read_scope or read_value == value
    if parameter == selector and inside and same:
      return True
  return False


def add_gin_flag(
  parser: argparse.ArgumentParser, required: bool = False, text: str = 'recipe file'
) -> None:
  """Adds the flag `--gin_file`, which may be given several times."""
  parser.add_argument(
    '--gin_file', action='append', required=required, type=local_argument, help=text
  )


def add_data_flags(parser: argparse.ArgumentParser, required: bool = False) -> None:
  """Adds the flags `--histories_dir` and `--embeddings_dir`, the data of a recipe.

  Args:
    parser: parser to extend.
    required: whether the flags must be given.
  """
  for name, job in (('histories', 'build_histories'), ('embeddings', 'embed_items')):
    parser.add_argument(
      f'--{name}_dir',
      required=required,
      type=local_argument,
      help=f'finished folder of pipelines.{job}; sets the macro {name.upper()}_DIR',
    )


def data_macros(flags: argparse.Namespace) -> list[str]:
  """Returns the gin bindings for the flags of `add_data_flags`."""
  names = ('histories_dir', 'embeddings_dir')
  given = {name.upper(): getattr(flags, name) for name in names}
  return [f'{name} = {value!r}' for name, value in given.items() if value]
