"""Every kind of bad row and file: what docs/robustness.md says is what happens.

The cases below are the rows of its tables. `python -m tests.pipelines.test_robustness`
prints the tables.
"""

import bz2
import gzip
import json
import pathlib
import subprocess
import sys
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystems import FileSystems

from pipelines import build_histories
from pipelines.common.job import JobError
from pipelines.events import check, file_blocks, input_files, rating_scale
from pipelines.events.mapping import formats_of

DOCS = pathlib.Path(__file__).parents[2] / 'docs' / 'robustness.md'
RATINGS = 'userId,movieId,rating,timestamp\n'
MOVIES = 'movieId,title,genres\n1,A (1990),War\n2,"B, or ""C""",Drama|War\n'
GOOD = [f'{user},{item},4.0,100' for user in 'abcdefgh' for item in (1, 2)]

# kind, line, reason, field, what would be right
BAD_RATINGS = [
  ('no user', ',1,4.0,100', 'empty_field', 'userId', 'a value'),
  ('no item', 'u,,4.0,100', 'empty_field', 'movieId', 'a value'),
  ('no rating', 'u,1,,100', 'empty_field', 'rating', 'a value'),
  ('no time', 'u,1,4.0,', 'empty_field', 'timestamp', 'a value'),
  ('rating in words', 'u,1,good,100', 'not_a_number', 'rating', None),
  ('decimal comma', 'u,1,"4,5",100', 'not_a_number', 'rating', None),
  ('rating NaN', 'u,1,NaN,100', 'not_a_number', 'rating', None),
  ('rating infinite', 'u,1,inf,100', 'not_a_number', 'rating', None),
  ('rating too high', 'u,1,7,100', 'rating_outside_scale', 'rating', None),
  ('rating between two steps', 'u,1,3.3,100', 'rating_outside_scale', 'rating', None),
  ('negative rating', 'u,1,-1,100', 'rating_outside_scale', 'rating', None),
  ('date as text', 'u,1,4.0,2024-01-31', 'not_a_number', 'timestamp', None),
  ('negative time', 'u,1,4.0,-5', 'negative_time', 'timestamp', None),
  ('milliseconds', 'u,1,4.0,1445714994000', 'time_too_large', 'timestamp', None),
  ('unknown item', 'u,3,4.0,100', 'unknown_item', 'movieId', None),
  ('too few columns', 'u,1,4.0', 'wrong_column_count', '', None),
  ('too many columns', 'u,1,4.0,100,9', 'wrong_column_count', '', None),
  ('header again', RATINGS.strip(), 'not_a_number', 'rating', None),
  ('quote never closed', 'u,"1,4.0,100', 'bad_quotes', '', None),
  ('text after a quote', 'u,"1"x,4.0,100', 'bad_quotes', '', None),
  ('not UTF-8', 'u\\xff,1,4.0,100', 'not_utf8', '', None),
  ('blank line', '', 'blank_line', '', None),
  ('only blanks', '   ', 'blank_line', '', None),
]
_SCALE = 'from 0.5 to 5 in steps of 0.5'
_SECONDS = 'seconds since 1970'
_RIGHT = {
  ('not_a_number', 'rating'): f'a number {_SCALE}',
  ('rating_outside_scale', 'rating'): f'{_SCALE}, the rating scale',
  ('not_a_number', 'timestamp'): f'{_SECONDS}; time_unit=iso reads dates',
  ('negative_time', 'timestamp'): _SECONDS,
  ('time_too_large', 'timestamp'): (f'{_SECONDS}; time_unit=ms reads milliseconds'),
  ('unknown_item', 'movieId'): 'an id of the items',
  ('wrong_column_count', ''): '4 values: userId,movieId,rating,timestamp',
  ('blank_line', ''): '4 values: userId,movieId,rating,timestamp',
  ('bad_quotes', ''): 'quotes that close on their line; quotes=none reads '
  'quotes as characters',
  ('not_utf8', ''): 'UTF-8 text',
}
BAD_RATINGS = [(*row[:4], row[4] or _RIGHT[row[2:4]]) for row in BAD_RATINGS]

