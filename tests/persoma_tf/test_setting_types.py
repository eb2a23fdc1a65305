"""What the parameters of recipes expect, also those of modules of one's own."""

import re
import typing
from collections.abc import Sequence
from typing import Annotated

import pytest

from persoma_tf.setting_types import expected_of


@pytest.mark.parametrize(
  ('hint', 'value'),
  [
    (float, 1),
    (float | None, None),
    (typing.Sequence, (1,)),
    (tuple[()], (1,)),
    (tuple[str, float], ('a', 1.0)),
    (tuple[int, ...], (1, '%N')),
    (Sequence[str], ['a', 'b']),
    (Sequence[str], ()),
    (Annotated[int, 'items'], 3),
    (Annotated[str, 'a name'], 'a'),
    (dict[str, int], 3),
    (tuple[typing.Literal['a', 'b'], ...], ('b',)),
    (tuple[bytes, ...], (1,)),
  ],
)
def test_right(hint, value):
  assert expected_of(hint, value) is None


@pytest.mark.parametrize(
  ('hint', 'value', 'expected'),
  [
    (int, True, 'a whole number'),
    (float | str, True, 'a number or a text'),
    (int | None, '3', 'a whole number or None'),
    (Annotated[int, 1], 0, 'at least 1'),
    (tuple[int, ...], (1, 2.5), r'each entry a whole number, such as \(1, 2\)'),
    (Sequence[str], 'ab', r"such as \('a', 'b'\)"),
    (tuple[typing.Literal['a', 'b'], ...], ('c',), r"each entry one of \['a', 'b'\]"),
  ],
)
def test_wrong(hint, value, expected):
  assert re.search(expected, expected_of(hint, value) or '')
