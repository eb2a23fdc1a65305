"""Headers to formats."""

import pytest

from pipelines.common.job import JobError
from pipelines.events import formats
from pipelines.events.known_formats import KNOWN


@pytest.mark.parametrize(
  ('line', 'kinds', 'name'),
  [
    (
      b'userId,movieId,rating,timestamp\r\n',
      KNOWN['ratings'],
      'MovieLens',
    ),
    (
      b'"userId","movieId","rating","timestamp"\n',
      KNOWN['ratings'],
      'MovieLens',
    ),
    (
      b'user_id:token\titem_id:token\trating:float\ttimestamp:float\n',
      KNOWN['ratings'],
      'RecBole',
    ),
    (b'movieId,title,genres', KNOWN['movies'], 'MovieLens'),
    (
      b'item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq',
      KNOWN['movies'],
      'RecBole',
    ),
    (b'1::1193::5::978300760\n', KNOWN['ratings'], 'MovieLens-1M'),
    (
      b"1::Toy Story (1995)::Animation|Children's|Comedy",
      KNOWN['movies'],
      'MovieLens-1M',
    ),
    (b'196\t242\t3\t881250949\n', KNOWN['ratings'], 'MovieLens-100K'),
    (
      b'1|Toy Story (1995)|01-Jan-1995||http://x|' + b'|'.join([b'0'] * 18 + [b'1']),
      KNOWN['movies'],
      'MovieLens-100K',
    ),
    (b'user,item,rating,timestamp', KNOWN['ratings'], 'PERSOMA'),
    (b'1::122::4.5::838985046\n', KNOWN['ratings'], 'MovieLens-1M'),
    (b'u::i-1::4::100\n', KNOWN['ratings'], 'MovieLens-1M'),
    (
      b'15::4973::excellent!::1215184630\n',
      KNOWN['tags'],
      'MovieLens-10M',
    ),
    (b'1\t2\t4.5\t838985046\n', KNOWN['ratings'], 'MovieLens-100K'),
  ],
)
def test_known(line, kinds, name):
  assert formats.detect('file', line, kinds).format.name == name


@pytest.mark.parametrize(
  ('title', 'year', 'genres'),
  [
    ('movie_title:token', 'release_year:token', 'class:token_seq'),  # ml-100k
    ('movie_title:token', 'release_year:token', 'genre:token_seq'),  # ml-1m
    ('movie_title:token_seq', 'release_year:token', 'genre:token_seq'),
    ('movie_name:token_seq', 'release_year:token', 'type:token_seq'),  # 10m, 20m
    ('movie_name:token_seq', 'year:token', 'class:token_seq'),
  ],
)
def test_items_of_recbole(title, year, genres):
  header = f'item_id:token\t{title}\t{year}\t{genres}\n'.encode()
  layout = formats.detect('ml.item', header, KNOWN['movies'])
  assert layout.format.name == 'RecBole'
  assert layout.positions == {'item': 0, 'title': 1, 'year': 2, 'genres': 3}


@pytest.mark.parametrize(
  ('header', 'kind', 'lacks', 'expected'),
  [
    (
      'item_id:token\tname:token_seq\trelease_year:token\tclass:token_seq',
      'movies',
      'movie_title:token_seq of RecBole',
      'item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq',
    ),
    (
      'UserID::MovieID::Rating::Timestamp',
      'ratings',
      'user, item, rating, timestamp of MovieLens-1M',
      'user::item::rating::timestamp',
    ),
    (
      'movie id|movie title|release date|video release date|IMDb URL|unknown|Action',
      'movies',
      'item, title of MovieLens-100K',
      'item|title|released|video|url|unknown|Action|Adventure|Animation|'
      "Children's|Comedy|Crime|Documentary|Drama|Fantasy|Film-Noir|Horror|Musical|"
      'Mystery|Romance|Sci-Fi|Thriller|War|Western',
    ),
  ],
)
def test_a_near_miss_shows_the_nearest_format_whole(header, kind, lacks, expected):
  with pytest.raises(JobError) as raised:
    formats.detect('f', header.encode(), KNOWN[kind])
  text = str(raised.value)
  assert text.startswith(f'f: line 1 lacks the column {lacks}; found {header!r}, ')
  assert f', expected {expected!r} (' in text


@pytest.mark.parametrize(
  ('header', 'names'),
  [
    (b'userId,movieId,rating,"when, UTC",timestamp\n', 5),
    (b'userId,movieId,"the ""rating""",rating,timestamp\r\n', 5),
    (b'"userId","movieId","rating","timestamp"', 4),
    (b'userId,movieId,rating,"when\n(UTC)",timestamp\n1,2,3,4,5\n', 5),
    (b'userId,movieId,rating,12" record,timestamp\n1,2,3,7",5\n', 5),
  ],
)
def test_a_header_is_csv(header, names):
  layout = formats.detect('f', header, KNOWN['ratings'])
  assert len(layout.header) == names
  assert [layout.header[layout.positions[x]] for x in ('user', 'timestamp')] == [
    'userId',
    'timestamp',
  ]


@pytest.mark.parametrize('more', ['', ',x', ',x,y'])
def test_an_open_quote_in_the_header_takes_no_rows(more):
  header = f'userId,movieId,rating,timestamp,"note{more}'
  rows = f'u,1,4,100,a{more}\nu,2,4,100,b{more}"\nu,3,4,100,c{more}\n'
  data = f'{header}\n{rows}'.encode()
  layout = formats.detect('f', data, KNOWN['ratings'])
  assert (layout.header_lines, layout.header) == (1, tuple(header.split(',')))


@pytest.mark.parametrize(
  ('header', 'lines'),
  [
    (b'userId,movieId,"a\nb",rating,timestamp\n', 2),
    (b'"a\n",userId,movieId,rating,timestamp\n', 2),
    (b'"a\nb\nc",userId,movieId,"x\ny,z",rating,timestamp\n', 4),
  ],
)
def test_a_line_end_in_a_name(header, lines):
  layout = formats.detect('f', header + b'u,1,4,100,x\n', KNOWN['ratings'])
  assert layout.header_lines == lines


def test_the_nearest_format_is_named():
  with pytest.raises(JobError) as raised:
    formats.detect('my.csv', b'userId,movieId,stars,timestamp', KNOWN['ratings'])
  text = str(raised.value)
  assert text.startswith('my.csv: line 1 lacks the column rating of MovieLens')
  assert "found 'userId,movieId,stars,timestamp'" in text
  assert 'user_id:token' in text


def test_wrong_encoding():
  with pytest.raises(JobError, match='line 1 is not UTF-8'):
    formats.detect('my.csv', 'userId,movieId'.encode('utf-16'), KNOWN['ratings'])
