"""Files to blocks of whole lines."""

import bz2
import gzip
import tracemalloc

import pyarrow as pa
import pytest

from pipelines.common.job import JobError
from pipelines.events import file_blocks, input_files
from pipelines.events.known_formats import KNOWN

NAMES = ['userId', 'movieId', 'rating', 'timestamp']
HEADER = b'userId,movieId,rating,timestamp\r\n'
BODY = b''.join(b'%d,1,4.0,%d\r\n' % (user, 10**user) for user in range(1, 9))


def find(path):
  return input_files.find_files(str(path), KNOWN['ratings'], 'ratings')


def zstd(data):
  sink = pa.BufferOutputStream()
  with pa.CompressedOutputStream(sink, 'zstd') as stream:
    stream.write(data)
  return sink.getvalue().to_pybytes()


@pytest.mark.parametrize('size', [1, 2, 7, 16, 50, 10_000])
@pytest.mark.parametrize('body', [BODY, BODY[:-2], BODY + b'\r\n'])
def test_every_line_is_in_one_block(tmp_path, size, body):
  (tmp_path / 'ratings.csv').write_bytes(HEADER + body)
  files = find(tmp_path / 'ratings.csv')
  read = [
    b''.join(file_blocks.read_lines(block))
    for block in file_blocks.cut_blocks(files, size)
  ]
  assert b''.join(read) == body
  parts = [part for part in read if part]
  assert all(part.endswith(b'\n') for part in parts[:-1])


@pytest.mark.parametrize('pack', [gzip.compress, bz2.compress, zstd, bytes])
@pytest.mark.parametrize('name', ['ratings-1.csv.gz', 'ratings-1'])
def test_compression_is_known_by_content_in_globs(tmp_path, pack, name):
  (tmp_path / 'ratings-0.csv').write_bytes(HEADER + BODY)
  (tmp_path / name).write_bytes(pack(HEADER + BODY))
  files = find(tmp_path / 'ratings-*')
  assert {file.layout.header for file in files} == {tuple(NAMES)}
  for block in file_blocks.cut_blocks(files, 1 << 20):
    assert list(file_blocks.read_lines(block)) == [BODY]


@pytest.mark.parametrize('size', [1, 7, 50, 10_000])
@pytest.mark.parametrize('body', [BODY, BODY[:-2], BODY + b'\r\n', BODY + b'9' * 99])
def test_pieces_of_compressed_files_are_whole_lines(tmp_path, size, body):
  (tmp_path / 'x.gz').write_bytes(gzip.compress(HEADER + body))
  (block,) = file_blocks.cut_blocks(find(tmp_path / 'x.gz'), size)
  pieces = list(file_blocks.read_lines(block))
  assert b''.join(pieces) == body
  assert all(piece.endswith(b'\n') for piece in pieces[:-1])
  longest = max(map(len, body.splitlines(keepends=True)))
  assert max(map(len, pieces)) <= size + longest


def test_two_gzip_files_in_one(tmp_path):
  half = len(BODY) // 2
  packed = gzip.compress(HEADER + BODY[:half]) + gzip.compress(BODY[half:])
  (tmp_path / 'x.gz').write_bytes(packed)
  (block,) = file_blocks.cut_blocks(find(tmp_path / 'x.gz'), 1 << 20)
  assert b''.join(file_blocks.read_lines(block)) == BODY


def test_a_compressed_file_does_not_lie_in_memory(tmp_path):
  line = b'1,1,4.0,1000000000\n'
  with gzip.open(tmp_path / 'x.gz', 'wb', compresslevel=1) as file:
    file.write(HEADER)
    for _ in range(100):
      file.write(line * 30_000)
  (block,) = file_blocks.cut_blocks(find(tmp_path / 'x.gz'), 1 << 20)
  tracemalloc.start()
  total = sum(map(len, file_blocks.read_lines(block)))
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert total == 3_000_000 * len(line)  # 57 MB
  assert peak < 8 << 20


