"""Words in slots as 0 and 1; movies without genres."""

import numpy as np
import pytest

from benchmarks import unseen_options
from persoma_tf.answer_form import Options

pytestmark = pytest.mark.assets


def test_words_are_classes_and_none_is_no_class():
  words = np.array([[0, 1, 3, 4], [4, 4, 2, 4]])  # two options a side, and none
  found = unseen_options.as_indicator(words, Options((0, 0, 2, 2), 2))
  np.testing.assert_array_equal(found, [[1, 1, 0, 1], [0, 0, 1, 0]])


def test_genres_are_taken_out_of_the_movies_and_nothing_else(assets, tmp_path):
  assets('ml-100k')
  names = ['Comedy', 'Sci-Fi']
  unseen_options.without_genres(names, tmp_path / 'movies.item')
  path = unseen_options.assets.path('ml-100k') / 'ml-100k.item'
  before, after = (x.read_text().splitlines() for x in (path, tmp_path / 'movies.item'))
  assert len(before) == len(after)
  assert before[0] == after[0]
  for one, other in zip(before[1:], after[1:], strict=True):
    *fields, genres = one.split('\t')
    kept = [name for name in genres.split() if name not in names]
    assert other.split('\t') == [*fields, ' '.join(kept)]
