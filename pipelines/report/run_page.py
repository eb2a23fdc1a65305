"""The report as one HTML page that needs nothing else."""

import string
from importlib import resources

import numpy as np
from markupsafe import Markup, escape

from pipelines.report import run_examples, run_numbers, run_plots
from pipelines.report.markup import EMPTY, details, join, table, text
from pipelines.report.run_results import RunResults

_SHOWN_FAILURES = 10
_BOUND = {
  True: 'labels are made from ratings, so that no reader of these ratings can be '
  'expected to do better.',
  False: 'labels are made from later ratings, so that it is no bound here.',
}


def render_run_page(results: RunResults) -> str:
  """The page; the same results give the same text."""
  files = resources.files('pipelines.report')
  page = string.Template(files.joinpath('run_page.html').read_text('utf-8'))
  info, run = results.info, results.run
  parts = {
    'model_id': run['model']['model_id'],
    'decoder': run['model'].get('decoder', 'not known'),
    'split': results.split,
    'users': len(results.rows),
    'seed': run['seed'],
    'bootstrap_samples': run['bootstrap_samples'],
    'sampler': info['sampler'],
    'max_history': info['max_history'],
    'top': info['label_rule']['top'],
    'longer': int((results.users.totals > info['max_history']).sum()),
    'tiles': _tiles(results),
    'bound_meaning': _BOUND[_is_bound(results)],
    **_scores(results),
    **_lengths(results),
    **_genres(results),
    **_confusion(results),
    **_failures(results),
    'training': _training(results.training.get('metrics.jsonl', '')),
    'examples': run_examples.section(results),
    'configuration': _configuration(results),
  }
  escaped = {name: escape(value) for name, value in parts.items()}
  style = files.joinpath('page.css').read_text('utf-8')
  return page.substitute(escaped, style=style)


def _plot(draw, *numbers, shown=True):
  return Markup(draw(*numbers)) if shown else Markup('<p>There are no users.</p>')


def _data(headers, rows):
  return details('The numbers', table(headers, rows))


def _is_bound(results):
  return results.info['label_mode'] == 'profile'


def _reference(results):
  return 'bound' if _is_bound(results) else 'label rule'


def _tiles(results):
  ours, bound = results.methods['persoma'], results.methods['rule_on_sample']
  share = f'{100 * ours["f1"] / bound["f1"]:.0f} %' if bound['f1'] else '–'
  interval = f'95 % interval {ours["f1_low"]:.3f} to {ours["f1_high"]:.3f}'
  tiles = (
    ('F1 of persoma', f'{ours["f1"]:.3f}', interval),
    (f'of the {_reference(results)}', share, f'rule_on_sample has {bound["f1"]:.3f}'),
    (
      'best constant answer',
      f'{results.methods["constant"]["f1"]:.3f}',
      'F1, the floor',
    ),
    ('parse failures', ours['parse_failures'], f'of {ours["users"]:,} answers'),
  )
  tile = Markup(
    '<div><dt>{}</dt><dd class="figure">{}</dd><dd class="soft">{}</dd></div>\n'
  )
  return Markup('<dl class="tiles">{}</dl>').format(
    join(tile.format(*x) for x in tiles)
  )


def _scores(results):
  bound = results.methods['rule_on_sample']['f1']
  rows = [
    (
      name,
      row['f1'],
      (row['f1_low'], row['f1_high']),
      row['f1'] / bound if bound else float('nan'),
      row['precision'],
      row['recall'],
      row['parse_failures'],
      row['users'],
    )
    for name, row in sorted(results.methods.items(), key=lambda pair: -pair[1]['f1'])
  ]
  whose = f'of the {_reference(results)}'
  headers = ('method', 'F1', '95 % interval', whose, 'precision')
  headers += ('recall', 'parse failures', 'users')
  return {
    'plot_scores': _plot(run_plots.plot_scores, results.methods),
    'table_scores': table(headers, rows),
  }


