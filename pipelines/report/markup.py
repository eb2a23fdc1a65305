"""Pieces of HTML. All that is not Markup already is escaped."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

EMPTY = Markup('')


def join(pieces: Iterable[Any], between: str = '') -> Markup:
  """One piece after the other."""
  return Markup(between).join(pieces)


def cell(value: Any) -> str | Markup:
  """A value as a person reads it.

  0.500 of a float, a dash of nan, 1,682 of an int, 0.4 to 0.6 of an interval, a tuple.
  """
  if isinstance(value, tuple):
    return ' to '.join(cell(end) for end in value)
  if isinstance(value, float):
    return '–' if math.isnan(value) else f'{value:.3f}'
  return f'{value:,}' if isinstance(value, int) else value


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markup:
  """A table; numbers stand right, and the first column heads its row."""
  rows = list(rows)
  kinds = [_kind(value) for value in rows[0]] if rows else [EMPTY] * len(headers)
  head = Markup('<th scope="col"{}>{}</th>')
  lines = [join(map(head.format, kinds, headers))]
  for first, *rest in rows:
    line = Markup('<th scope="row"{}>{}</th>').format(_kind(first), cell(first))
    of_rest = (Markup('<td{}>{}</td>').format(_kind(x), cell(x)) for x in rest)
    lines.append(line + join(of_rest))
  body = join(Markup('<tr>{}</tr>\n').format(line) for line in lines)
  return Markup('<div class="wide"><table>\n{}</table></div>').format(body)


def _kind(value):
  return Markup(' class="number"') if isinstance(value, int | float | tuple) else EMPTY


def details(summary: str, content: Markup) -> Markup:
  """Something that is shown on demand."""
  return Markup('<details><summary>{}</summary>\n{}</details>').format(summary, content)


def text(value: Any) -> Markup:
  """A text, or anything else as JSON, in its own lines."""
  if not isinstance(value, str):
    value = json.dumps(value, indent=2, ensure_ascii=False)
  return Markup('<pre>{}</pre>').format(value)