# kind, line of movies.csv, reason, field, what would be right
BAD_MOVIES = [
  ('no id', ',T,War', 'empty_field', 'movieId', 'a value'),
  ('no title', '7,,War', 'empty_field', 'title', 'a value'),
  (
    'item again',
    '1,T,War',
    'duplicate_item',
    'movieId',
    'each item once; the first row of an item counts',
  ),
  (
    'too few columns',
    '8,T',
    'wrong_column_count',
    '',
    'as many values as the header has',
  ),
  (
    'quote never closed',
    '9,"T,War',
    'bad_quotes',
    '',
    'quotes that close; quotes=none reads quotes as characters',
  ),
  ('not UTF-8', '9,\\xff,War', 'not_utf8', '', 'UTF-8 text'),
  ('blank line', '', 'blank_line', '', 'a row'),
]

# kind, lines of ratings.csv, rule
DROPPED = [
  ('the same row twice', 'a,1,4.0,100\na,1,4.0,100\na,2,3,100', 'duplicate'),
  ('rated again later', 'a,1,4.0,100\na,1,3.0,200\na,2,3,100', 'superseded'),
  ('user with few ratings', 'a,1,4,1\na,2,4,1\nb,1,4,1', 'user_below_min_history'),
]


def csv_of(*lines):
  return (RATINGS + ''.join(f'{line}\n' for line in lines)).encode()


ONE = csv_of('u,1,4.0,100')
EXPECTED = [('u', 0, 4.0, 100)]
# kind, bytes of the ratings, flag --mapping, rows (user, item's row, rating, time)
READ = [
  ('byte order mark', b'\xef\xbb\xbf' + ONE, '', EXPECTED),
  (
    'mixed line ends',
    csv_of('u,1,4.0,100\r', 'v,2,1,5', 'w,1,1,5\r'),
    '',
    [*EXPECTED, ('v', 1, 1, 5), ('w', 0, 1, 5)],
  ),
  ('no line end after the last row', ONE[:-1], '', EXPECTED),
  ('quotes around values', csv_of('"u","1","4.0","100"'), '', EXPECTED),
  (
    'quotes and commas in ids',
    csv_of('"a, ""b""",1,4.0,100'),
    '',
    [('a, "b"', 0, 4.0, 100)],
  ),
  (
    'user ids of 64 bits and more',
    csv_of('18446744073709551616,1,4.0,100'),
    '',
    [('18446744073709551616', 0, 4.0, 100)],
  ),
  ('user ids that are no ASCII', csv_of('ü-ß/7,1,4.0,100'), '', [('ü-ß/7', 0, 4, 100)]),
  ('times in ms', csv_of('u,1,4.0,100999'), 'time_unit=ms', EXPECTED),
  ('times in us', csv_of('u,1,4.0,100999999'), 'time_unit=us', EXPECTED),
  ('times in ns', csv_of('u,1,4.0,100900000000'), 'time_unit=ns', EXPECTED),
  ('dates', csv_of('u,1,4.0,1970-01-01'), 'time_unit=iso', [('u', 0, 4, 0)]),
  (
    'dates with a time of day',
    csv_of('u,1,4.0,1970-01-01 00:01:40.75'),
    'time_unit=iso',
    EXPECTED,
  ),
  (
    'dates with a time of day and a zone',
    csv_of('u,1,4.0,1970-01-01T01:01:40+01:00'),
    'time_unit=iso',
    EXPECTED,
  ),
  ('dates in digits', csv_of('u,1,4.0,19700101'), 'time_unit=iso', [('u', 0, 4, 0)]),
  ('times with a fraction', csv_of('u,1,4.0,100.75'), '', EXPECTED),
  ('numbers as 4e0', csv_of('u,1,4e0,1e2'), '', EXPECTED),
  (
    'columns in another order, more columns',
    b'rating,x,timestamp,movieId,userId\n4.0,?,100,1,u\n',
    '',
    EXPECTED,
  ),
  ('gzip without .gz', gzip.compress(ONE, mtime=0), '', EXPECTED),
  ('bz2', bz2.compress(ONE), '', EXPECTED),
  (
    'Latin-1',
    csv_of('u\u00e9,1,4.0,100').decode().encode('latin-1'),
    'encoding=latin-1',
    [('ué', 0, 4.0, 100)],
  ),
  (
    'other separator and names',
    b'who;what;stars;when\nu;1;4.0;100\n',
    'user=who,item=what,rating=stars,timestamp=when,delimiter=;',
    EXPECTED,
  ),
  (
    'one column for two fields',
    b'user,item,rating\nu,1,4.0\n',
    'timestamp=rating',
    [('u', 0, 4.0, 4)],
  ),
  (
    'one column for a text and a number',
    b'user,item,timestamp\nu,1,100\n',
    'rating=item',
    [('u', 0, 1.0, 100)],
  ),
  ('MovieLens 10M: half stars', b'7::1::4.5::100\n', '', [('7', 0, 4.5, 100)]),
  (
    'quotes and commas in the header',
    b'userId,movieId,rating,"when, UTC",timestamp\nu,1,4.0,x,100\n',
    '',
    EXPECTED,
  ),
  (
    'a line end in the header, within quotes',
    b'userId,movieId,"r (0.5\nto 5)",rating,timestamp\nu,1,x,4.0,100\n',
    '',
    EXPECTED,
  ),
  (
    'Latin-1 in the header',
    'Käufer;item;rating;timestamp\nu;1;4.0;100\n'.encode('latin-1'),
    'user=Käufer,delimiter=;,encoding=latin-1',
    EXPECTED,
  ),
  (
    'a separator that is no ASCII',
    'user¦item¦rating¦timestamp\nu¦1¦4.0¦100\n"a¦b"¦1¦4.0¦100\n'.encode('cp1252'),
    'user=user,delimiter=¦,encoding=cp1252',
    [*EXPECTED, ('a¦b', 0, 4.0, 100)],
  ),
  (
    'quotes that are characters, between tabs',
    b'user\titem\trating\ttimestamp\n"w. ed" j\t1\t4.0\t100\n',
    'user=user,delimiter=tab',
    [('"w. ed" j', 0, 4.0, 100)],
  ),
  (
    'quotes that are characters, between commas',
    csv_of('"w. ed" j,1,4.0,100'),
    'quotes=none',
    [('"w. ed" j', 0, 4.0, 100)],
  ),
]


