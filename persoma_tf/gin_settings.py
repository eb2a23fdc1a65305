"""What a gin text says, such as `config.gin`, without the modules that it names."""

import tokenize
from typing import Any

from gin import config_parser


def settings(config: str) -> dict[str, Any]:
  """Returns name -> value; references and macros are texts, '@Stage()' and '%NAME'.

  Args:
    config: gin's text.

  Raises:
    ValueError: it is no gin.
  """
  return _parse(config)[0]


def scopes(config: str) -> set[str]:
  """Returns the scopes of a text's references and macros, 'a/b' of '@a/b/c'.

  Args:
    config: gin's text.

  Raises:
    ValueError: it is no gin.
  """
  return {scope_of(name) for name in _parse(config)[1]} - {''}


def scope_of(name: str) -> str:
  """Returns 'a/b' of 'a/b/c', '@a/b/c' or '%a/b/c'; '' where there is none."""
  return name.lstrip('@%').rpartition('/')[0]


def _parse(config):
  texts = _Texts()
  try:
    statements = list(config_parser.ConfigParser(config, texts))
  except (SyntaxError, tokenize.TokenError) as error:
    raise ValueError(f'no gin: {error}') from error
  found = {}
  for statement in statements:
    if isinstance(statement, config_parser.BindingStatement):
      scope, selector, argument, value, _ = statement
      name = f'{selector}.{argument}' if argument else selector  # a macro's
      found[f'{scope}/{name}' if scope else name] = value
  return found, texts.named


class _Texts(config_parser.ParserDelegate):
  """Makes texts of references and macros, and lists them."""

  def __init__(self):
    self.named: list[str] = []

  def configurable_reference(self, name, evaluate):
    return self._add(f'@{name}()' if evaluate else f'@{name}')

  def macro(self, name):
    return self._add(f'%{name}')

  def _add(self, text):
    self.named.append(text)
    return text
