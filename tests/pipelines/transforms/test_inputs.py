"""Files to blocks of whole lines."""

import gzip

import pytest

from pipelines.job import JobError
from pipelines.transforms import formats, inputs

HEADER = b'userId,movieId,rating,timestamp\r\n'
BODY = b''.join(b'%d,1,4.0,%d\r\n' % (user, 10**user) for user in range(1, 9))


@pytest.mark.parametrize('size', [1, 2, 7, 16, 50, 10_000])
@pytest.mark.parametrize('body', [BODY, BODY[:-2], BODY + b'\r\n'])
def test_every_line_is_in_one_block(tmp_path, size, body):
  (tmp_path / 'ratings.csv').write_bytes(HEADER + body)
  files = inputs.find(
    str(tmp_path / 'ratings.csv'), formats.KNOWN['ratings'], 'ratings'
  )
  read = [inputs.read_block(block) for block in inputs.blocks(files, size)]
  assert b''.join(read) == body
  parts = [part for part in read if part]
  assert all(part.endswith(b'\n') for part in parts[:-1])


def test_gzip_and_globs(tmp_path):
  (tmp_path / 'ratings-0.csv').write_bytes(HEADER + BODY)
  (tmp_path / 'ratings-1.csv.gz').write_bytes(gzip.compress(HEADER + BODY))
  files = inputs.find(str(tmp_path / 'ratings-*'), formats.KNOWN['ratings'], 'ratings')
  read = [inputs.read_block(block) for block in inputs.blocks(files, 1 << 20)]
  assert read == [BODY, BODY]


def test_a_name_with_brackets(tmp_path):
  (tmp_path / 'ratings[1].csv').write_bytes(HEADER + BODY)
  path = str(tmp_path / 'ratings[1].csv')
  assert len(inputs.find(path, formats.KNOWN['ratings'], 'ratings')) == 1


def test_a_folder(tmp_path):
  with pytest.raises(JobError, match='ratings'):
    inputs.find(str(tmp_path), formats.KNOWN['ratings'], 'ratings')


def test_unknown_columns(tmp_path):
  (tmp_path / 'x.csv').write_text('who;what\n1;2\n')
  with pytest.raises(JobError, match=r'line 1 lacks the column .*expected .userId'):
    inputs.find(str(tmp_path / 'x.csv'), formats.KNOWN['ratings'], 'ratings')


def test_byte_order_mark(tmp_path):
  (tmp_path / 'x.csv').write_bytes(b'\xef\xbb\xbf' + HEADER + BODY)
  file = inputs.find(str(tmp_path / 'x.csv'), formats.KNOWN['ratings'], 'ratings')[0]
  assert file.layout.positions == {'user': 0, 'item': 1, 'rating': 2, 'timestamp': 3}