def write(folder, ratings=None, movies=MOVIES, name='ratings.csv'):
  """Writes the inputs; returns flags."""
  for path, data in ((name, ratings or csv_of(*GOOD)), ('movies.csv', movies)):
    data = data.encode() if isinstance(data, str) else data
    (folder / path).write_bytes(data)
  return {'ratings': folder / name, 'movies': folder / 'movies.csv'}


ANY_SHARE = {'max_reject_fraction': 1}


def run(folder, **flags):
  flags = {'output_dir': folder / 'h', **flags}
  build_histories.run([f'--{name}={value}' for name, value in flags.items()])
  info = json.loads((folder / 'h' / 'dataset_info.json').read_text())
  text = (folder / 'h' / 'rejects-00000-of-00001.jsonl').read_text()
  return info['counts'], [json.loads(line) for line in text.splitlines()]


def _bytes(line):
  return line.encode().replace(b'\\xff', b'\xff')


@pytest.mark.parametrize('ends', [b'\n', b'\r\n'])
def test_bad_ratings(tmp_path, ends):
  lines = [RATINGS.strip(), *GOOD, *(row[1] for row in BAD_RATINGS), GOOD[0]]
  flags = write(tmp_path, ends.join(map(_bytes, lines)))
  counts, rejects = run(tmp_path, **flags, **ANY_SHARE)
  assert len(rejects) == len(BAD_RATINGS) == counts['rows_rejected']
  for number, (found, row) in enumerate(
    zip(rejects, BAD_RATINGS, strict=True), 2 + len(GOOD)
  ):
    kind, line, reason, field, right = row
    record = found['record']
    assert (found['stage'], found['reason']) == ('read_ratings', reason), kind
    assert (record['field'], record['expected']) == (field, right), kind
    assert (record['line'], record['raw']) == (number, line), kind
  assert counts['rows_in'] == len(lines) - 1
  assert counts['rows_kept'] == len(GOOD)


