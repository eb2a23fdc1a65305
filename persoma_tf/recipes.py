"""Gin recipes: parsing with errors that say what to do."""

import difflib
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import gin

# Recipes include one another by package, as 'persoma_tf/configs/...': gin then finds
# them from every working directory.
CONFIGS = pathlib.Path(__file__).parent / 'configs'


def parse(files: Sequence[str], bindings: Sequence[str] = ()) -> None:
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
    raise ValueError(f'recipe {list(files)} with {list(bindings)}: {error}') from error


def bind(name: str, value: Any) -> None:
  """Sets one parameter after parsing, for values that only the data can tell."""
  with gin.unlock_config():
    gin.bind_parameter(name, value)


def bindings_of(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
  """Splits `--gin.NAME=VALUE` flags from the others.

  Returns:
    (bindings, other arguments).
  """
  found = [re.fullmatch(r'--gin\.([^=]+)=(.*)', x, re.DOTALL) for x in arguments]
  bindings = [f'{match[1]} = {match[2]}' for match in found if match]
  return bindings, [x for x, match in zip(arguments, found, strict=True) if not match]
