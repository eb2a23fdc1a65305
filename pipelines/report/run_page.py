"""The page of one run: scores, figures, examples, configuration."""

from typing import Any

import numpy as np

from pipelines.report import run_numbers, run_plots
from pipelines.report.example_results import ExampleResults
from pipelines.report.run_examples import choose_examples
from pipelines.report.run_results import RunResults
from pipelines.report.templates import fill_template

_SHOWN_FAILURES = 10


def render_run_page(results: RunResults) -> str:
  """Returns the page; the same results give the same text."""
  return fill_template(
    'run_page.html',
    results=results,
    users=len(results.rows),
    is_bound=results.info['label_mode'] == 'profile',
    scores=_scores_of_methods(results),
    by_length=_scores_by_length(results),
    lengths=_users_by_length(results),
    genres=_scores_of_genres(results),
    confusion=_confusions(results),
    failures=_failed_answers(results),
    losses=_training_losses(results),
    examples=choose_examples(results),
    settings=_short_settings(results),
    files=whole_files(results),
  )


def _scores_of_methods(results):
  bound = results.methods['rule_on_sample']['f1']
  rows = [
    (
      name,
      row['f1'],
      (row['f1_low'], row['f1_high']) if 'f1_low' in row else float('nan'),
      row['f1'] / bound if bound else float('nan'),
      row['precision'],
      row['recall'],
      row['parse_failures'],
      row['users'],
    )
    for name, row in sorted(results.methods.items(), key=lambda pair: -pair[1]['f1'])
  ]
  return {'plot': run_plots.plot_scores(results.methods), 'rows': rows}


def _scores_by_length(results):
  rows = run_numbers.score_by_length(
    results.users.totals,
    results.users.truth,
    {name: results.answers[name] for name in ('persoma', 'rule_on_sample')},
    samples=results.run['bootstrap_samples'],
    seed=results.run['seed'],
  )
  return {
    'plot': run_plots.plot_by_length(rows) if rows else None,
    'rows': [(row[:2], *row[2:5], row[5:]) for row in rows],
  }


def _users_by_length(results):
  totals, limit = results.users.totals, results.info['max_history']
  rows = run_numbers.count_by_length(totals)
  return {
    'plot': run_plots.plot_lengths(rows, limit) if rows else None,
    'rows': [((low, high), users) for low, high, users in rows],
    'longer': int((totals > limit).sum()),
  }


def _scores_of_genres(results):
  rows = run_numbers.score_by_genre(
    results.users.truth, results.answers['persoma'], results.info['genres']
  )
  return {'plot': run_plots.plot_genres(rows), 'rows': rows}


def _confusions(results):
  found = run_numbers.count_confusions(results.users.truth, results.answers['persoma'])
  total = found.sum(axis=0)
  liked, disliked = total[:2].sum(axis=1).tolist()
  return {
    'plot': run_plots.plot_confusions(total),
    'rows': [
      (genre, true, *found[at, row].tolist())
      for at, genre in enumerate(results.info['genres'])
      for row, true in enumerate(run_numbers.TRUE_STATES)
    ],
    'said_states': run_numbers.SAID_STATES,
    'liked': liked,
    'disliked': disliked,
    'as_disliked': int(total[0, 1]),
    'as_liked': int(total[1, 0]),
  }


def _failed_answers(results):
  failed = np.array([not row['parse_ok'] for row in results.rows], bool)
  chosen = run_numbers.sample_positions(failed, _SHOWN_FAILURES, results.run['seed'])
  rows = [results.rows[at] for at in chosen]
  return [(row['user_id'], row['text'], row['log_prob']) for row in rows]


def _training_losses(results):
  log = results.training.get('metrics.jsonl', '')
  points = run_numbers.read_losses(log.splitlines())
  return {
    'plot': run_plots.plot_losses(points) if points else None,
    'rows': [(x.step, x.stage, x.split, x.metric, x.value) for x in points],
  }


def _short_settings(results):
  info, run = results.info, results.run
  decoding = results.predictions.get('decoding', {})
  settings = {
    'model': run['model']['model_id'],
    'decoder': run['model'].get('decoder', 'not known'),
    'operands of products in the training': run['model'].get('dtype', 'not known'),
    **{f'answers: {name}': value for name, value in decoding.items()},
    'users scored': '{:,} of {:,} in the split {}, {:,} rejected'.format(
      *results.coverage[:2], results.split, results.coverage.rejects
    ),
    **{name: info[name] for name in ('sampler', 'max_history', 'label_mode')},
    'seed of the histories': info['seed'],
    **{f'label rule: {name}': value for name, value in info['label_rule'].items()},
    **{
      f'{method}: {name}': value
      for method, row in results.methods.items()
      for name, value in row.get('settings', {}).items()
    },
    **{f'version of {name}': value for name, value in run['versions'].items()},
  }
  return [(name, str(value)) for name, value in settings.items()]


def whole_files(results: RunResults | ExampleResults) -> dict[str, Any]:
  """Returns the files that a page shows whole, by their titles."""
  files = {
    'Histories: dataset_info.json': results.info,
    'Predictions: run_info.json': results.predictions,
    'This report: settings': results.run,
  }
  if 'config.gin' in results.training:
    files['Model: config.gin'] = results.training['config.gin']
  return files
