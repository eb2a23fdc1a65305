"""Scores as lines of text."""

from collections.abc import Mapping, Sequence
from typing import Any

_NAME = 14  # characters of a method's name, or more


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


def _interval(row):
  if 'f1_low' not in row:
    return '–'
  return f'{row["f1_low"]:.3f} to {row["f1_high"]:.3f}'
