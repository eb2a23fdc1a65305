"""The page of a study: settings, history lengths, costs, cells."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.report import study_numbers, study_plots
from pipelines.report.better_baseline import BASELINES, VECTOR_BASELINES
from pipelines.report.templates import fill_template

_REFERENCES = ('rule_on_sample', *BASELINES, *VECTOR_BASELINES)
_OURS = ('persoma', 'draft', 'swapped_users')
_OF_HISTORIES = ('sampler', study_numbers.LENGTH)  # axes that decide them


def render_study_page(cells: Sequence[Mapping[str, Any]]) -> str:
  """Returns the page of at least one result, all of one question, if they name it.

  The same results give the same text.
  """
  settings = study_numbers.group_settings(cells)
  users = sorted({cell['methods']['persoma']['users'] for cell in cells})
  cells = sorted(cells, key=lambda cell: cell['cell'])
  return fill_template(
    'study_page.html',
    name=cells[0]['study'],
    word=study_numbers.word_of(cells),
    question=cells[0]['axes'].get('question', ''),
    data=', '.join(sorted({cell['data']['name'] for cell in cells})),
    users=' or '.join(map(str, users)),
    hours=sum(cell['wall_seconds'] for cell in cells) / 3600,
    machines=_describe_machines(cells),
    fixed=_describe_fixed_axes(cells),
    common=_describe_common_values(cells),
    scores=_scores_of_settings(settings),
    lines=_scores_of_lines(study_numbers.group_lines(settings)),
    costs=_costs_of_settings(settings),
    references=_scores_of_references(settings),
    cells=[_summarise_cell(cell) for cell in cells],
    files={cell['cell']: _whole_cell(cell) for cell in cells},
  )


def _describe_machines(cells):
  """Returns 'cpu (1 or 2 processors)', of each device."""
  found = {}
  for machine in (cell['machine'] for cell in cells):
    found.setdefault(machine['device'], set()).add(machine['processors'])
  return ', '.join(
    f'{device} ({" or ".join(map(str, sorted(counts)))} processors)'
    for device, counts in sorted(found.items())
  )


def _describe_fixed_axes(cells):
  """Returns 'recipe x.gin, sampler recency', the axes that do not vary."""
  varied = {*study_numbers.varied_axes(cells), study_numbers.SEED}
  axes = cells[0]['axes']
  fixed = {name: x for name, x in axes.items() if x != '' and name not in varied}
  return ', '.join(f'{name} {value}' for name, value in fixed.items())


def _describe_common_values(cells):
  """Returns what 'common' means; '' where the study has no such setting."""
  values = study_numbers.common_values(cells)
  names = study_numbers.varied_axes(cells)
  if not values or not names:
    return ''
  return study_numbers.setting_label(values, names, {})


def _scores_of_settings(settings):
  rows = [
    (
      x.label,
      number,
      x.value,
      (x.low, x.high),
      x.spread,
      len(x.cells),
      x.bound,
      x.value / x.bound if x.bound else float('nan'),
      round(x.failures),
    )
    for number, x in enumerate(settings, 1)
  ]
  return {'plot': study_plots.plot_settings(settings), 'rows': rows}


def _scores_of_lines(lines):
  rows = [
    (line.label, x.axes[study_numbers.LENGTH], x.value, (x.low, x.high), x.bound)
    for line in lines
    for x in line.settings
  ]
  return {'plot': study_plots.plot_lines(lines) if lines else None, 'rows': rows}


def _costs_of_settings(settings):
  rows = [
    (
      x.label,
      number,
      x.value,
      round(60 * x.training_minutes),
      x.prediction_seconds,
      x.peak_bytes / 1e9,
    )
    for number, x in enumerate(settings, 1)
  ]
  return {'plot': study_plots.plot_costs(settings), 'rows': rows}


def _scores_of_references(settings):
  """Returns the scores of methods without a model, by the histories that they read.

  Results of older versions lack some methods.
  """
  named = [name for name in _OF_HISTORIES if name in settings[0].axes]
  by_histories = {
    tuple(setting.axes[name] for name in named): setting.cells[0]
    for setting in settings
  }
  found = {name for cell in by_histories.values() for name in cell['methods']}
  names = [name for name in _REFERENCES if name in found]
  names += sorted(found - {*_OURS, *names})
  told = lambda cell: [study_numbers.value_of(cell, name) for name in names]
  rows = [(*key, *told(by_histories[key])) for key in sorted(by_histories)]
  heads = {'sampler': 'sampler', study_numbers.LENGTH: 'N'}
  return {'heads': [*(heads[name] for name in named), *names], 'rows': rows}


def _summarise_cell(cell):
  return (
    cell['cell'],
    study_numbers.value_of(cell),
    round(cell['wall_seconds']),
    cell['peak_bytes'] / 1e9,
    cell['finished_at'][:16].replace('T', ' '),
  )


def _whole_cell(cell):
  """Returns a cell's result and its `config.gin`."""
  return {key: x for key, x in cell.items() if key != 'config'}, cell['config']
