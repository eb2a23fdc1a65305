"""Writes arbitrary texts as code and tables of a Markdown page."""

import re
from collections.abc import Iterable, Sequence
from typing import Any


def markdown_code(text: Any) -> str:
  """Writes a text as inline code; the text may contain any characters."""
  text = ' '.join(str(text).split('\n'))
  fence = '`' * (max(map(len, re.findall('`+', text)), default=0) + 1)
  pad = ' ' if '`' in text else ''
  return f'{fence}{pad}{text}{pad}{fence}'


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
  """Writes a table; cells may contain any characters. Returns '' without rows."""
  cell = lambda x: ' '.join(str(x).split()).replace('|', '\\|').replace('<', '&lt;')
  line = lambda cells: f'| {" | ".join(map(cell, cells))} |'
  body = [line(row) for row in rows]
  rule = '|'.join('---' for _ in headers)
  return '\n'.join([line(headers), f'|{rule}|', *body]) if body else ''