def test_bad_movies(tmp_path):
  lines = MOVIES.encode() + b'\n'.join(_bytes(row[1]) for row in BAD_MOVIES) + b'\n'
  counts, rejects = run(tmp_path, **write(tmp_path, movies=lines), **ANY_SHARE)
  assert [
    (row['reason'], row['record']['field'], row['record']['expected'])
    for row in rejects
  ] == [row[2:] for row in BAD_MOVIES]
  assert [row['record']['line'] for row in rejects] == list(
    range(4, 4 + len(BAD_MOVIES))
  )
  assert counts['item_rows_in'] == counts['items'] + counts['item_rows_rejected']


def test_what_is_no_date(tmp_path):
  bad = ['31.01.2024', '2024-13-01', '1706659200', '1969-12-31']
  lines = [f'u,1,4.0,{text}' for text in ['2024-01-31', *bad]]
  flags = write(tmp_path, csv_of('\n'.join(lines)))
  counts, rejects = run(tmp_path, **flags, **ANY_SHARE, mapping='time_unit=iso')
  assert counts['rows_kept'] == 1
  assert counts['rows_rejected_by_reason'] == {'not_a_date': 3, 'negative_time': 1}
  assert [row['record']['value'] for row in rejects] == bad
  expected = 'a date such as 2024-01-31 or 2024-01-31T12:00:00+01:00'
  assert rejects[0]['record']['expected'] == expected


@pytest.mark.parametrize(('kind', 'lines', 'rule'), DROPPED)
def test_dropped(tmp_path, kind, lines, rule):
  counts, rejects = run(tmp_path, **write(tmp_path, csv_of(lines)), min_history=2)
  assert {name for name, number in counts['rows_dropped'].items() if number} == {rule}
  assert counts['rows_in'] == counts['rows_kept'] + 1
  assert not rejects


@pytest.mark.parametrize(('kind', 'data', 'mapping', 'expected'), READ)
def test_read(tmp_path, kind, data, mapping, expected):
  paths = write(tmp_path, data)
  known = formats_of(mapping)['ratings']
  files = input_files.find_files(str(paths['ratings']), known, 'ratings')
  (block,) = file_blocks.cut_blocks(files, 1 << 20)
  ids = pa.array(['1', '2'])
  (made,) = check.read_ratings(block, ids, rating_scale.RatingScale())
  assert list(zip(*made.batch.to_pydict().values(), strict=True)) == expected
  assert made.num_bad == 0


# Bad files: kind, message, and a function (folder, monkeypatch) -> flags that differ.
BAD_FILES = []


def bad_file(kind, message):
  def add(make):
    BAD_FILES.append((kind, message, make))
    return make

  return add


_LACKS = 'line 1 lacks the column'


@bad_file('no such file', '--ratings: no such file nowhere.csv')
def _(folder, patch):
  return {'ratings': folder / 'nowhere.csv'}


@bad_file('a glob that matches nothing', '--ratings: no such file part-*')
def _(folder, patch):
  return {'ratings': folder / 'part-*'}


@bad_file('a folder', 'data is a folder; give the file in it')
def _(folder, patch):
  (folder / 'data').mkdir()
  return {'ratings': folder / 'data'}


@bad_file('no permission', 'ratings.csv cannot be read: Permission denied')
def _(folder, patch):
  def refuse(path, *args, **kwargs):
    raise PermissionError(13, 'Permission denied', path)

  patch.setattr(FileSystems, 'open', refuse)  # root may read everything


@bad_file('an empty file', 'ratings.csv is empty')
def _(folder, patch):
  return write(folder, b'\n')


@bad_file('only a header', '--ratings: ratings.csv has a header but no rows')
def _(folder, patch):
  return write(folder, RATINGS)


