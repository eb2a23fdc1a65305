"""Matplotlib figures as inline SVG, in the colours of the page around them.

Matplotlib is told placeholder colours, which become CSS variables, so that one figure
serves light and dark; texts stay texts. The same numbers give the same bytes.
"""

import io
import re
import warnings

import matplotlib
import numpy as np
from matplotlib.figure import Figure

_WIDTH = 5.0  # inches; 360 units of the SVG, about the width of a phone in pixels
INK, GRID, LIKED, DISLIKED, GREY, THIRD, ON = (f'#00000{i}' for i in range(1, 8))
_COLOURS = {
  INK: 'currentColor',
  GRID: 'var(--grid)',
  LIKED: 'var(--first)',
  DISLIKED: 'var(--second)',
  GREY: 'var(--grey)',
  THIRD: 'var(--third)',
  ON: 'var(--on-colour)',
}
SERIES = tuple(zip((LIKED, DISLIKED, THIRD, GREY), 'osD^', strict=True))
_STYLE = {
  'svg.fonttype': 'none',
  'svg.hashsalt': 'persoma',
  'text.parse_math': False,  # names come from the data, and may hold a $
  'font.size': 11,
  'font.family': 'DejaVu Sans',
  'figure.constrained_layout.use': True,
  'legend.frameon': False,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.axisbelow': True,
  'lines.markersize': 5,
  **dict.fromkeys(
    ('text.color', 'axes.labelcolor', 'xtick.color', 'ytick.color', 'axes.edgecolor'),
    INK,
  ),
  'grid.color': GRID,
}
styled = matplotlib.rc_context(_STYLE)


def figure(height, rows=1, columns=1, **settings):
  """(figure, axes) of so many inches."""
  drawn = Figure(figsize=(_WIDTH, height))
  return drawn, drawn.subplots(rows, columns, **settings)


def render(drawn: Figure, name: str, label: str) -> str:
  """The figure as an element; ids begin with `name`, for there are others beside it."""
  file = io.StringIO()
  nothing = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
  with warnings.catch_warnings():
    # Of names in scripts that the measuring font lacks; the browser has others.
    warnings.filterwarnings('ignore', message='Glyph .* missing')
    drawn.savefig(file, format='svg', transparent=True, metadata=nothing)
  text = file.getvalue()
  text = text[text.index('<svg') :]
  text = re.sub(r' (width|height)="[\d.]+pt"', '', text, count=2)
  text = re.sub(r' id="', f' id="{name}-', text)
  text = re.sub(r'(url\(#|xlink:href="#)', rf'\g<1>{name}-', text)
  for colour, variable in _COLOURS.items():
    text = text.replace(colour, variable)
  return text.replace('<svg', f'<svg role="img" aria-label="{label}"', 1)


def interval(axes, across, at, value, low, high, **settings):
  """Points with whiskers; `across` is the axis that the values lie on."""
  values = (at, value) if across == 'y' else (value, at)
  low, high = np.subtract(value, low), np.subtract(high, value)
  error = {f'{across}err': np.maximum([low, high], 0)}
  axes.errorbar(*values, **error, capsize=3, linewidth=1.2, **settings)
