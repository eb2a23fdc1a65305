"""Parses gin recipes, with errors that say what to do."""

import argparse
import difflib
import pathlib
import re
import typing
from collections.abc import Sequence
from typing import Any

import gin

from persoma_tf.addresses import local_argument
from persoma_tf.gin_settings import imports, scope_of, scopes, settings
from persoma_tf.setting_types import expected_of

# Recipes include each other by package path, 'persoma_tf/configs/...', which gin finds
# from every working directory.
CONFIGS = pathlib.Path(__file__).parent / 'configs'
# Packages that a model's config.gin may import; what it imports is run.
TRUSTED = ('persoma_tf', 'tasks', 'examples.books', 'seqio', 't5x')
# Ends the --help of every program that reads recipes.
HELP = (
  '--gin_file may be given several times; later files override earlier ones. A path is '
  'looked up as it is and under persoma_tf/configs. --gin.NAME=VALUE overrides one '
  'setting of the files. VALUE is a Python literal: --gin.train.seed=1, '
  '--gin.train.tuning="\'lora\'".'
)
_looked_up: dict[str, Any] = {}  # settings of this recipe that `look_up` has read


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
  _parse(existing, bindings)
  _check_types()


def parse_model(
  file: str, bindings: Sequence[str] = (), trusted: Sequence[str] = ()
) -> None:
  """Parses the config.gin of a model, which may come from somebody else.

  Args:
    file: path of the config.gin.
    bindings: gin bindings that override the file.
    trusted: modules and packages that it may import besides `TRUSTED`.

  Raises:
    ValueError: the file does not parse, has an unknown name, or imports what is not
      trusted.
  """
  wanted = imports(pathlib.Path(file).read_text(encoding='utf-8'))
  if others := [name for name in wanted if not is_trusted(name, trusted)]:
    raise ValueError(
      f'{file} imports {", ".join(others)}; a model may import only '
      f'{", ".join(TRUSTED)}: if you know this code, name it in --trusted_modules'
    )
  _parse([file], bindings)


def is_trusted(module: str, trusted: Sequence[str] = ()) -> bool:
  """Tells whether a model's config.gin may import a module.

  Args:
    module: name of the module.
    trusted: modules and packages that are trusted besides `TRUSTED`.
  """
  return any(f'{module}.'.startswith(f'{name}.') for name in (*TRUSTED, *trusted))


def _parse(files, bindings):
  _looked_up.clear()
  try:
    gin.parse_config_files_and_bindings(files, list(bindings))
  except (SyntaxError, ValueError, ImportError, OSError, TypeError) as error:
    if isinstance(error, TypeError) and 'NoneType' not in str(error):
      raise
    raise ValueError(
      f'recipe {files} with {list(bindings)}: {error}{_hint(str(error))}'
    ) from error
  _check_scopes()


def _hint(error):
  """Returns what an error of gin most often means; '' if nothing is known."""
  # literal_eval's and gin's errors for a word or a path without quotes
  if 'malformed node' in error or 'Unable to parse value' in error:
    return ' (a text needs quotes that survive the shell: --gin.NAME="\'text\'")'
  # gin takes a folder, such as runs/, for a package, and looks for its __init__.py
  if missing := re.search(r"not NoneType.*include '([^']+)'", error, re.DOTALL):
    return f' (Unable to open file: {missing[1]})'
  if 'Unexpected token' in error and 'line 1)' in error:
    return ' (if a byte order mark is before line 1: save the file as UTF-8 without it)'
  return ''


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


def _check_types():
  """Checks every value by the annotation of its parameter.

  Raises:
    ValueError: a value has another type than its parameter, or is out of range.
  """
  found = settings(gin.config_str())
  for name, value in found.items():
    selector, _, parameter = name.rpartition('/')[2].rpartition('.')
    if isinstance(value, str) and value.startswith('%'):
      value = found.get(value[1:], value)
    if not selector or (isinstance(value, str) and value.startswith(('@', '%'))):
      continue
    hint = _hint_of(gin.get_configurable(selector), parameter)
    if expected := expected_of(hint, value):
      raise ValueError(f'{name}={value!r}: expected {expected}')


def _hint_of(function, parameter):
  """Returns the type of a parameter; Any where it has none that can be found."""
  try:
    return typing.get_type_hints(function, include_extras=True).get(parameter, Any)
  except Exception:  # names of a user's module that only type checkers know
    return Any


def bind_parameter(name: str, value: Any) -> None:
  """Sets a parameter after parsing, for values that depend on the data."""
  with gin.unlock_config():
    gin.bind_parameter(name, value)


def look_up(name: str) -> Any:
  """Returns what the recipe sets a parameter to, or None; its function is not called.

  `config.gin` has the parameters of what was called. So a parameter that is only looked
  up is not in it, but `without_effect` knows that it was read.

  Args:
    name: name of the parameter, such as 'train.seed', without a scope.
  """
  selector, _, parameter = name.rpartition('.')
  value = gin.get_bindings(selector).get(parameter)
  if value is not None:
    _looked_up[name] = value
  return value


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
  """Returns the bindings that neither a configurable nor `look_up` has read.

  Call it after everything was built from the recipe. gin accepts bindings of any known
  parameter in any scope, and of any macro. So mistyped scopes and parameters of parts
  that the recipe does not use are no errors in gin.

  Args:
    bindings: gin bindings, "NAME = VALUE".
  """
  read = settings(gin.operative_config_str()) | _looked_up
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
