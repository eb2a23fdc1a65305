"""The numbers of a study's page: results of cells in, settings and lines out."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tasks import choice_metrics, rank_metrics, text_metrics

SEED = 'seed'
LENGTH = 'max_history'
_WORDS = choice_metrics.WORDS | text_metrics.WORDS | rank_metrics.WORDS | {'f1': 'F1'}


class Setting(NamedTuple):
  """Holds the cells that differ in nothing but their seed.

  Attributes:
    label: name for people: values of the axes that vary, without common values.
    axes: value of every axis but the seed.
    cells: results in the order of their seeds.
    value: the main score, mean over the seeds; nan if there is none.
    low: lower end of the 95 % interval over users, mean over the seeds.
    high: upper end of the same interval.
    spread: largest value of the seeds minus the smallest; nan for one seed.
    bound: value of the label rule on the same histories; nan without a rule.
    failures: number of answers that could not be parsed, mean over the seeds.
    training_minutes: wall time of the training, start and compilation included;
      mean over the seeds.
    prediction_seconds: wall time of the predictions per user, likewise.
    peak_bytes: largest resident memory of any process of these cells.
  """

  label: str
  axes: Mapping[str, Any]
  cells: Sequence[Mapping[str, Any]]
  value: float
  low: float
  high: float
  spread: float
  bound: float
  failures: float
  training_minutes: float
  prediction_seconds: float
  peak_bytes: int


def by_question(
  cells: Sequence[Mapping[str, Any]],
) -> dict[str, list[Mapping[str, Any]]]:
  """Returns the results of each question, by its name; '' of a study without names."""
  found: dict[str, list] = {}
  for cell in cells:
    found.setdefault(cell['axes'].get('question', ''), []).append(cell)
  return found


def score_of(cell: Mapping[str, Any]) -> str:
  """Returns the key of a cell's main score, by which methods are compared."""
  return cell.get('score', 'f1')  # older results have lists alone


def word_of(cells: Sequence[Mapping[str, Any]]) -> str:
  """Returns the main score of one question's cells, in words."""
  return _WORDS[score_of(cells[0])]


def value_of(cell: Mapping[str, Any], method: str = 'persoma', end: str = '') -> float:
  """Returns a method's main score, or the `end` '_low' or '_high' of its interval.

  It is nan if the method or its score does not exist.
  """
  found = cell['methods'].get(method, {}).get(f'{score_of(cell)}{end}')
  return float('nan') if found is None else found


def varied_axes(cells: Sequence[Mapping[str, Any]]) -> list[str]:
  """Returns the axes with several values, without the seed."""
  names = [name for name in cells[0]['axes'] if name != SEED]
  return [x for x in names if len({str(cell['axes'][x]) for cell in cells}) > 1]


def common_values(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Returns the most frequent value of every axis of a study that is no full grid.

  A full grid has no common setting: the result is empty, and labels name every value.
  """
  names = varied_axes(cells)
  values = {x: [cell['axes'][x] for cell in cells] for x in cells[0]['axes']}
  settings = len({tuple(str(cell['axes'][x]) for x in names) for cell in cells})
  if settings == math.prod(len(set(map(str, values[x]))) for x in names):
    return {}
  return {name: statistics.mode(found) for name, found in values.items()}


def setting_label(
  axes: Mapping[str, Any], names: Sequence[str], common: Mapping[str, Any]
) -> str:
  """Returns a name such as 'mlp, N=50'.

  Args:
    axes: value of every axis.
    names: axes to name.
    common: values that are left out.
  """
  words = {LENGTH: 'N={}'}
  short = lambda value: str(value).removesuffix('.gin').rpartition('/')[2]
  own = [x for x in names if x not in common or axes[x] != common[x]]
  found = [words.get(x, '{}').format(short(axes[x])) for x in own]
  return ', '.join(dict.fromkeys(found)) or 'common'


def group_settings(cells: Sequence[Mapping[str, Any]]) -> list[Setting]:
  """Returns the settings of a study, best first."""
  names, common, groups = varied_axes(cells), common_values(cells), {}
  for cell in sorted(cells, key=lambda cell: cell['axes'][SEED]):
    axes = {name: x for name, x in cell['axes'].items() if name != SEED}
    groups.setdefault(tuple(map(str, axes.values())), (axes, []))[1].append(cell)
  found = [
    _of_cells(setting_label(axes, names, common), axes, own)
    for axes, own in groups.values()
  ]
  good = lambda x: choice_metrics.goodness(score_of(cells[0]), x.value)
  return sorted(found, key=lambda setting: (-good(setting), setting.label))


def _of_cells(label, axes, cells):
  ours = [cell['methods']['persoma'] for cell in cells]
  mean = lambda values: statistics.mean(map(float, values))
  values = [value_of(cell) for cell in cells]
  seconds = lambda stage: [cell['took'][stage]['seconds'] for cell in cells]
  return Setting(
    label,
    axes,
    cells,
    value=mean(values),
    low=mean(value_of(cell, end='_low') for cell in cells),
    high=mean(value_of(cell, end='_high') for cell in cells),
    spread=max(values) - min(values) if len(values) > 1 else float('nan'),
    bound=mean(value_of(cell, 'rule_on_sample') for cell in cells),
    failures=mean(row['parse_failures'] for row in ours),
    training_minutes=mean(seconds('training')) / 60,
    prediction_seconds=mean(seconds('predictions')) / ours[0]['users'],
    peak_bytes=max(cell['peak_bytes'] for cell in cells),
  )


class Line(NamedTuple):
  """Holds the settings that differ in nothing but their history length.

  Attributes:
    label: name of the settings, without the length.
    settings: settings in the order of their lengths.
  """

  label: str
  settings: Sequence[Setting]


def group_lines(found: Sequence[Setting]) -> list[Line]:
  """Returns a line for every setting that was run at several history lengths."""
  cells = [setting.cells[0] for setting in found]
  names = [x for x in varied_axes(cells) if x != LENGTH]
  groups: dict[str, list[Setting]] = {}
  for setting in found:
    groups.setdefault(setting_label(setting.axes, names, {}), []).append(setting)
  length = lambda setting: setting.axes[LENGTH]
  return [
    Line(name, sorted(own, key=length)) for name, own in groups.items() if len(own) > 1
  ]
