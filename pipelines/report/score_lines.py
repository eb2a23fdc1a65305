"""Scores as lines of text."""

from collections.abc import Mapping, Sequence
from typing import Any

from tasks import choice_metrics, rank_metrics, text_metrics

_NAME = 14  # characters of a method's name, or more
_SCORE = 5  # characters of a score


def scores_as_text(
  methods: Mapping[str, Mapping[str, Any]],
  coverage: Sequence[int],
  split: str,
  better_baseline: Mapping[str, Any] | None = None,
) -> str:
  """Returns the scores as lines of text, best method first, and their coverage.

  Args:
    methods: scores of each method, as in `metrics.json`; a method may have no interval.
    coverage: numbers of users that are scored, are in the split and were rejected.
    split: name of the split.
    better_baseline: the baseline that the model is below, as in `metrics.json`.
  """
  width = max(_NAME, *map(len, methods))
  lines = [
    f'{"method":<{width}}  F1     95 % interval   precision  recall  parse failures'
  ]
  for name, row in sorted(methods.items(), key=lambda pair: -pair[1]['f1']):
    lines.append(
      f'{name:<{width}}  {row["f1"]:.3f}  {_interval(row):<14}  '
      f'{row["precision"]:>9.3f}  {row["recall"]:>6.3f}  '
      f'{row["parse_failures"]:>4} of {row["users"]}'
    )
  scored, total, rejects = coverage
  lines.append(
    f'users scored: {scored} of {total} in the split {split}, {rejects} rejected'
  )
  if better_baseline:
    lines.append(better_baseline['text'])
  return '\n'.join(lines) + '\n'


def _interval(row, score='f1'):
  if row.get(f'{score}_low') is None:
    return '–'
  return f'{row[f"{score}_low"]:.3f} to {row[f"{score}_high"]:.3f}'


def examples_as_text(
  methods: Mapping[str, Mapping[str, Any]],
  coverage: Mapping[str, int],
  split: str,
  score: str,
  better_baseline: Mapping[str, Any] | None = None,
) -> str:
  """Returns the scores of a question about examples as lines of text, best first.

  Args:
    methods: scores of each method, as in `metrics.json`.
    coverage: numbers of examples, as in `metrics.json`.
    split: name of the split.
    score: name of the score that methods are ordered by.
    better_baseline: the method that the model is below, as in `metrics.json`.
  """
  width, shown = max(_NAME, *map(len, methods)), shown_scores(score)
  with_interval = (score, 'accuracy')
  titles = [
    f'{title:<{_SCORE}}' + f'  {"95 % interval":<14}' * (key in with_interval)
    for title, key in shown.items()
  ]
  lines = ['  '.join([f'{"method":<{width}}', *titles, 'parse failures'])]
  for name, row in ranked_methods(methods, score):
    cells = [
      f'{_number(row.get(key)):>{max(_SCORE, len(title))}}'
      + f'  {_interval(row, key):<14}' * (key in with_interval)
      for title, key in shown.items()
    ]
    failed = f'{row["parse_failures"]:>4} of {row["examples"]}'
    lines.append('  '.join([f'{name:<{width}}', *cells, failed]))
  lines.append(
    'examples scored: {examples_scored} of {examples_in_split} in the split {split}, '
    '{examples_without_answer} without an answer, {rejects} rejected'.format(
      split=split, **coverage
    )
  )
  if better_baseline:
    lines.append(better_baseline['text'])
  return '\n'.join(lines) + '\n'


def shown_scores(score: str) -> dict[str, str]:
  """Returns title -> key of the scores that are shown of a question about examples.

  Args:
    score: name of the score that methods are ordered by.
  """
  for words in (text_metrics.WORDS, rank_metrics.WORDS):
    if score in words:
      return {title: key for key, title in words.items()}
  of_kind = {'RMSE': 'rmse', 'MAE': 'mae'} if score == 'rmse' else {'AUC': 'auc'}
  return of_kind | {'accuracy': 'accuracy', 'log loss': 'log_loss'}


def ranked_methods(
  methods: Mapping[str, Mapping[str, Any]], score: str
) -> list[tuple[str, Mapping[str, Any]]]:
  """Returns (name, row) of each method by a score, best first; None comes last."""
  good = lambda pair: choice_metrics.goodness(score, pair[1].get(score))
  return sorted(methods.items(), key=good, reverse=True)


def _number(value):
  return '–' if value is None else f'{value:.3f}'