@bad_file(
  'a column is missing',
  f"ratings.csv: {_LACKS} rating of MovieLens; found 'userId,movieId,timestamp', "
  "expected 'userId,movieId,rating,timestamp' (MovieLens) or …",
)
def _(folder, patch):
  return write(folder, 'userId,movieId,timestamp\n1,1,1\n')


@bad_file(
  'a column is missing in one of many files',
  f"part-1.csv: {_LACKS} timestamp of MovieLens; found 'userId,movieId,rating', …",
)
def _(folder, patch):
  write(folder, name='part-0.csv')
  write(folder, 'userId,movieId,rating\n1,1,1\n', name='part-1.csv')
  return {'ratings': folder / 'part-*'}


@bad_file(
  'a column stands there twice',
  'ratings.csv: line 1 names the column rating twice; '
  "found 'userId,movieId,rating,timestamp,rating'",
)
def _(folder, patch):
  return write(folder, 'userId,movieId,rating,timestamp,rating\n1,1,1,1,1\n')


@bad_file(
  'another separator',
  f'ratings.csv: {_LACKS} userId, movieId, rating, timestamp of MovieLens; '
  "found 'userId;movieId;rating;timestamp', …",
)
def _(folder, patch):
  return write(folder, csv_of(*GOOD).replace(b',', b';'))


@bad_file(
  'ratings given as movies', f'ratings.csv: {_LACKS} title, genres of MovieLens; …'
)
def _(folder, patch):
  return {'movies': folder / 'ratings.csv'}


@bad_file(
  'UTF-16',
  'ratings.csv: line 1 is not UTF-8 text (invalid start byte at byte 0); …',
)
def _(folder, patch):
  return write(folder, csv_of(*GOOD).decode().encode('utf-16'))


@bad_file(
  'a header in another encoding',
  'ratings.csv: line 1 is not cp1252 text (character maps to <undefined> at byte 1); …',
)
def _(folder, patch):
  flags = write(folder, b'K\x81ufer,item,rating,timestamp\nu,1,4,100\n')
  return {**flags, 'mapping': 'user=who,encoding=CP1252'}


@bad_file(
  'line ends of old Macs',
  f'ratings.csv: {_LACKS} timestamp of MovieLens; '
  "found 'userId,movieId,rating,timestamp\\ru,1,4.0,100', …",
)
def _(folder, patch):
  return write(folder, ONE.replace(b'\n', b'\r'))


@bad_file(
  'a zip archive',
  'ratings.csv is a zip archive; unpack it, or compress the file with gzip, bz2 or '
  'zstd',
)
def _(folder, patch):
  with zipfile.ZipFile(folder / 'ratings.csv', 'w') as archive:
    archive.writestr('ratings.csv', RATINGS)


@bad_file(
  'gzip that was cut',
  'ratings.csv.gz cannot be read as gzip: Truncated compressed stream',
)
def _(folder, patch):
  return write(folder, gzip.compress(csv_of(*GOOD))[:-9], name='ratings.csv.gz')


@bad_file(
  'gzip that was changed; found late',
  'ratings.csv.gz cannot be read as gzip: zlib inflate failed: incorrect data check',
)
def _(folder, patch):
  data = bytearray(gzip.compress(csv_of(*GOOD * 10_000)))
  data[-6] ^= 255
  return write(folder, data, name='ratings.csv.gz')


@bad_file(
  'gzip by its first bytes only',
  'ratings.csv cannot be read as gzip: zlib inflate failed: unknown compression method',
)
def _(folder, patch):
  return write(folder, b'\x1f\x8bno')


def _parquet(folder, spoil=lambda data: data, **columns):
  good = {'user': ['u'], 'item': [1], 'rating': [4.0], 'timestamp': [100]}
  path = folder / 'ratings.parquet'
  pq.write_table(pa.table({**good, **columns}), path)
  path.write_bytes(spoil(path.read_bytes()))
  return {'ratings': path}


@bad_file('Parquet that was cut', 'ratings.parquet cannot be read as Parquet (…')
def _(folder, patch):
  return _parquet(folder, lambda data: data[:-20])


@bad_file(
  'Parquet in gzip',
  'ratings.parquet is compressed Parquet; unpack it: Parquet needs no gzip',
)
def _(folder, patch):
  return _parquet(folder, gzip.compress)


