"""Where ratings are cut in time."""

import numpy as np
import pytest

from pipelines.histories import clean
from pipelines.histories.clean import RatingColumns
from pipelines.histories.cutoff import Cutoff


def rows(*times: list[int]) -> tuple[RatingColumns, np.ndarray]:
  """Rows of users who rated at these times, newest first."""
  user = np.repeat(np.arange(len(times)), list(map(len, times)))
  time = np.concatenate([np.array(each, np.int64) for each in times])
  found = RatingColumns(
    user, np.arange(len(time)), np.ones(len(time), np.float32), time
  )
  return found, clean.user_starts(user, len(times))


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('0.8', Cutoff(fraction=0.8)),
    ('1420070400', Cutoff(time=1_420_070_400)),
    ('2015-01-01', Cutoff(time=1_420_070_400)),
    ('2015-01-01T01:00:00+01:00', Cutoff(time=1_420_070_400)),
  ],
)
def test_parse(text, expected):
  assert Cutoff.parse(text) == expected


@pytest.mark.parametrize('text', ['', '0', '-1', '1.5', 'nan', 'inf', 'yesterday'])
def test_what_is_no_cut(text):
  with pytest.raises(ValueError, match='expected a share between 0 and 1'):
    Cutoff.parse(text)


def test_time():
  before, after = Cutoff(time=5).sides(*rows([9, 5, 4], [5], [3]))
  assert before.tolist() == [False, False, True, False, True]
  assert after.tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(
  ('times', 'fraction', 'before', 'after'),
  [
    ([9, 8, 7, 6, 5], 0.6, {7, 6, 5}, {9, 8}),
    ([9, 8, 7, 7, 5], 0.4, {5}, {9, 8}),  # the cut falls between two of one second
    ([9, 9, 9], 0.5, set(), set()),
    ([9], 0.8, set(), {9}),
    ([9, 8], 0.01, set(), {9, 8}),
    (list(range(100, 0, -1)), 0.29, set(range(1, 30)), set(range(30, 101))),
  ],
)
def test_fraction(times, fraction, before, after):
  found, starts = rows([3, 2, 1], times, [1])
  history, label = Cutoff(fraction=fraction).sides(found, starts)
  mine = found.user == 1
  assert set(found.timestamp[history & mine].tolist()) == before
  assert set(found.timestamp[label & mine].tolist()) == after
