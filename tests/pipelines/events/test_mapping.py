"""Own data: fields to columns."""

import json

import pytest

from pipelines.common.job import JobError
from pipelines.events import formats
from pipelines.events.known_formats import KNOWN
from pipelines.events.mapping import formats_of


def test_pairs():
  made = formats_of('user=who,item=sku,movies.item=id,genre_separator=;,delimiter=tab')
  (ratings,), (movies,) = made['ratings'], made['movies']
  assert ratings.columns == {
    'user': 'who',
    'item': 'sku',
    'rating': 'rating',
    'timestamp': 'timestamp',
  }
  assert (movies.columns['item'], movies.genre_separator) == ('id', ';')
  assert ratings.delimiter == '\t'


def test_files_with_a_long_delimiter_have_no_quotes():
  (ratings,) = formats_of('user=who,delimiter=::')['ratings']
  assert (ratings.delimiter, ratings.quoted) == ('::', False)


def test_a_file_says_the_same(tmp_path):
  path = tmp_path / 'shop.json'
  path.write_text(json.dumps({'user': 'who', 'time_unit': 'ms'}))
  assert formats_of(str(path)) == formats_of('user=who,time_unit=ms')


def test_options_alone_change_known_formats():
  made = formats_of('time_unit=ms')
  assert [kind.name for kind in made['ratings']] == [
    kind.name for kind in KNOWN['ratings']
  ]
  assert {kind.time_unit for kind in made['ratings']} == {'ms'}


def test_options_of_one_kind_of_file():
  made = formats_of('movies.item=id,movies.delimiter=tab,quotes=none,encoding=utf8')
  (movies,), ratings = made['movies'], made['ratings'][0]
  assert (movies.delimiter, movies.quoted) == ('\t', False)
  assert (ratings.delimiter, ratings.quoted) == (',', False)
  assert movies.encoding == ratings.encoding == 'utf-8'


def test_names_of_encodings():
  names = ['utf8', 'UTF-8', 'utf-8-sig', 'Latin_1', 'cp1252']
  found = [formats_of(f'encoding={name}')['tags'][0].encoding for name in names]
  assert found == ['utf-8', 'utf-8', 'utf-8', 'iso8859-1', 'cp1252']


def test_quotes():
  quoted = lambda mapping: formats_of(mapping)['ratings'][0].quoted
  assert quoted('user=who') is True
  assert quoted('user=who,quotes=none') is False
  assert quoted('user=who,delimiter=tab') is None  # the file tells
  assert quoted('user=who,delimiter=tab,quotes=double') is True


@pytest.mark.parametrize('kind', KNOWN)
def test_our_own_names_with_tabs(kind):
  header = '\t'.join(formats.REQUIRED[kind]).encode()
  layout = formats.detect('f', header, formats_of('delimiter=tab')[kind])
  assert layout.format.name == 'PERSOMA'


def test_nothing():
  assert formats_of('') == KNOWN


@pytest.mark.parametrize(
  ('mapping', 'message'),
  [
    ('usr=who', 'unknown field usr; did you mean user'),
    ('user', 'expected field=column pairs'),
    ('user=a,user=b', 'each field once'),
    ('time_unit=weeks', 'expected one of s, ms, us, ns'),
    ('delimiter=,user=a', "delimiter='': expected a separator"),
    ('genre_separator=,user=a', "genre_separator='': expected a separator"),
    ('encoding=latin-99', 'encoding=latin-99: expected an encoding that extends'),
    ('encoding=utf-16', 'encoding=utf-16: expected an encoding that extends'),
    ('encoding=undefined', 'encoding=undefined: expected an encoding that extends'),
    ('delimiter=§,encoding=ascii', 'delimiter=§: encoding=ascii has no such character'),
    ('delimiter=::,quotes=double', 'delimiter=::: expected one character beside'),
    ('movies.quotes=single', 'quotes=single: expected one of none, double'),
    ('movis.quotes=none', 'unknown field movis.quotes; did you mean movies.quotes'),
    ('quotes=single', 'quotes=single: expected one of none, double'),
    ('nowhere.json', 'cannot read nowhere.json'),
  ],
)
def test_wrong(mapping, message):
  with pytest.raises(JobError, match=message):
    formats_of(mapping)