@bad_file(
  'Parquet with ids that are floats',
  'ratings.parquet: the column user is of type double; expected integers or strings',
)
def _(folder, patch):
  return _parquet(folder, user=[1.0])


@bad_file(
  'Parquet with ratings that are lists',
  'ratings.parquet: the column rating is of type list<element: double>; '
  'expected integers or numbers or strings',
)
def _(folder, patch):
  return _parquet(folder, rating=[[4.0]])


@bad_file('no movie can be used', '--movies: no row of movies.csv is an item')
def _(folder, patch):
  return write(folder, movies='movieId,title,genres\n,A,War\n')


@bad_file(
  'no rating can be used',
  'no users are left (users: train 0, validation 0, test 0; rows: 1 read, 0 kept, '
  '1 rejected (unknown_item 1), 0 dropped; items: 2); see rejects-*.jsonl and '
  '--min_history',
)
def _(folder, patch):
  return {**write(folder, csv_of('u,3,4.0,100')), **ANY_SHARE}


@bad_file(
  'a sampler that counts the items of training users, without any',
  '--sampler=popularity counts the items of training users (before the first example, '
  'if examples are asked about), and there are none: use more users, more of them for '
  'training, or another sampler',
)
def _(folder, patch):
  fractions = {'train_fraction': 0.01, 'validation_fraction': 0.09}
  return {'sampler': 'popularity', 'max_history': 1, **fractions}


@bad_file(
  'more rejects than --max_reject_fraction=0.05',
  '1 of 17 rows of --ratings are rejects, more than --max_reject_fraction=0.05: '
  "unknown_item 1 (movieId '3', first in line 18 of ratings.csv; expected an id of the "
  'items); all rejects are in h/attempt-…',
)
def _(folder, patch):
  return {
    **write(folder, csv_of(*GOOD, 'u,3,4.0,100', '')),
    'max_reject_fraction': 0.05,
  }


@bad_file(
  'ten stars on the scale of five',
  '10 of 20 rows of --ratings are rejects, more than --max_reject_fraction=0.02: '
  "rating_outside_scale 10 (rating '6', '7', '8', first in line 7 of ratings.csv; "
  'expected from 0.5 to 5 in steps of 0.5, the rating scale); ratings from 1 to 10 '
  'fit --rating_scale=1:10:1, with label thresholds such as --label_liked_above=7 '
  '--label_disliked_below=6; all rejects are in h/attempt-…',
)
def _(folder, patch):
  lines = [f'{user},1,{stars},100' for user in 'ab' for stars in range(1, 11)]
  return write(folder, csv_of(*lines))


@bad_file(
  'more rejects of movies than --max_reject_fraction',
  '1 of 3 rows of --movies are rejects, more than --max_reject_fraction=0.02: '
  "duplicate_item 1 (movieId '2', first in line 4 of movies.csv; expected each item "
  'once; the first row of an item counts); correct them, or set the flag to the share '
  'that may be lost',
)
def _(folder, patch):
  return write(folder, movies=MOVIES + '2,B,War\n')


@bad_file('only empty files', 'part-0.csv is empty')
def _(folder, patch):
  for name in ('part-0.csv', 'part-1.csv', '_SUCCESS'):
    (folder / name).touch()
  return {'ratings': folder / '*[0-1S]*'}


@bad_file(
  'tags that are none',
  f"movies.csv: {_LACKS} userId, tag of MovieLens; found 'movieId,title,genres', …",
)
def _(folder, patch):
  return {'tags': folder / 'movies.csv'}


@bad_file('no such descriptions', '--descriptions: no such file texts.csv')
def _(folder, patch):
  return {'descriptions': folder / 'texts.csv'}


@bad_file(
  'a mapping with a wrong field', '--mapping: unknown field usr; did you mean user?'
)
def _(folder, patch):
  return {'mapping': 'usr=who'}


@bad_file(
  'a mapping to a column that is not there',
  f'ratings.csv: {_LACKS} who of --mapping; found {RATINGS.strip()!r}, …',
)
def _(folder, patch):
  return {'mapping': 'ratings.user=who,ratings.item=movieId,time_unit=ms'}


