"""The page of a run that answered a choice: scores, curves, examples, configuration."""

import numpy as np

from pipelines.report import choice_plots, run_numbers
from pipelines.report.choice_scoring import ChoiceResults, main_score
from pipelines.report.example_page import (
  ShownExample,
  describe_example,
  describe_losses,
  example_settings,
)
from pipelines.report.run_page import whole_files
from pipelines.report.score_lines import ranked_methods, shown_scores
from pipelines.report.templates import fill_template
from tasks import choice_curves, choice_metrics

_SHOWN_EXAMPLES = 10
_MOST_CURVES = 4


def render_choice_page(results: ChoiceResults) -> str:
  """Returns the page; the same results give the same text."""
  score = main_score(results.methods)
  drawn = _drawn_methods(results, score)
  return fill_template(
    'choice_page.html',
    results=results,
    score=score,
    scores=_choice_score_rows(results, score),
    options=_option_counts(results),
    told=_told_numbers(results, drawn)
    if results.question.numbers is not None
    else None,
    roc=_roc_curves(results, drawn) if results.question.numbers is None else None,
    calibration=_calibrations(results, drawn),
    losses=describe_losses(results),
    examples=choose_shown(results),
    examples_are=f'Examples drawn with seed {results.run["seed"]}',
    settings=example_settings(results, options=', '.join(results.question.options)),
    files=whole_files(results),
  )


def _cell(value):
  return float('nan') if value is None else value


def _choice_score_rows(results, score):
  ranked = dict(ranked_methods(results.methods, score))

  def interval(row, name):
    low, high = row.get(f'{name}_low'), row.get(f'{name}_high')
    return float('nan') if low is None else (low, high)

  shown = {**shown_scores(score), 'F1': 'f1', 'calibration error': 'calibration_error'}
  titles, rows = ['method'], [[name] for name in ranked]
  for title, key in shown.items():
    has_interval = key in choice_metrics.INTERVALS and key != 'f1'
    titles += [title, '95 % interval'][: 1 + has_interval]
    for row, own in zip(rows, ranked.values(), strict=True):
      row += [_cell(own.get(key)), interval(own, key)][: 1 + has_interval]
  titles.append('parse failures')
  for row, own in zip(rows, ranked.values(), strict=True):
    row.append(own['parse_failures'])
  return {
    'plot': choice_plots.plot_choice_scores(results.methods, score),
    'titles': titles,
    'rows': rows,
  }


def _option_counts(results):
  """Returns (option, examples, their share, the model's answers) of each option."""
  truth, chosen = (
    results.truth,
    results.answers['persoma'].chosen,
  )
  return [
    (
      text,
      int((truth == at).sum()),
      (truth == at).mean().item(),
      int((chosen == at).sum()),
    )
    for at, text in enumerate(results.question.options)
  ]


def _drawn_methods(results, score):
  """Returns the methods that are drawn, the model's first.

  Of a choice, these are some with probabilities.
  """
  ranked = [name for name, _ in ranked_methods(results.methods, score)]
  names = ['persoma', 'draft', *(x for x in ranked if x not in ('persoma', 'draft'))]
  known = [
    x
    for x in names
    if x in results.answers
    and (score == 'rmse' or results.answers[x].probabilities is not None)
  ]
  return known[:_MOST_CURVES]


def _roc_curves(results, drawn):
  """Returns the ROC figure: of the first of two options by method, or by option."""
  truth = results.truth
  if len(results.question.options) == 2:
    told = {name: (0, results.answers[name].probabilities[:, 0]) for name in drawn}
  else:
    probabilities = results.answers[drawn[0]].probabilities
    told = {
      text: (at, probabilities[:, at])
      for at, text in enumerate(results.question.options)
    }
  curves = {
    name: choice_curves.roc_points(truth == at, values)
    for name, (at, values) in told.items()
    if 0 < (truth == at).sum() < len(truth)
  }
  curves = dict([*curves.items()][:_MOST_CURVES])
  return {'plot': choice_plots.plot_roc(curves) if curves else None, 'of': drawn[0]}


def _told_numbers(results, drawn):
  """Returns the figure, and what each method tells by the number in the data."""
  numbers, truth = results.question.numbers, results.truth
  told = {name: results.answers[name].numbers(numbers) for name in drawn}
  rows = [
    (
      name,
      f'{numbers[at]:g}',
      len(own),
      own.mean(),
      tuple(np.quantile(own, (0.25, 0.75))),
    )
    for name, values in told.items()
    for at in np.unique(truth)
    if len(own := values[truth == at])
  ]
  return {'plot': choice_plots.plot_told_numbers(numbers, truth, told), 'rows': rows}


def _calibrations(results, drawn):
  truth = results.truth
  bins = {
    name: choice_curves.calibration_bins(truth, results.answers[name].probabilities)
    for name in drawn
    if results.answers[name].probabilities is not None
  }
  return {
    'plot': choice_plots.plot_calibration(bins),
    'rows': [
      (name, (x.low, x.high), x.examples, x.probability, x.share)
      for name, own in bins.items()
      for x in own
    ],
  }


def choose_shown(results: ChoiceResults) -> list[tuple[str, int, list[ShownExample]]]:
  """Returns (title, number of examples, some of them, drawn by seed), right then wrong.

  There are at most ten; half of them are wrong as far as there are so many.
  """
  truth, chosen = (
    results.truth,
    results.answers['persoma'].chosen,
  )
  right, seed, half = truth == chosen, results.run['seed'], _SHOWN_EXAMPLES // 2
  rights = min(int(right.sum()), max(half, _SHOWN_EXAMPLES - int((~right).sum())))
  groups = []
  for title, among, count in (
    ('Right', right, rights),
    ('Wrong', ~right, _SHOWN_EXAMPLES - rights),
  ):
    rows = run_numbers.sample_positions(among, count, seed)
    groups.append((title, int(among.sum()), [_to_shown(results, x) for x in rows]))
  return groups


def _to_shown(results, at):
  options, ours = results.question.options, results.answers['persoma']
  told = [] if ours.probabilities is None else ours.probabilities[at].tolist()
  return describe_example(
    results,
    at,
    answer=options[ours.chosen[at]] if ours.chosen[at] >= 0 else None,
    probabilities=list(zip(options, told, strict=False)),
  )
