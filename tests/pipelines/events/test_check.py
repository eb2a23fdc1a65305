"""Blocks of ratings to good rows and rejects."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.common.job import JobError
from pipelines.events import file_blocks, input_files, rejects, shuffle
from pipelines.events.check import read_ratings, time_checks
from pipelines.events.mapping import formats_of
from pipelines.events.rating_scale import RatingScale

ITEMS = pa.array(['10', '20', '30'])
HEADER = 'userId,movieId,rating,timestamp\n'


def read(folder, text: str | bytes, scale=RatingScale(), mapping=''):  # noqa: B008  frozen
  text = text if isinstance(text, bytes) else text.encode()
  (folder / 'ratings.csv').write_bytes(HEADER.encode() + text)
  known = formats_of(mapping)['ratings']
  files = input_files.find_files(str(folder / 'ratings.csv'), known, 'ratings')
  (block,) = file_blocks.cut_blocks(files, 1 << 20)
  (ratings,) = read_ratings(block, ITEMS, scale)
  return ratings


def test_good_rows(tmp_path):
  made = read(tmp_path, 'b,30,4.5,100\na,10,0.5,0\nb,20,5,1.25e9\n')
  assert made.batch.schema.equals(shuffle.RATINGS)
  assert made.batch['user'].to_pylist() == ['b', 'a', 'b']
  assert made.batch['item'].to_pylist() == [2, 0, 1]
  assert made.batch['rating'].to_pylist() == [4.5, 0.5, 5]
  assert made.batch['timestamp'].to_pylist() == [100, 0, 1_250_000_000]
  assert (made.num_lines, made.num_bad, list(made.bad)) == (3, 0, [])


def test_a_reject_says_where_what_and_what_would_be_right(tmp_path):
  made = read(tmp_path, 'a,10,4.0,1\na,10,7,1\na,40,seven,1\n')
  first, second = sorted(made.bad)
  assert first._asdict() == {
    'line': 1,
    'reason': 'rating_outside_scale',
    'field': 'rating',
    'value': '7',
    'raw': 'a,10,7,1',
    'expected': 'from 0.5 to 5 in steps of 0.5, the rating scale',
  }
  # The first check that fails gives the reason.
  assert (second.reason, second.value) == ('not_a_number', 'seven')
  assert (made.num_lines, made.num_bad, made.batch.num_rows) == (3, 2, 1)


def test_a_value_is_shown_as_it_stands_whatever_its_neighbours_are(tmp_path):
  (alone,) = read(tmp_path, 'a,10,7,1\n').bad
  beside_text = min(read(tmp_path, 'a,10,7,1\na,10,x,1\n').bad)
  assert alone == beside_text
  assert alone.value == '7'


@pytest.mark.parametrize(
  ('ratings', 'scale'),
  [
    (['2', '9', '10'], '2 to 10 fit --rating_scale=1:10:1, '),
    (['0', '1', '7'], '0 to 7 fit --rating_scale=0:7:1, '),
    (['4.5', '5.5'], '4.5 to 5.5 fit --rating_scale=0.5:5.5:0.5, '),
    (['-9.95', '3.1'], '-9.95 to 3.1 fit --rating_scale=-9.95:3.1, '),
    (['100', 'x', 'nan'], '100 to 100 fit --rating_scale=1:100:1, '),
    (['0', '0'], None),
  ],
)
def test_a_scale_that_fits_is_suggested(tmp_path, ratings, scale):
  made = read(tmp_path, ''.join(f'a,10,{rating},1\n' for rating in ratings))
  bad = rejects.pack_bad(sorted(made.bad))
  counts = made.num_lines, made.num_bad
  block = rejects.BlockRejects(0, 0, 'r.csv', 1, *counts, bad, made.seen)
  with pytest.raises(JobError) as raised:
    list(rejects.WriteRejects(str(tmp_path), 0.02).process([], [block]))
  assert ('--rating_scale=' in str(raised.value)) == bool(scale)
  assert (scale or '') in str(raised.value)


def test_a_suggested_scale_holds_the_ratings_of_all_blocks(tmp_path):
  """Also of blocks in which no rating is outside the scale."""
  ratings = [*[0.5, 1.5, 2.5] * 67, *[1, 2, 3, 4, 5] * 40, *[6, 7, 8, 9, 10] * 40]
  text = ''.join(f'a,10,{rating:g},1\n' for rating in ratings)
  (tmp_path / 'r.csv').write_text(HEADER + text)
  files = input_files.find_files(str(tmp_path / 'r.csv'), formats_of('')['ratings'], '')
  blocks = []
  for block in file_blocks.cut_blocks(files, 1000):
    for made in read_ratings(block, ITEMS, RatingScale()):
      about = 0, block.number, 'r.csv', 1, made.num_lines, made.num_bad
      bad = rejects.pack_bad(sorted(made.bad))
      blocks.append(rejects.BlockRejects(*about, bad, made.seen))
  assert len(blocks) > 3
  with pytest.raises(JobError, match=r'0\.5 to 10 fit --rating_scale=0\.5:10:0\.5, '):
    list(rejects.WriteRejects(str(tmp_path), 0.02).process([], blocks))


def test_milliseconds_are_told(tmp_path):
  (bad,) = read(tmp_path, 'a,10,4,1445714994000\n').bad
  assert bad.reason == 'time_too_large'
  assert 'time_unit=ms' in bad.expected


def test_long_lines_are_shortened(tmp_path):
  (bad,) = read(tmp_path, f'a,10,{"9" * 5000},1\n').bad
  assert len(bad.raw) == len(bad.value) == 300


def test_a_row_that_is_no_text_names_the_encoding(tmp_path):
  data = b'a\x81,10,4,1\na\x9d,10,4,1\nb\xe9,10,4,1\n'
  made = read(tmp_path, data, mapping='encoding=cp1252')
  assert made.batch['user'].to_pylist() == ['bé']
  assert [(bad.reason, bad.expected) for bad in sorted(made.bad)] == [
    ('not_in_encoding', 'cp1252 text')
  ] * 2


def test_scale():
  scale = RatingScale.parse('0.5:5:0.5')
  assert scale == RatingScale()
  good = scale.holds(np.array([0.5, 1, 4.5, 5, 0, 5.5, 3.3, np.nan, -1, np.inf]))
  assert good.tolist() == [True] * 4 + [False] * 6
  tenths = RatingScale.parse('0:1:0.1')
  assert tenths.holds(np.arange(11) / 10).all()
  free = RatingScale.parse('1:5')
  assert free.holds(np.array([1, 3.3, 5, 5.01])).tolist() == [True, True, True, False]
  assert str(free) == '1 to 5'


@pytest.mark.parametrize('text', ['5', '1:2:3:4', 'a:b:c', '5:1:1', '1:5:-1', ''])
def test_wrong_scale(text):
  with pytest.raises(ValueError, match='expected'):
    RatingScale.parse(text)


@pytest.mark.parametrize(
  ('unit', 'said'),
  [('s', 'seconds since 1970; time_unit='), ('ms', 'milliseconds'), ('iso', 'a date ')],
)
def test_a_right_time_is_told_in_the_unit_of_the_file(unit, said):
  found = time_checks(np.zeros(1), np.zeros(1, bool), unit)
  assert found[0][3].startswith(said)
  assert ('time_unit=ms' in found[2][3]) == (unit == 's')