@bad_file(
  'a mapping without pairs',
  '--mapping=user: expected field=column pairs with commas between them, each field '
  'once, or the path of a .json file',
)
def _(folder, patch):
  return {'mapping': 'user'}


@bad_file(
  'a mapping with a wrong unit',
  '--mapping: time_unit=weeks: expected one of s, ms, us, ns, iso',
)
def _(folder, patch):
  return {'mapping': 'time_unit=weeks'}


@bad_file(
  'a mapping with a wrong encoding',
  '--mapping: encoding=utf-16: expected an encoding that extends ASCII, such as utf-8, '
  'latin-1 or cp1252',
)
def _(folder, patch):
  return {'mapping': 'encoding=utf-16'}


@bad_file(
  'a mapping with wrong quotes', '--mapping: quotes=no: expected one of none, double'
)
def _(folder, patch):
  return {'mapping': 'quotes=no'}


@bad_file(
  'a mapping with a separator that its encoding lacks',
  '--mapping: delimiter=§: encoding=ascii has no such character',
)
def _(folder, patch):
  return {'mapping': 'delimiter=§,encoding=ascii'}


@bad_file('a mapping file that is no JSON', '--mapping: cannot read my.json: …')
def _(folder, patch):
  (folder / 'my.json').write_text('{')
  return {'mapping': folder / 'my.json'}


@pytest.mark.parametrize(
  ('kind', 'message', 'make'), BAD_FILES, ids=[row[0] for row in BAD_FILES]
)
def test_bad_files(tmp_path, monkeypatch, kind, message, make):
  flags = write(tmp_path)
  flags |= make(tmp_path, monkeypatch) or {}
  with pytest.raises(JobError) as raised:
    run(tmp_path, **flags)
  text = str(raised.value).split(' [while running')[0].replace(f'{tmp_path}/', '')
  start, rest, _ = message.partition('…')
  assert text.startswith(start) if rest else text == start
  assert '\n' not in text
  assert not (tmp_path / 'h' / 'COMPLETED').exists()


def test_what_a_worker_finds_is_one_line_too(tmp_path):
  data = gzip.compress(csv_of(*GOOD * 10_000))[:-9]
  flags = {**write(tmp_path, data), 'output_dir': tmp_path / 'h'}
  command = [sys.executable, '-m', 'pipelines.build_histories']
  command += [f'--{name}={value}' for name, value in flags.items()]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == 1
  (line,) = done.stderr.splitlines()
  assert line == (
    f'error: {flags["ratings"]} cannot be read as gzip: Truncated compressed stream'
  )


def _row(*cells):
  return '| ' + ' | '.join(cell.replace('|', r'\|') for cell in cells) + ' |'


def _code(text):
  return f'`{text}`' if text.strip() else ''


def tables():
  """Name of a table -> its rows, as docs/robustness.md has them."""
  rows = lambda cases: [
    _row(kind, _code(line), _code(reason), field, right)
    for kind, line, reason, field, right in cases
  ]
  return {
    'ratings': rows(BAD_RATINGS),
    'movies': rows(BAD_MOVIES),
    'dropped': [
      _row(kind, _code(lines.replace('\n', ' · ')), _code(rule))
      for kind, lines, rule in DROPPED
    ],
    'read': [_row(kind, _code(mapping)) for kind, _, mapping, _ in READ],
    'files': [_row(kind, _code(message)) for kind, message, _ in BAD_FILES],
  }


@pytest.mark.parametrize('name', tables())
def test_docs_have_this_table(name):
  text = DOCS.read_text()
  section = text.split(f'<!-- {name} -->\n')[1].split('\n\n')[0]
  assert section.splitlines()[2:] == tables()[name]


def test_there_are_many_kinds():
  assert len(BAD_RATINGS) + len(BAD_MOVIES) + len(BAD_FILES) >= 50


if __name__ == '__main__':
  for name, rows in tables().items():
    print(f'<!-- {name} -->', *rows, '', sep='\n')
