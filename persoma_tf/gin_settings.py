"""Reads the settings of a gin text, such as `config.gin`, without importing modules."""

import tokenize
from collections.abc import Mapping
from typing import Any

from gin import config_parser


def settings(config: str) -> dict[str, Any]:
  """Returns {name: value}; references and macros are texts, '@Stage()' and '%NAME'.

  Args:
    config: text in gin's syntax.

  Raises:
    ValueError: the text is not valid gin.
  """
  return _parse(config)[0]


def setting(config: Mapping[str, Any], name: str) -> Any:
  """Returns the value of a setting, or of the macro that it names; None without one.

  Args:
    config: settings that `settings` returned.
    name: name of the setting.
  """
  value = config.get(name)
  is_macro = isinstance(value, str) and value.startswith('%')
  return setting(config, value[1:]) if is_macro else value


def scopes(config: str) -> set[str]:
  """Returns the scopes of all references and macros in a text, 'a/b' for '@a/b/c'.

  Args:
    config: text in gin's syntax.

  Raises:
    ValueError: the text is not valid gin.
  """
  return {scope_of(name) for name in _parse(config)[1]} - {''}


def imports(config: str) -> list[str]:
  """Returns the modules that a text imports, and "the file 'x.gin'" for an include.

  Args:
    config: text in gin's syntax.

  Raises:
    ValueError: the text is not valid gin.
  """
  found = []
  for statement in _statements(config, _Texts()):
    if isinstance(statement, config_parser.ImportStatement):
      found.append(statement.module)
    elif isinstance(statement, config_parser.IncludeStatement):
      found.append(f'the file {statement.filename!r}')
  return found


def scope_of(name: str) -> str:
  """Returns the scope of a name: 'a/b' for 'a/b/c', '@a/b/c' and '%a/b/c', else ''."""
  return name.lstrip('@%').rpartition('/')[0]


def _parse(config):
  texts, values = _Texts(), {}
  for statement in _statements(config, texts):
    if isinstance(statement, config_parser.BindingStatement):
      scope, selector, argument, value, _ = statement
      name = f'{selector}.{argument}' if argument else selector  # without: a macro
      values[f'{scope}/{name}' if scope else name] = value
  return values, texts.named


def _statements(config, texts):
  try:
    return list(config_parser.ConfigParser(config, texts))
  except (SyntaxError, tokenize.TokenError) as error:
    raise ValueError(f'not valid gin: {error}') from error


class _Texts(config_parser.ParserDelegate):
  """Turns references and macros into texts and lists them in `named`."""

  def __init__(self):
    self.named: list[str] = []

  def configurable_reference(self, name, evaluate):
    return self._add(f'@{name}()' if evaluate else f'@{name}')

  def macro(self, name):
    return self._add(f'%{name}')

  def _add(self, text):
    self.named.append(text)
    return text
