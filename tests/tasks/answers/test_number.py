"""Questions that are answered with a number: how it is written, read and expected."""

import dataclasses

import numpy as np
import pytest

from tasks import questions, schema
from tasks.answers.number import Number, write_numbers

STARS = Number('stars_v1', 'Stars for {title}:', write_numbers(0.5, 5, 0.5))
EXAMPLE = {'example_id': 'e1', 'user_id': 'u1', 'item_id': 'i1'}


def test_numbers_are_written_in_exact_steps():
  assert write_numbers(1, 5, 1) == ('1', '2', '3', '4', '5')
  tenths = write_numbers(0, 1, 0.1)
  assert tenths[3] == '0.3', 'not 0.30000000000000004'
  assert [float(x) for x in tenths] == np.linspace(0, 1, 11).round(1).tolist()
  assert write_numbers(-2, 2, 2) == ('-2', '0', '2')
  assert write_numbers(1234567, 1234577, 10) == ('1234567', '1234577')
  assert write_numbers(0, 1e9, 5e8) == ('0', '500000000', '1000000000')
  with pytest.raises(ValueError, match='100,001 numbers; expected at most 1,001'):
    write_numbers(0, 1e5, 1)


@pytest.mark.parametrize('wrong', [(1, 1, 1), (5, 1, 1), (1, 5, 0), (1, 5, 3)])
def test_steps_that_do_not_fit(wrong):
  with pytest.raises(ValueError, match='expected a step above 0, and a last number'):
    write_numbers(*wrong)


def test_options_that_are_no_ascending_numbers():
  for wrong in (('1', 'two'), ('2', '1'), ('1', '1.0')):
    with pytest.raises(ValueError, match=r"expected ascending numbers, such as \('1'"):
      Number('stars_v1', '{title}', wrong)


def test_a_number_is_read_however_it_is_written():
  read = lambda text: STARS.parse(text).option
  assert [read(x) for x in ('4', ' 4.0', '4.', '04.50')] == ['4', '4', '4', '4.5']
  assert [read(x) for x in ('', '6', 'four', '4 stars', 'nan', '2..')] == [None] * 6


def test_a_row_has_the_columns_of_the_table():
  odds = np.random.default_rng(0).dirichlet(np.ones(10))
  row = STARS.row(EXAMPLE, ' 3.5', -0.5, 7, odds)
  assert (row['answer'], row['value'], row['parse_ok']) == ('3.5', 3.5, True)
  told = STARS.row(EXAMPLE, ' 3.5', -0.5, 7, odds, odds[::-1])
  assert told['value'] == pytest.approx((odds[::-1] * np.arange(1, 11) / 2).sum())
  assert told['draft_value'] == row['draft_value']
  assert row['draft_value'] == pytest.approx((odds * np.arange(1, 11) / 2).sum())
  words = {'kind': 'number', 'asks_item': True}
  named = [x.name for x in schema.prediction_columns(words)]
  of_the_run = ['model_id', 'run_id', 'predicted_at']
  assert {*named} - {*row} == {*of_the_run}
  assert {*row} <= {*named}
  lost = STARS.row(EXAMPLE, 'many', -0.5, 7)
  assert (lost['value'], lost['draft_value'], lost['parse_ok']) == (None, None, False)


def test_the_words_of_a_question_bring_it_back():
  words = {x: y for x, y in dataclasses.asdict(STARS).items() if x != 'name'}
  assert questions.from_words('stars_v1', {'kind': 'number', **words}) == STARS
