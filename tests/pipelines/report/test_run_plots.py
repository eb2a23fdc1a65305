"""The figures as SVG: readable, in the page's colours, the same every time."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from pipelines.report import run_numbers, run_plots

NAMES = ('Drama', '$x_1$ & <b>', '戦争')
RNG = np.random.default_rng(0)
TRUTH, ANSWER = RNG.random((2, 60, 6)) < 0.3
LENGTHS = RNG.integers(5, 400, 60)
SCORE = {'f1': 0.5, 'f1_low': 0.4, 'f1_high': 0.6}
POINTS = [
  run_numbers.LossPoint(stage, split, metric, step, 1 / step)
  for stage in ('histories', 'decoder')
  for split in ('train', 'validation')
  for metric in ('loss', 'slot_loss')
  for step in (1, 2, 3)
]
DRAWN = {
  'scores': lambda: run_plots.plot_scores(
    {'persoma': SCORE, 'counting': SCORE, 'swapped_users': {'f1': 0.2}}
  ),
  'by-length': lambda: run_plots.plot_by_length(
    run_numbers.score_by_length(
      LENGTHS, TRUTH, {'a': ANSWER, 'b': TRUTH}, samples=20, seed=0
    )
  ),
  'genres': lambda: run_plots.plot_genres(
    run_numbers.score_by_genre(TRUTH, ANSWER, NAMES)
  ),
  'confusion': lambda: run_plots.plot_confusions(
    run_numbers.count_confusions(TRUTH, ANSWER).sum(0)
  ),
  'lengths': lambda: run_plots.plot_lengths(run_numbers.count_by_length(LENGTHS), 100),
  'curves': lambda: run_plots.plot_losses(POINTS),
}


def texts(svg: str) -> list[str]:
  """All texts of a figure."""
  root = ElementTree.fromstring(svg)
  return [''.join(x.itertext()) for x in root.iter() if x.tag.endswith('}text')]


@pytest.mark.parametrize('name', DRAWN)
def test_a_figure(name):
  svg = DRAWN[name]()
  assert svg == DRAWN[name](), 'the same numbers give the same bytes'
  assert not re.search(r'#[0-9a-f]{6}\b', svg), 'a colour that is not of the page'
  assert 'currentColor' in svg
  ids = re.findall(r' id="(.*?)"', svg)
  assert all(x.startswith(f'{name}-') for x in ids)
  used = re.findall(r'(?:url\(#|href="#)(.*?)[")]', svg)
  assert set(used) <= set(ids)
  assert len(ids) == len(set(ids))
  assert 'dc:date' not in svg


def test_names_are_texts_and_no_formulas():
  assert set(NAMES) <= set(texts(DRAWN['genres']()))


@pytest.mark.parametrize(
  'name', ['#000001', 'currentColor', 'var(--first)', ' id="x"', 'url(#x)', '"#x']
)
def test_names_that_look_like_code_of_a_drawing_stay_as_they_are(name):
  genres = (name, *NAMES[1:])
  assert name in texts(
    run_plots.plot_genres(run_numbers.score_by_genre(TRUTH, ANSWER, genres))
  )


def test_axes_say_what_they_show():
  assert {'weighted F1', 'swapped_users'} <= set(texts(DRAWN['scores']()))
  assert {'weighted F1', 'ratings of the user (number of users)'} <= set(
    texts(DRAWN['by-length']())
  )
  assert {'shown at most: 100', 'users'} <= set(texts(DRAWN['lengths']()))
  assert {'stage histories', 'stage decoder', 'step', 'loss'} <= set(
    texts(DRAWN['curves']())
  )


def test_numbers_stand_where_the_axis_says():
  """Widths of the bars, measured in the drawing, are the shares."""
  table = np.array([[50, 25, 25, 0], [0, 100, 0, 0], [10, 20, 30, 40]])
  svg = run_plots.plot_confusions(table)
  bars = re.findall(r'<path d="M ([\d.]+) ([\d.]+) +L ([\d.]+) [^"]*" clip', svg)
  widths = np.array([float(right) - float(left) for left, _, right in bars])
  full = widths.reshape(3, 4).sum(axis=1)
  np.testing.assert_allclose(widths.reshape(3, 4), table / 100 * full[0], atol=0.01)


def test_nobody_is_drawn_too():
  nobody = np.zeros((0, 6), bool)
  for svg in (
    run_plots.plot_genres(run_numbers.score_by_genre(nobody, nobody, NAMES)),
    run_plots.plot_confusions(run_numbers.count_confusions(nobody, nobody).sum(0)),
  ):
    ElementTree.fromstring(svg)
