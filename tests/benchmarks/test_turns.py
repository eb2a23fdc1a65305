"""Rows take turns, and their seconds become a median and a spread."""

import pytest

from benchmarks import turns


def test_every_row_has_each_place_once():
  order = []
  rows = {name: lambda name=name: order.append(name) or 1.0 for name in 'abc'}
  found = turns.in_turns(rows, 3)
  assert found == dict.fromkeys('abc', [1.0] * 3)
  assert ''.join(order) == 'abcbcacab'


def test_summary():
  row = turns.summary([0.5, 0.2, 0.4], 8)
  assert row['seconds'] == [0.5, 0.2, 0.4]
  assert row['seconds_a_step'] == 0.4
  assert row['spread'] == pytest.approx(0.75)
  assert row['examples_a_second'] == 20
