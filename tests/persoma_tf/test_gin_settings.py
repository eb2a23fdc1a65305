"""Gin's texts, of modules that are not there."""

import pytest

from persoma_tf.gin_settings import scopes, settings

TEXT = """import nowhere.such
from nowhere import other

# Parameters for a:
a.text = 'two  spaces, me@here/there'
a.long = \\
    'one line'
a.joined = ('one '
            'two')
a.lines = \"\"\"x
y\"\"\"
a.number = 3  # a comment
a.nested = {'stages': [@one/Stage(), @Stage], 'name': %two/NAME}
a.module.b.flag = True
outer/inner/a.number = (1,
    2)
NAME = 'x'
block/a:
  number = 4
"""


def test_settings():
  assert settings(TEXT) == {
    'a.text': 'two  spaces, me@here/there',
    'a.long': 'one line',
    'a.joined': 'one two',
    'a.lines': 'x\ny',
    'a.number': 3,
    'a.nested': {'stages': ['@one/Stage()', '@Stage'], 'name': '%two/NAME'},
    'a.module.b.flag': True,
    'outer/inner/a.number': (1, 2),
    'NAME': 'x',
    'block/a.number': 4,
  }
  assert settings('') == {}


def test_scopes():
  assert scopes(TEXT) == {'one', 'two'}


@pytest.mark.parametrize('text', ['a.b = [', 'a b', 'a.b = word', "a.b = 'x"])
def test_no_gin(text):
  with pytest.raises(ValueError, match='not valid gin'):
    settings(text)