@pytest.mark.parametrize('spoil', [lambda x: x[:-9], lambda x: x[:-8] + b'12345678'])
def test_a_gzip_file_that_was_cut_or_changed(tmp_path, spoil):
  body = b''.join(b'%d,1,4.0,%d\n' % (n, n * n) for n in range(50_000))
  (tmp_path / 'x.gz').write_bytes(spoil(gzip.compress(HEADER + body)))
  (block,) = file_blocks.cut_blocks(find(tmp_path / 'x.gz'), 1 << 16)
  with pytest.raises(JobError, match=r'x\.gz cannot be read as gzip: '):
    list(file_blocks.read_lines(block))


def test_a_line_without_end(tmp_path, monkeypatch):
  monkeypatch.setattr(file_blocks, '_LONGEST_LINE', 1000)
  (tmp_path / 'x').write_bytes(HEADER + b'9' * 1001)
  (tmp_path / 'x.gz').write_bytes(gzip.compress(HEADER + b'9' * 2000))
  for name in ('x', 'x.gz'):
    first, *_ = file_blocks.cut_blocks(find(tmp_path / name), 500)
    with pytest.raises(JobError, match='a line of more than 1,000 bytes'):
      list(file_blocks.read_lines(first))


def test_a_name_with_brackets(tmp_path):
  (tmp_path / 'ratings[1].csv').write_bytes(HEADER + BODY)
  assert len(find(tmp_path / 'ratings[1].csv')) == 1


def test_what_stands_beside_data_is_skipped_and_named(tmp_path, caplog):
  """As Spark and Hadoop leave a folder; a file alone, or asked for, is read."""
  for name in ('part-0.csv', 'part-2.csv', 'sub/part-3', 'year=1/_x=2/part-4', '_own'):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(HEADER + BODY)
  marks = ['_SUCCESS', '.part-0.csv.crc', 'part-0.csv.crc', '_temporary/0/part-9']
  marks += ['part-1.csv', 'part-5.gz', 'part-6']
  for name in marks:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b'' if name[-4:] == '.csv' else b'\x00crc')
  (tmp_path / 'part-5.gz').write_bytes(gzip.compress(b''))
  (tmp_path / 'part-6').write_bytes(b'\n')
  read = [str(file.path) for file in find(tmp_path / '**')]
  wanted = ('part-0.csv', 'part-2.csv', 'sub/part-3', 'year=1/_x=2/part-4')
  assert read == [f'{tmp_path}/{name}' for name in wanted]
  (said,) = [row for row in caplog.messages if 'skipped' in row]
  assert said.startswith(f'--ratings: skipped without reading: {tmp_path}/.part-0')
  assert said.endswith('and 3 more')  # of five names
  (own,) = find(tmp_path / '_o*')
  assert own.path == f'{tmp_path}/_own'
  with pytest.raises(JobError, match=r'part-1\.csv is empty'):
    find(tmp_path / 'part-1.csv')
  with pytest.raises(JobError, match=r'part-1\.csv is empty'):
    find(tmp_path / 'part-1*')


def test_a_folder(tmp_path):
  with pytest.raises(JobError, match='is a folder; give the file in it'):
    find(tmp_path)


def test_unknown_columns(tmp_path):
  (tmp_path / 'x.csv').write_text('who;what\n1;2\n')
  with pytest.raises(JobError, match=r'line 1 lacks the column .*expected .userId'):
    find(tmp_path / 'x.csv')


def test_byte_order_mark(tmp_path):
  (tmp_path / 'x.csv').write_bytes(b'\xef\xbb\xbf' + HEADER + BODY)
  file = find(tmp_path / 'x.csv')[0]
  assert file.layout.positions == {'user': 0, 'item': 1, 'rating': 2, 'timestamp': 3}


@pytest.mark.parametrize('size', [1, 12, 10_000])
def test_byte_order_mark_without_a_header(tmp_path, size):
  body = b'1::1::4::100\n1::2::4::100\n2::1::4::100\n'
  (tmp_path / 'x.dat').write_bytes(b'\xef\xbb\xbf' + body)
  blocks = file_blocks.cut_blocks(find(tmp_path / 'x.dat'), size)
  assert b''.join(b''.join(file_blocks.read_lines(block)) for block in blocks) == body
