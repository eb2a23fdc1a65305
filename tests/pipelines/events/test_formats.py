"""Headers to formats."""

import pytest

from pipelines.common.job import JobError
from pipelines.events import formats


@pytest.mark.parametrize(
  ('line', 'kinds', 'name'),
  [
    (b'userId,movieId,rating,timestamp\r\n', formats.KNOWN['ratings'], 'MovieLens'),
    (
      b'"userId","movieId","rating","timestamp"\n',
      formats.KNOWN['ratings'],
      'MovieLens',
    ),
    (
      b'user_id:token\titem_id:token\trating:float\ttimestamp:float\n',
      formats.KNOWN['ratings'],
      'RecBole',
    ),
    (b'movieId,title,genres', formats.KNOWN['movies'], 'MovieLens'),
    (
      b'item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq',
      formats.KNOWN['movies'],
      'RecBole',
    ),
    (b'1::1193::5::978300760\n', formats.KNOWN['ratings'], 'MovieLens-1M'),
    (
      b"1::Toy Story (1995)::Animation|Children's|Comedy",
      formats.KNOWN['movies'],
      'MovieLens-1M',
    ),
    (b'196\t242\t3\t881250949\n', formats.KNOWN['ratings'], 'MovieLens-100K'),
    (
      b'1|Toy Story (1995)|01-Jan-1995||http://x|' + b'|'.join([b'0'] * 18 + [b'1']),
      formats.KNOWN['movies'],
      'MovieLens-100K',
    ),
    (b'user,item,rating,timestamp', formats.KNOWN['ratings'], 'PERSOMA'),
  ],
)
def test_known(line, kinds, name):
  assert formats.detect('file', line, kinds).format.name == name


def test_the_nearest_format_is_named():
  with pytest.raises(JobError) as raised:
    formats.detect(
      'my.csv', b'userId,movieId,stars,timestamp', formats.KNOWN['ratings']
    )
  text = str(raised.value)
  assert text.startswith('my.csv: line 1 lacks the column rating of MovieLens')
  assert "found 'userId,movieId,stars,timestamp'" in text
  assert 'user_id:token' in text


def test_wrong_encoding():
  with pytest.raises(JobError, match='line 1 is not UTF-8'):
    formats.detect(
      'my.csv', 'userId,movieId'.encode('utf-16'), formats.KNOWN['ratings']
    )
