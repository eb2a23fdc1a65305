"""A study as one HTML page that needs nothing else."""

import string
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from markupsafe import Markup, escape

from pipelines.report import study_numbers, study_plots
from pipelines.report.markup import details, join, table, text

_REFERENCES = ('rule_on_sample', 'constant', 'counting')


def render_study_page(cells: Sequence[Mapping[str, Any]]) -> str:
  """The page of at least one result; the same results give the same text."""
  files = resources.files('pipelines.report')
  page = string.Template(files.joinpath('study_page.html').read_text('utf-8'))
  found = study_numbers.group_settings(cells)
  names = study_numbers.varied_axes(cells)
  one = [x for x in cells[0]['axes'] if x not in names and x != study_numbers.SEED]
  fixed = ', '.join(f'{name} {cells[0]["axes"][name]}' for name in one)
  users = sorted({cell['methods']['persoma']['users'] for cell in cells})
  parts = {
    'name': cells[0]['study'],
    'cells': len(cells),
    'data': ', '.join(sorted({cell['data']['name'] for cell in cells})),
    'users': ' or '.join(map(str, users)),
    'hours': f'{sum(cell["wall_seconds"] for cell in cells) / 3600:.1f}',
    'machine': _machines(cells),
    'fixed': f'The same in all: {fixed}. {_middle(cells)}',
    'plot_scores': Markup(study_plots.plot_settings(found)),
    'table_scores': _scores(found),
    'by_length': _by_length(study_numbers.group_lines(found)),
    'plot_by_cost': Markup(study_plots.plot_costs(found)),
    'table_by_cost': _costs(found),
    'table_references': _references(found),
    'table_cells': _cells(cells),
    'configuration': _configuration(cells),
  }
  escaped = {name: escape(value) for name, value in parts.items()}
  style = files.joinpath('page.css').read_text('utf-8')
  return page.substitute(escaped, style=style)


def _machines(cells):
  """'cpu (1 or 2 processors)', of each device."""
  found = {}
  for machine in (cell['machine'] for cell in cells):
    found.setdefault(machine['device'], set()).add(machine['processors'])
  return ', '.join(
    f'{device} ({" or ".join(map(str, sorted(counts)))} processors)'
    for device, counts in sorted(found.items())
  )


def _middle(cells):
  """What 'common' means, where the study has it."""
  found = study_numbers.common_values(cells)
  names = study_numbers.varied_axes(cells)
  if not found or not names:
    return ''
  values = study_numbers.setting_label(found, names, {})
  return f'A setting is {values}, but for what it names; “common” is just that.'


def _scores(found):
  headers = ('setting', 'no.', 'F1', '95 % interval', 'spread', 'seeds', 'bound')
  headers += ('of the bound', 'malformed')
  rows = [
    (
      x.label,
      number,
      x.f1,
      (x.low, x.high),
      x.spread,
      len(x.cells),
      x.bound,
      x.f1 / x.bound if x.bound else float('nan'),
      round(x.failures),
    )
    for number, x in enumerate(found, 1)
  ]
  return table(headers, rows)


def _by_length(lines):
  if not lines:
    return Markup('<p>All cells have the same history length.</p>')
  figure = Markup('<figure>{}<figcaption>{}</figcaption></figure>').format(
    Markup(study_plots.plot_lines(lines)),
    'Weighted F1 (0 to 1) against the number of interactions that the model is shown; '
    'bars are 95 % intervals over users. The dotted line is the label rule on as many.',
  )
  rows = [
    (line.label, x.axes[study_numbers.LENGTH], x.f1, (x.low, x.high), x.bound)
    for line in lines
    for x in line.settings
  ]
  headers = ('setting', 'N', 'F1', '95 % interval', 'bound')
  return figure + details('The numbers', table(headers, rows))


def _costs(found):
  headers = ('setting', 'no.', 'F1', 'training, s')
  headers += ('prediction, s a user', 'peak memory, GB')
  rows = [
    (
      x.label,
      number,
      x.f1,
      round(60 * x.training_minutes),
      x.prediction_seconds,
      x.peak_bytes / 1e9,
    )
    for number, x in enumerate(found, 1)
  ]
  return details('The numbers', table(headers, rows))


def _references(found):
  """Baselines by the histories that they read."""
  names = ('sampler', study_numbers.LENGTH)
  rows = {}
  for setting in found:
    key = tuple(setting.axes[name] for name in names)
    methods = setting.cells[0]['methods']
    rows[key] = (*key, *(methods[name]['f1'] for name in _REFERENCES))
  return table(('sampler', 'N', *_REFERENCES), (rows[key] for key in sorted(rows)))


def _cells(cells):
  rows = [
    (
      cell['cell'],
      cell['methods']['persoma']['f1'],
      round(cell['wall_seconds']),
      cell['peak_bytes'] / 1e9,
      cell['finished_at'][:16].replace('T', ' '),
    )
    for cell in sorted(cells, key=lambda cell: cell['cell'])
  ]
  headers = ('cell', 'F1', 'wall time, s', 'peak memory, GB', 'finished, UTC')
  return table(headers, rows)


def _configuration(cells):
  ordered = sorted(cells, key=lambda cell: cell['cell'])
  facts = lambda cell: {key: x for key, x in cell.items() if key != 'config'}
  pieces = [
    details(cell['cell'], text(facts(cell)) + text(cell['config'])) for cell in ordered
  ]
  return join(pieces, '\n')
