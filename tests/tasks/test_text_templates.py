"""Templates of texts, written by hand and read back."""

import re

import pytest

from tasks.text_templates import TextTemplate

FILM = 'The movie {title}[ ({year})] is listed with [genres {genres}|no genres]'


@pytest.mark.parametrize(
  ('values', 'text'),
  [
    (
      {'title': 'Heat', 'year': '1995', 'genres': ['Action', 'Crime']},
      'The movie Heat (1995) is listed with genres Action, Crime',
    ),
    (
      {'title': 'Heat', 'year': None, 'genres': []},
      'The movie Heat is listed with no genres',
    ),
    (
      {'title': '{x}[|]', 'year': '', 'genres': 'one'},
      'The movie {x}[|] is listed with genres one',
    ),
  ],
)
def test_parts_that_are_left_out(values, text):
  template = TextTemplate(FILM)
  assert template.fields == ('title', 'year', 'genres')
  assert template.write(values) == text


@pytest.mark.parametrize(
  ('source', 'value', 'text'),
  [
    ('{v}', 4.0, '4'),
    ('{v}', 4.5, '4.5'),
    ('{v:.1f}', 4.0, '4.0'),
    ('{v:>4}', 'a', '   a'),
    ('{{{v}}} [[x]] a|b ||', 1.0, '{1} [x] a|b |'),
    ('[{v} [or {v}]|none]', '', 'none'),
    ('[{v}: [{v}|b]]', 'x', 'x: x'),
    ('{v}', '', ''),
  ],
)
def test_values_and_signs(source, value, text):
  assert TextTemplate(source).write({'v': value}) == text


@pytest.mark.parametrize(
  ('source', 'at', 'reason'),
  [
    ('a {b', 3, 'expected a column and }'),
    ('a b}', 4, '} closes nothing; write }}'),
    ('a ]', 3, '] closes nothing; write ]]'),
    ('[a {b}', 7, 'a [ is not closed'),
    ('[a {b}|c', 9, 'a [ is not closed'),
    ('x [a]', 3, 'a part in brackets needs a field'),
    ('{}', 1, 'expected a column and }'),
  ],
)
def test_wrong_templates(source, at, reason):
  with pytest.raises(ValueError, match=re.escape(reason)) as caught:
    TextTemplate(source)
  assert f'character {at}: ' in str(caught.value)
