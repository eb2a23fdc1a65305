"""Fills the templates of the pages, `*.html` beside this module."""

import json
import math
from typing import Any

import jinja2

_ENVIRONMENT = jinja2.Environment(
  loader=jinja2.PackageLoader('pipelines.report', ''),
  autoescape=True,
  undefined=jinja2.StrictUndefined,
  trim_blocks=True,
  lstrip_blocks=True,
)


def fill_template(template: str, **values: Any) -> str:
  """Returns a page; each value is escaped where the template does not say otherwise."""
  return _ENVIRONMENT.get_template(template).render(values)


def _to_cell(value):
  """Returns a table's value as a person reads it.

  0.500 of a float, a dash of nan, 1,682 of an int, 0.4 to 0.6 of an interval, a tuple.
  """
  if isinstance(value, tuple):
    return ' to '.join(map(_to_cell, value))
  if isinstance(value, float):
    return '–' if math.isnan(value) else f'{value:.3f}'
  return f'{value:,}' if isinstance(value, int) else value


def _to_lines(value):
  """Returns a text as it is, and anything else as indented JSON."""
  if isinstance(value, str):
    return value
  return json.dumps(value, indent=2, ensure_ascii=False)


_ENVIRONMENT.filters |= {'cell': _to_cell, 'lines': _to_lines}
