"""Rows of many options, and what their rounds say."""

import pytest

from benchmarks import many_options
from benchmarks.many_options import Row


def test_all_attend_only_where_it_is_not_the_default():
  rows = many_options.rows_of([18, 500], [50, 200])
  assert [row.name for row in rows if row.items == 50] == [
    'options, G=18, N=50',
    'dense, G=18, N=50',
    'options, G=500, N=50',
    'dense, G=500, N=50',
    'options, G=500, N=50, all attend',
  ]
  assert len({row.name for row in rows}) == len(rows)


def test_rounds_become_medians_and_spreads():
  rounds = [
    {'seconds_a_step': x, 'temp_gb': 1.0, 'parameters_of': {'words': 3}, 'run': True}
    for x in (0.5, 0.2, 0.4)
  ]
  rounds.append({'temp_gb': 1.0, 'run': True})  # too little memory this time
  row = many_options.summary(rounds)
  assert row['seconds_a_step'] == 0.4
  assert row['seconds_a_step, spread'] == pytest.approx(0.75)
  assert row['temp_gb'] == 1.0
  assert row['parameters_of'] == {'words': 3}
  assert row['run'] is True


def test_ratios_leave_out_what_was_not_run():
  rows = {
    Row('options', 500, 50).name: {'seconds_a_step': 3.0},
    Row('options', 500, 50, 'all').name: {'seconds_a_step': 6.0},
    Row('dense', 500, 50).name: {'seconds_a_step': 0.5},
    Row('options', 5000, 50, 'all').name: {'temp_gb': 90.0},
    Row('dense', 5000, 50).name: {'seconds_a_step': 1.0},
  }
  assert many_options.ratios(rows) == {
    'options, G=500, N=50 / dense: seconds_a_step': 6.0,
    'options, G=500, N=50, all attend / dense: seconds_a_step': 12.0,
  }
