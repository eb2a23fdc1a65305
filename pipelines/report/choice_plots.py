"""The plots of a page about a choice."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import PercentFormatter

from pipelines.report import svg
from pipelines.report.svg import GREY, GRID, LIKED, SERIES
from tasks import choice_metrics, rank_metrics, text_metrics
from tasks.choice_curves import CalibrationBin

_WORDS = choice_metrics.WORDS | text_metrics.WORDS | rank_metrics.WORDS


@svg.styled
def plot_choice_scores(methods: Mapping[str, Mapping], score: str) -> str:
  """Draws a score of every method that has it with its interval; best on top."""
  rows = {name: row for name, row in methods.items() if row.get(score) is not None}
  names = sorted(rows, key=lambda name: rows[name][score])
  figure, axes = svg.new_figure(0.5 + 0.35 * len(names))
  for at, name in enumerate(names):
    value, low, high = (rows[name].get(f'{score}{x}') for x in ('', '_low', '_high'))
    low, high = (value if x is None else x for x in (low, high))
    colour = LIKED if name == 'persoma' else GREY
    svg.draw_interval(axes, 'x', [at], [value], [low], [high], fmt='o', color=colour)
  axes.set_yticks(range(len(names)), names)
  axes.set_ylim(-0.6, len(names) - 0.4)
  axes.set_xlim(0, None if score == 'rmse' else 1)
  axes.set_xlabel(_WORDS[score])
  axes.grid(axis='x')
  return svg.to_svg(figure, 'choice-scores', f'{_WORDS[score]} of every method')


@svg.styled
def plot_roc(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
  """Draws ROC curves by name, at most four; see `choice_curves.roc_points`."""
  figure, axes = svg.new_figure(4.2)
  axes.plot([0, 1], [0, 1], color=GRID)
  for (name, points), (colour, _) in zip(curves.items(), SERIES, strict=False):
    axes.plot(*points, color=colour, label=name)
  axes.set_xlabel('share of the other examples named')
  axes.set_ylabel('share of the right ones named')
  axes.set_xlim(0, 1)
  axes.set_ylim(0, 1.01)
  axes.set_aspect('equal')
  axes.grid()
  axes.legend(loc='lower right', fontsize=9)
  return svg.to_svg(figure, 'roc', 'ROC curves')


@svg.styled
def plot_told_numbers(
  numbers: np.ndarray, truth: np.ndarray, told: Mapping[str, np.ndarray]
) -> str:
  """Draws the mean told number against the right one, by method's name.

  Args:
    numbers: [O] number of each option.
    truth: [E] int, number of the right option.
    told: told numbers [E] of at most four methods.
  """
  figure, axes = svg.new_figure(4.2)
  axes.plot(numbers[[0, -1]], numbers[[0, -1]], color=GRID)
  right = np.unique(truth)
  for (name, values), (colour, marker) in zip(told.items(), SERIES, strict=False):
    means = [values[truth == at].mean() for at in right]
    axes.plot(numbers[right], means, f'{marker}-', color=colour, label=name)
  axes.set_xlabel('number in the data')
  axes.set_ylabel('mean of the told numbers')
  axes.set_aspect('equal')
  axes.grid()
  axes.legend(loc='upper left', fontsize=9)
  return svg.to_svg(figure, 'told-numbers', 'Told numbers against those in the data')


@svg.styled
def plot_calibration(bins: Mapping[str, Sequence[CalibrationBin]]) -> str:
  """Draws the share of right options against the probability, by method's name."""
  figure, axes = svg.new_figure(4.2)
  axes.plot([0, 1], [0, 1], color=GRID)
  for (name, own), (colour, marker) in zip(bins.items(), SERIES, strict=False):
    points = [(x.probability, x.share) for x in own]
    axes.plot(*zip(*points, strict=True), f'{marker}-', color=colour, label=name)
  axes.set_xlabel('mean probability in the bin')
  axes.set_ylabel('share of the examples')
  for axis in (axes.xaxis, axes.yaxis):
    axis.set_major_formatter(PercentFormatter(1, symbol=' %'))
  axes.set_xlim(0, 1)
  axes.set_ylim(0, 1.01)
  axes.set_aspect('equal')
  axes.grid()
  axes.legend(loc='upper left', fontsize=9)
  return svg.to_svg(figure, 'calibration', 'Probabilities against shares')
