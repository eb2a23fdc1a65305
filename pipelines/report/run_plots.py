"""The plots of a run's page."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipelines.report import svg
from pipelines.report.run_numbers import (
  SAID_STATES,
  TRUE_STATES,
  GenreScores,
  LengthScores,
  LossPoint,
)
from pipelines.report.svg import DISLIKED, GREY, GRID, INK, LIKED, ON, SERIES, THIRD

# Spacing that lets a legend of four fit on a phone.
_TIGHT = {'handlelength': 1, 'columnspacing': 1, 'handletextpad': 0.5}


def _whole_ticks(bins):
  """Returns a locator of ticks at round whole numbers."""
  return MaxNLocator(bins, steps=[1, 2, 5, 10], integer=True)


@svg.styled
def plot_scores(methods: Mapping[str, Mapping]) -> str:
  """Draws the F1 of every method with its interval, if it has one; best on top."""
  names = sorted(methods, key=lambda name: methods[name]['f1'])
  figure, axes = svg.new_figure(0.5 + 0.35 * len(names))
  for row, name in enumerate(names):
    found = methods[name]
    colour = LIKED if name == 'persoma' else GREY
    if 'f1_low' in found:
      numbers = [found['f1']], [found['f1_low']], [found['f1_high']]
      svg.draw_interval(axes, 'x', [row], *numbers, fmt='o', color=colour)
    else:
      axes.plot([found['f1']], [row], 'o', color=colour)
  axes.set_yticks(range(len(names)), names)
  axes.set_ylim(-0.6, len(names) - 0.4)
  axes.set_xlim(0, 1)
  axes.set_xlabel('weighted F1')
  axes.grid(axis='x')
  return svg.to_svg(figure, 'scores', 'F1 of every method')


@svg.styled
def plot_by_length(rows: Sequence[LengthScores]) -> str:
  """Draws the F1 of each method against history length."""
  figure, axes = svg.new_figure(3.2)
  bins = list(dict.fromkeys((row.low, row.high, row.users) for row in rows))
  methods = list(dict.fromkeys(row.method for row in rows))
  for place, (method, (colour, marker)) in enumerate(
    zip(methods, SERIES, strict=False)
  ):
    own = [row for row in rows if row.method == method]
    at = np.arange(len(own)) + 0.16 * (place - (len(methods) - 1) / 2)
    numbers = zip(*((row.f1, row.f1_low, row.f1_high) for row in own), strict=True)
    svg.draw_interval(
      axes, 'y', at, *numbers, fmt=f'{marker}-', color=colour, label=method
    )
  labels = [f'{_length_range(low, high)}\n({users})' for low, high, users in bins]
  axes.set_xticks(range(len(bins)), labels, fontsize=10)
  axes.set_xlabel('ratings of the user (number of users)')
  axes.set_ylabel('weighted F1')
  axes.set_xlim(-0.5, len(bins) - 0.5)
  axes.set_ylim(0, 1.04)
  axes.grid(axis='y')
  figure.legend(loc='outside upper center', ncols=len(methods))
  return svg.to_svg(figure, 'by-length', 'F1 against history length')


def _length_range(low, high):
  if low == high:
    return f'{low}'
  return f'{low}–{high}' if high < 10_000 else f'{low}–\n{high}'


@svg.styled
def plot_genres(rows: Sequence[GenreScores]) -> str:
  """Draws precision and recall of each genre by side, most frequent genre on top."""
  support: dict[str, int] = {}
  for row in rows:
    support[row.genre] = support.get(row.genre, 0) + row.support
  names = sorted(support, key=lambda name: (support[name], name))
  figure, panels = svg.new_figure(
    1.0 + 0.22 * len(names), 1, 2, sharey=True, sharex=True
  )
  for axes, side, colour in zip(
    panels, ('liked', 'disliked'), (LIKED, DISLIKED), strict=True
  ):
    own = {row.genre: row for row in rows if row.side == side}
    for at, name in enumerate(names):
      precision, recall = own[name].precision, own[name].recall
      axes.plot([precision, recall], [at, at], color=GRID, zorder=1)
      axes.plot([precision], [at], 'o', color=colour)
      axes.plot([recall], [at], 'o', color=colour, markerfacecolor='none')
      axes.text(1.06, at, own[name].support, va='center', fontsize=9)
    axes.set_title(f'{side} (n)', fontsize=11)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xticks([0, 0.5, 1])
    axes.grid(axis='x')
  figure.supxlabel('precision, recall', fontsize=11)
  panels[0].set_yticks(range(len(names)), names, fontsize=10)
  marks = [
    Line2D([], [], color=INK, marker='o', linestyle='', **more)
    for more in ({'label': 'precision'}, {'label': 'recall', 'mfc': 'none'})
  ]
  figure.legend(handles=marks, loc='outside upper center', ncols=2)
  return svg.to_svg(figure, 'genres', 'Precision and recall of every genre')


@svg.styled
def plot_confusions(table: np.ndarray) -> str:
  """Draws the shares of a table [3, 4] int, TRUE_STATES by SAID_STATES."""
  figure, axes = svg.new_figure(2.5)
  colours = (LIKED, DISLIKED, GREY, THIRD)
  total = table.sum(axis=1)
  share = table / np.maximum(total, 1)[:, None]
  starts = np.cumsum(share, axis=1) - share
  for row, column in itertools.product(*map(range, table.shape)):
    width, left, at = share[row, column], starts[row, column], -row
    axes.barh(at, width, 0.7, left, color=colours[column])
    if width >= 0.08:
      text = f'{100 * width:.0f} %'
      axes.text(left + width / 2, at, text, color=ON, ha='center', va='center')
  labels = [f'{x}\n({n:,})' for x, n in zip(TRUE_STATES, total.tolist(), strict=True)]
  axes.set_yticks([0, -1, -2], labels)
  axes.set_ylabel('in the label (number)')
  axes.set_xlim(0, 1)
  axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=' %'))
  axes.set_xlabel('share of the row')
  patches = [
    Patch(color=colour, label=name)
    for colour, name in zip(colours, SAID_STATES, strict=True)
  ]
  figure.legend(
    handles=patches,
    loc='outside upper center',
    ncols=4,
    title='in the answer',
    **_TIGHT,
  )
  return svg.to_svg(figure, 'confusion', 'Predicted as liked, disliked or neither')


@svg.styled
def plot_lengths(rows: Sequence[tuple[int, int, int]], limit: int) -> str:
  """Draws the users by history length, and the length that histories end at."""
  figure, axes = svg.new_figure(2.6)
  axes.bar(range(len(rows)), [users for _, _, users in rows], 0.92, color=LIKED)
  edges = [rows[0][0], *(high + 1 for _, high, _ in rows)]
  axes.set_xticks(np.arange(len(edges)) - 0.5, edges, fontsize=10)
  axes.yaxis.set_major_locator(_whole_ticks(5))
  axes.set_xlabel('ratings of the user (log scale)')
  axes.set_ylabel('users')
  axes.grid(axis='y')
  if edges[0] < limit < edges[-1]:
    at = np.interp(np.log(limit), np.log(np.maximum(edges, 0.5)), axes.get_xticks())
    axes.axvline(at, color=INK, linestyle='--', label=f'shown at most: {limit}')
    axes.legend()
  return svg.to_svg(figure, 'lengths', 'Users by history length')


@svg.styled
def plot_losses(points: Sequence[LossPoint]) -> str:
  """Draws losses against the step, one panel per stage."""
  stages = list(dict.fromkeys(point.stage for point in points))
  figure, panels = svg.new_figure(0.3 + 2.4 * len(stages), len(stages), squeeze=False)
  for axes, stage in zip(panels[:, 0], stages, strict=True):
    own = [point for point in points if point.stage == stage]
    metrics = list(dict.fromkeys(point.metric for point in own))
    for metric, (colour, _) in zip(metrics, itertools.cycle(SERIES), strict=False):
      for split, style in (('train', '-'), ('validation', 'o--')):
        line = [
          (x.step, x.value) for x in own if (x.metric, x.split) == (metric, split)
        ]
        if line:
          label = metric if split == 'train' else f'{metric}, validation'
          axes.plot(*zip(*line, strict=True), style, color=colour, label=label)
    axes.set_title(f'stage {stage}', fontsize=11, loc='left')
    axes.set_xlabel('step')
    axes.set_ylabel('loss')
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(_whole_ticks(6))
    axes.grid()
    axes.legend(fontsize=9)
  return svg.to_svg(figure, 'curves', 'Training curves')
