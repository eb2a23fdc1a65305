"""What `config.gin` says, without gin and without the modules that it names."""

import ast
import re
from typing import Any


def settings(config: str) -> dict[str, Any]:
  """Name -> value, of a gin file's text; references stay texts such as '@Stage()'."""
  found = {}
  for name, value in re.findall(r'^(\S+) = (.*(?:\n[ \t].*)*)', config, re.MULTILINE):
    value = ' '.join(value.replace('\\\n', ' ').split())
    try:
      found[name] = ast.literal_eval(value)
    except (ValueError, SyntaxError):
      found[name] = value
  return found
