"""Matplotlib figures as inline SVG, in the colours of the page around them.

Matplotlib draws with placeholder colours, which become CSS variables: one figure
serves light and dark; texts stay texts. The same numbers give the same bytes.
"""

import io
import re
import warnings
from xml.etree import ElementTree

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
_PLACEHOLDER = re.compile('|'.join(_COLOURS))
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
_LINK = '{http://www.w3.org/1999/xlink}href'
ElementTree.register_namespace('', 'http://www.w3.org/2000/svg')
ElementTree.register_namespace('xlink', 'http://www.w3.org/1999/xlink')


def new_figure(height, rows=1, columns=1, **settings):
  """Returns (figure, axes); `height` is in inches."""
  drawn = Figure(figsize=(_WIDTH, height))
  return drawn, drawn.subplots(rows, columns, **settings)


def to_svg(drawn: Figure, name: str, label: str) -> str:
  """Returns the figure as an element whose ids begin with `name`, unique in a page."""
  file = io.StringIO()
  nothing = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
  with warnings.catch_warnings():
    # The measuring font may lack the script of a name; browsers have other fonts.
    warnings.filterwarnings('ignore', message='Glyph .* missing')
    drawn.savefig(file, format='svg', transparent=True, metadata=nothing)
  root = ElementTree.fromstring(file.getvalue())
  for element in root.iter():
    for key, value in element.items():  # texts are data and stay as they are
      element.set(key, _page_attribute(key, value, name))
  del root.attrib['width'], root.attrib['height']
  root.attrib |= {'role': 'img', 'aria-label': label}
  return ElementTree.tostring(root, encoding='unicode')


def _page_attribute(key, value, name):
  """Returns an attribute's value with the colours of the page and ids of `name`."""
  if key == 'id':
    return f'{name}-{value}'
  if key == _LINK:
    return value.replace('#', f'#{name}-')
  value = value.replace('url(#', f'url(#{name}-')
  return _PLACEHOLDER.sub(lambda found: _COLOURS[found[0]], value)


def draw_interval(axes, across, at, value, low, high, **settings):
  """Draws points with whiskers; `across` is the axis that the values lie on."""
  values = (at, value) if across == 'y' else (value, at)
  low, high = np.subtract(value, low), np.subtract(high, value)
  error = {f'{across}err': np.maximum([low, high], 0)}
  axes.errorbar(*values, **error, capsize=3, linewidth=1.2, **settings)
