"""The plots of a study's page."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import NullFormatter, ScalarFormatter

from pipelines.report import svg
from pipelines.report.study_numbers import (
  LENGTH,
  Line,
  Setting,
  value_of,
  word_of,
)
from pipelines.report.svg import GREY, INK, LIKED, SERIES

# The lines that can be told apart: each colour solid, then each colour dashed.
_LINES = [(*x, style) for style in ('-', '--') for x in SERIES]


@svg.styled
def plot_settings(settings: Sequence[Setting]) -> str:
  """Draws the score of every setting with interval and bound, the best on top."""
  figure, axes = svg.new_figure(1.0 + 0.3 * len(settings))
  for row, found in enumerate(reversed(settings)):
    numbers = [found.value], [found.low], [found.high]
    svg.draw_interval(axes, 'x', [row], *numbers, fmt='o', color=LIKED)
    for cell in found.cells:  # below the mean, whose mark would hide the dots
      axes.plot(value_of(cell), row - 0.3, '.', color=GREY, markersize=4)
    axes.plot(found.bound, row, '|', color=INK, markersize=11)
  labels = [found.label for found in reversed(settings)]
  axes.set_yticks(range(len(settings)), labels, fontsize=9)
  axes.set_ylim(-0.6, len(settings) - 0.4)
  axes.set_xlim(0, np.nanmax([1.0, *(1.1 * found.high for found in settings)]))
  axes.set_xlabel(_word(settings))
  axes.grid(axis='x')
  return svg.to_svg(figure, 'scores', f'{_word(settings)} of every setting')


@svg.styled
def plot_lines(lines: Sequence[Line]) -> str:
  """Draws the score and its bound against history length."""
  figure, axes = svg.new_figure(3.4)
  bounds = {x.axes[LENGTH]: x.bound for line in lines for x in line.settings}
  axes.plot(*zip(*sorted(bounds.items()), strict=True), ':', color=INK, label='bound')
  for line, (colour, marker, style) in zip(
    lines, itertools.cycle(_LINES), strict=False
  ):
    numbers = zip(*((x.value, x.low, x.high) for x in line.settings), strict=True)
    at = [x.axes[LENGTH] for x in line.settings]
    form = f'{marker}{style}'
    svg.draw_interval(axes, 'y', at, *numbers, fmt=form, color=colour, label=line.label)
  _log_ticks(axes, sorted(bounds))
  axes.set_xlabel('interactions shown, N (log scale)')
  axes.set_ylabel(_word(lines[0].settings))
  axes.set_ylim(0, 1.04)
  axes.grid(axis='y')
  figure.legend(loc='outside upper center', ncols=2, fontsize=9)
  return svg.to_svg(figure, 'by-length', 'score against history length')


@svg.styled
def plot_costs(settings: Sequence[Setting]) -> str:
  """Draws the score against training and prediction time, with numbered points."""
  figure, panels = svg.new_figure(4.2, 1, 2, sharey=True)
  costs = (
    ('training, minutes', lambda found: found.training_minutes),
    ('prediction, s per user', lambda found: found.prediction_seconds),
  )
  for axes, (name, cost) in zip(panels, costs, strict=True):
    for number, found in enumerate(settings, 1):
      axes.plot(cost(found), found.value, 'o', color=LIKED)
      # Numbers of neighbours in height stand on different sides of their points.
      side, offset = ('left', 5) if number % 2 else ('right', -5)
      place = {'xytext': (offset, 0), 'textcoords': 'offset points', 'fontsize': 9}
      axes.annotate(
        str(number), (cost(found), found.value), ha=side, va='center', **place
      )
    axes.set_xlabel(name)
    axes.set_xlim(0, 1.2 * max(map(cost, settings)))  # room for the numbers
    axes.grid()
  panels[0].set_ylim(0, 1.1 * np.nanmax([0.1, *(found.value for found in settings)]))
  panels[0].set_ylabel(_word(settings))
  return svg.to_svg(figure, 'by-cost', 'score against cost')


def _word(settings: Sequence[Setting]) -> str:
  """Returns the score of settings in words, for an axis."""
  word = word_of(settings[0].cells)
  return f'weighted {word}' if word == 'F1' else word


def _log_ticks(axes, values):
  axes.set_xscale('log')
  axes.set_xticks(values)
  axes.xaxis.set_major_formatter(ScalarFormatter())
  axes.xaxis.set_minor_formatter(NullFormatter())
