"""Answers of rows: comparisons against pandas, texts against a table."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.examples.answer_rule import SIGNS, AnswerRule

OPTIONS = ('Yes', 'No')


@pytest.mark.parametrize('sign', SIGNS)
def test_comparisons(sign):
  values = pd.Series([1, 2.5, 3, 3.5, -4])
  rule = AnswerRule.parse(f'my stars {sign} 3', OPTIONS, {})
  assert rule.column == 'my stars'
  chosen, good = rule.choose(pa.array(values.astype(str)))
  expected = values.to_frame('value').eval(f'value {sign} 3')
  np.testing.assert_array_equal(chosen, np.where(expected, 0, 1))
  assert good.all()


def test_what_is_no_number():
  chosen, good = AnswerRule.parse('stars > 3', OPTIONS, {}).choose(
    pa.array(['4', '', None, 'many', ' 5 ', 'nan'])
  )
  assert chosen.tolist() == [0, -1, -1, -1, 0, -1]
  assert good.tolist() == [True, True, True, False, True, True]


def test_texts_name_options():
  rule = AnswerRule.parse('liked', OPTIONS, {'1': 'Yes', '0': 'No', 'never': 'No'})
  chosen, good = rule.choose(pa.array(['1', '1.0', '0', 'never', '', '2', 'Yes']))
  assert chosen.tolist() == [0, 0, 1, 1, -1, -1, -1]
  assert good.tolist() == [True] * 5 + [False] * 2
  numbers = rule.choose(pa.array([1.0, 0.0, None]))
  assert numbers[0].tolist() == [0, 1, -1]


def test_a_number_has_the_nearest_option():
  options = ('-10', '0', '2.5', '100')
  rule = AnswerRule.parse('minutes', options, {}, rounds=True)
  rng = np.random.default_rng(0)
  values = pd.Series([*rng.uniform(-10, 100, 200), -10, 100, 1, 1.5])
  steps = pd.DataFrame({'step': [*map(float, options)]})
  steps['at'] = steps.index
  nearest = pd.merge_asof(
    values.sort_values().to_frame('step').reset_index(),
    *(steps, 'step'),
    direction='nearest',
  )
  chosen, good = rule.choose(pa.array(values.astype(str)))
  assert good.all()
  np.testing.assert_array_equal(chosen[nearest['index']], nearest['at'])
  chosen, good = rule.choose(pa.array(['-10.1', '101', 'long', 'inf', '', None]))
  assert chosen.tolist() == [-1] * 6
  assert good.tolist() == [False] * 4 + [True] * 2
  assert rule.expected == 'a number from -10 to 100'


def test_truth_values():
  rule = AnswerRule.parse('liked', OPTIONS, {'true': 'Yes', 'false': 'No'})
  for column in (pa.array([True, False, None]), pa.array(['True', 'FALSE', ''])):
    chosen, good = rule.choose(column)
    assert chosen.tolist() == [0, 1, -1]
    assert good.all()


def test_no_rows():
  for text in ('stars > 3', 'liked'):
    chosen, good = AnswerRule.parse(text, OPTIONS, {'1': 'Yes'}).choose(
      pa.array([], pa.string())
    )
    assert len(chosen) == len(good) == 0


@pytest.mark.parametrize(
  ('text', 'options', 'said'),
  [
    ('stars > many', OPTIONS, "compares to 'many'"),
    ('stars > 3', ('a', 'b', 'c'), 'is true or false, and there are 3 options'),
  ],
)
def test_refused(text, options, said):
  with pytest.raises(ValueError, match=said):
    AnswerRule.parse(text, options, {})