def _lengths(results):
  wanted = {name: results.answers[name] for name in ('persoma', 'rule_on_sample')}
  bootstrap = {'samples': results.run['bootstrap_samples']}
  bootstrap['seed'] = results.run['seed']
  rows = run_numbers.score_by_length(
    results.users.totals, results.users.truth, wanted, **bootstrap
  )
  lengths = run_numbers.count_by_length(results.users.totals)
  headers = ('ratings', 'users', 'method', 'F1', '95 % interval')
  limit = results.info['max_history']
  return {
    'plot_by_length': _plot(run_plots.plot_by_length, rows, shown=rows),
    'table_by_length': _data(headers, [(x[:2], *x[2:5], x[5:]) for x in rows]),
    'plot_lengths': _plot(run_plots.plot_lengths, lengths, limit, shown=rows),
    'table_lengths': _data(('ratings', 'users'), [(x[:2], x[2]) for x in lengths]),
  }


def _genres(results):
  rows = run_numbers.score_by_genre(
    results.users.truth, results.answers['persoma'], results.info['genres']
  )
  headers = ('genre', 'side', 'support', 'answered', 'precision', 'recall')
  return {
    'plot_genres': _plot(run_plots.plot_genres, rows),
    'table_genres': _data(headers, rows),
  }


def _confusion(results):
  found = run_numbers.count_confusions(results.users.truth, results.answers['persoma'])
  total = found.sum(axis=0)
  liked, disliked = total[:2].sum(axis=1)
  confused = (
    f'{total[0, 1]} of {liked} liked genres are answered as disliked, {total[1, 0]} of '
    f'{disliked} disliked ones as liked.'
  )
  rows = [
    (genre, true, *found[at, row].tolist())
    for at, genre in enumerate(results.info['genres'])
    for row, true in enumerate(run_numbers.TRUE_STATES)
  ]
  headers = ('genre', 'in the label', *run_numbers.SAID_STATES)
  return {
    'plot_confusion': _plot(run_plots.plot_confusions, total),
    'table_confusion': _data(headers, rows),
    'confused': confused,
  }


def _failures(results):
  failed = np.array([not row['parse_ok'] for row in results.rows], bool)
  chosen = run_numbers.sample_positions(failed, _SHOWN_FAILURES, results.run['seed'])
  rows = [
    (
      results.rows[at]['user_id'],
      results.rows[at]['text'],
      results.rows[at]['log_prob'],
    )
    for at in chosen
  ]
  number = int(failed.sum())
  sentence = (
    f'{number} of {len(failed)} answers have another form than the one asked for, or '
    'name a genre that there is not.'
  )
  if not rows:
    return {'failures': sentence, 'failure_texts': EMPTY}
  return {
    'failures': f'{sentence} {len(rows)} of them, drawn by seed {results.run["seed"]}:',
    'failure_texts': table(('user', 'text', 'log probability'), rows),
  }


def _training(log):
  points = run_numbers.read_losses(log.splitlines())
  if not points:
    return Markup(
      '<p>Not known: <code>--model_dir</code> of pipelines.evaluate names the folder '
      'of a training, whose curves are then shown.</p>'
    )
  caption = (
    'Losses against the step, each a mean since the report before: nats of a token '
    '(lm_loss) or of a slot (slot_loss), squared errors (statistics_loss), and their '
    'weighted sum. Stages have objectives of their own, so their losses do not compare.'
  )
  figure = Markup('<figure>{}<figcaption>{}</figcaption></figure>')
  rows = [(x.step, x.stage, x.split, x.metric, x.value) for x in points]
  headers = ('step', 'stage', 'split', 'loss', 'value')
  return figure.format(_plot(run_plots.plot_losses, points), caption) + _data(
    headers, rows
  )


def _configuration(results):
  info, run = results.info, results.run
  short = {
    'model': run['model']['model_id'],
    'decoder': run['model'].get('decoder', 'not known'),
    'users': f'{len(results.rows):,} of {results.split}',
    **{name: info[name] for name in ('sampler', 'max_history', 'label_mode')},
    'seed of the histories': info['seed'],
    **{f'label rule: {name}': value for name, value in info['label_rule'].items()},
    **{f'version of {name}': value for name, value in run['versions'].items()},
  }
  whole = {
    'Histories: dataset_info.json': info,
    'Predictions: run_info.json': results.predictions,
    'This report: settings': run,
  }
  if 'config.gin' in results.training:
    whole['Model: config.gin'] = results.training['config.gin']
  return table(('setting', 'value'), ((x, str(y)) for x, y in short.items())) + join(
    (details(title, text(value)) for title, value in whole.items()), '\n'
  )
