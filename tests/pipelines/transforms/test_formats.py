"""Headers to formats."""

import pytest

from pipelines.job import JobError
from pipelines.transforms import formats


@pytest.mark.parametrize(
  ('line', 'kinds', 'name'),
  [
    (b'userId,movieId,rating,timestamp\r\n', formats.RATINGS, 'MovieLens'),
    (b'"userId","movieId","rating","timestamp"\n', formats.RATINGS, 'MovieLens'),
    (
      b'user_id:token\titem_id:token\trating:float\ttimestamp:float\n',
      formats.RATINGS,
      'RecBole',
    ),
    (b'movieId,title,genres', formats.ITEMS, 'MovieLens'),
    (
      b'item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq',
      formats.ITEMS,
      'RecBole',
    ),
  ],
)
def test_known(line, kinds, name):
  assert formats.detect('file', line, kinds).format.name == name


def test_the_nearest_format_is_named():
  with pytest.raises(JobError) as raised:
    formats.detect('my.csv', b'userId,movieId,stars,timestamp', formats.RATINGS)
  text = str(raised.value)
  assert text.startswith('my.csv: line 1 lacks the column rating of MovieLens')
  assert "found 'userId,movieId,stars,timestamp'" in text
  assert 'user_id:token' in text


def test_wrong_encoding():
  with pytest.raises(JobError, match='line 1 is not UTF-8'):
    formats.detect('my.csv', 'userId,movieId'.encode('utf-16'), formats.RATINGS)
