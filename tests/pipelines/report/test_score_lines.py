"""Scores as text."""

import pytest

from pipelines.report.score_lines import scores_as_text

ROW = {'f1': 0.5, 'f1_low': 0.4, 'f1_high': 0.6, 'precision': 0.55, 'recall': 0.45}
ROW |= {'parse_failures': 2, 'users': 205}
CONTROL = {name: x for name, x in ROW.items() if name not in ('f1_low', 'f1_high')}


@pytest.mark.parametrize('name', ['constant', 'logistic_regression'])
def test_lines(name):
  methods = {'swapped_users': CONTROL, name: ROW | {'f1': 0.7}}
  text = scores_as_text(methods, (205, 207, 2), 'test')
  head, first, second, last = text.splitlines()
  words = lambda line: ' '.join(line.split())
  assert words(first) == f'{name} 0.700 0.400 to 0.600 0.550 0.450 2 of 205'
  assert words(second) == 'swapped_users 0.500 – 0.550 0.450 2 of 205'
  assert last == 'users scored: 205 of 207 in the split test, 2 rejected'
  assert len(first) == len(second)
  for title, cell in (('F1', '0.700'), ('95 %', '0.400'), ('parse', '   2 of 205')):
    assert head.index(title) == first.index(cell)


def test_a_better_baseline_is_said_last():
  better = {'text': 'persoma scores below constant.'}
  text = scores_as_text({'persoma': ROW}, (1, 1, 0), 'test', better)
  assert text.endswith('rejected\npersoma scores below constant.\n')
