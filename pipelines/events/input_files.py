"""Finds input files by glob, checks them before anything runs, cuts them into blocks.

The content of a file decides its type: text with a header or a known first line, such
text compressed, or Parquet. All access goes through Beam's FileSystems.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.events import parquet_rows, text_rows
from pipelines.events.formats import Format, Layout, detect

WHOLE_FILE = 1 << 62  # bytes of a block that no file exceeds
_HEAD = 1 << 16  # bytes that show the format of a file
_READ = 1 << 24  # bytes of one read
_LONGEST_LINE = 1 << 28  # bytes; a file with a longer line is not a table
_BOM = b'\xef\xbb\xbf'
# first bytes -> Arrow's name of the compression
_COMPRESSIONS = {b'\x1f\x8b': 'gzip', b'BZh': 'bz2', b'(\xb5/\xfd': 'zstd'}
_ARCHIVES = {b'PK\x03\x04': 'zip', b'\xfd7zXZ\x00': 'xz', b"7z\xbc\xaf'\x1c": '7z'}


class InputFile(NamedTuple):
  """Describes a file to read.

  Attributes:
    path: address of the file.
    size: size of the file as stored, in bytes.
    layout: layout of the columns.
    data_start: offset of the first line of data, in bytes of uncompressed text.
    has_rows: whether the file has any data.
    compression: Arrow's name of the compression, or ''.
    groups: row groups of a Parquet file.
  """

  path: str
  size: int
  layout: Layout
  data_start: int
  has_rows: bool
  compression: str = ''
  groups: tuple[parquet_rows.RowGroup, ...] = ()


class FileBlock(NamedTuple):
  """Describes a part of a file: lines that begin in a range of bytes, or row groups.

  Attributes:
    file: number of the file among the inputs.
    number: sort key of the block within its file, from 0, with gaps for the pieces of
      each block.
    path: address of the file.
    layout: layout of the columns.
    start: first byte or row group.
    end: byte or row group after the last one.
    compression: Arrow's name of the compression, or ''. A compressed file is one block;
      start and end then count uncompressed bytes.
    piece_bytes: number of bytes of a compressed file in memory at a time.
  """

  file: int
  number: int
  path: str
  layout: Layout
  start: int
  end: int
  compression: str = ''
  piece_bytes: int = 0


class Piece(NamedTuple):
  """Holds consecutive rows of a file.

  Attributes:
    path: address of the file.
    layout: layout of the columns.
    first: line number of the first row in the file, from 1.
    rows: parsed rows.
  """

  path: str
  layout: Layout
  first: int
  rows: text_rows.ParsedRows


def find_files(pattern: str, known: Sequence[Format], flag: str) -> list[InputFile]:
  """Finds the files that match a pattern, sorted by name.

  Args:
    pattern: path or glob, local or in a bucket.
    known: formats that the files may have.
    flag: flag that gave the pattern, for messages.

  Raises:
    JobError: no file matches; a file cannot be read, is empty or has no known format;
      or no file has any rows.
  """
  with storage.explained(f'--{flag}: {pattern}'):
    if '://' not in pattern and FileSystems.exists(pattern):
      found = [(pattern, FileSystems.get_filesystem(pattern).size(pattern))]
    else:
      matches = FileSystems.match([pattern])[0].metadata_list
      found = sorted((file.path, file.size_in_bytes) for file in matches)
    if not found:
      raise JobError(f'--{flag}: no such file {pattern}')
    files = [_inspect(path, size, known) for path, size in found]
  if not any(file.has_rows for file in files):
    raise JobError(f'--{flag}: {pattern} has a header but no rows')
  return files


def cut_blocks(files: Sequence[InputFile], block_bytes: int) -> list[FileBlock]:
  """Cuts files into blocks of about `block_bytes`; a compressed file is one block."""
  cut = []
  for number, file in enumerate(files):
    if file.layout.parquet:
      cut += _row_blocks(number, file, block_bytes)
      continue
    end, step = file.size, block_bytes
    if file.compression:
      end, step = WHOLE_FILE, WHOLE_FILE
    for index, start in enumerate(range(file.data_start, end, step)):
      about = number, index, file.path, file.layout, start, min(start + step, end)
      cut.append(FileBlock(*about, file.compression, block_bytes))
  return cut


def read_block(
  block: FileBlock, numeric: Sequence[str] = (), most_lines: int = 1
) -> Iterator[text_rows.ParsedRows]:
  """Yields the rows of a block in pieces that fit in memory.

  Args:
    block: block to read.
    numeric: fields that become float64 if all their values are numbers.
    most_lines: maximum number of lines in a row of text; above 1 only for whole files.

  Raises:
    JobError: the file cannot be read to its end.
  """
  if block.layout.parquet:
    with _open(block.path) as file:
      groups = range(block.start, block.end)
      yield from parquet_rows.read_row_groups(block.path, file, block.layout, groups)
    return
  for data in read_lines(block):
    yield text_rows.split_lines(data, block.layout, numeric, most_lines)


def read_files(
  files: Sequence[InputFile], block_bytes: int = WHOLE_FILE, most_lines: int = 1
) -> Iterator[Piece]:
  """Yields the rows of files; arguments and errors as in `cut_blocks`, `read_block`."""
  first = 0
  for block in cut_blocks(files, block_bytes):
    if not block.number:
      first = block.layout.header_lines + 1
    for rows in read_block(block, (), most_lines):
      yield Piece(block.path, block.layout, first, rows)
      first += rows.num_lines


def read_lines(block: FileBlock) -> Iterator[bytes]:
  """Yields the whole lines that begin inside a block of text, in pieces.

  Raises:
    JobError: the file cannot be read to its end.
  """
  with _open(block.path, block.compression) as file:
    if not block.compression:
      yield _lines_between(file, block)
      return
    _read(file, block.start)
    rest = []
    while piece := _read(file, block.piece_bytes):
      cut = piece.rfind(b'\n') + 1
      if cut:
        yield b''.join([*rest, piece[:cut]])
        rest = []
      rest.append(piece[cut:])
      _check_line(block.path, rest)
    if any(rest):
      yield b''.join(rest)


def describe_files(files: Sequence[InputFile]) -> list[dict]:
  """Returns the name, size and checksum of each file, for the info files."""
  return [
    {
      'name': FileSystems.split(file.path)[1],
      'bytes': file.size,
      'checksum': storage.file_checksum(file.path),
    }
    for file in files
  ]


def _inspect(path, size, known):
  with _open(path) as file:
    head = _read(file, _HEAD)
    if head.startswith(parquet_rows.MAGIC):
      file.seek(0)
      layout, groups = parquet_rows.inspect_parquet(path, file, known)
      has_rows = any(group.rows for group in groups)
      return InputFile(path, size, layout, 0, has_rows, '', tuple(groups))
  for magic, name in _ARCHIVES.items():
    if head.startswith(magic):
      raise JobError(
        f'{path} is a {name} archive; unpack it, or compress the file with gzip, bz2 '
        'or zstd'
      )
  names = [name for magic, name in _COMPRESSIONS.items() if head.startswith(magic)]
  compression = names[0] if names else ''
  if compression:
    with _open(path, compression) as file:
      head = _read(file, _HEAD)
    if head.startswith(parquet_rows.MAGIC):
      raise JobError(f'{path} is compressed Parquet; unpack it: Parquet needs no gzip')
  begin = len(_BOM) if head.startswith(_BOM) else 0
  if not head[begin:].strip():
    raise JobError(f'{path} is empty')
  end = head.find(b'\n') + 1 or len(head)
  layout = detect(path, head[begin:end], known)
  start = end if layout.header_lines else begin
  return InputFile(path, size, layout, start, start < len(head), compression)


def _row_blocks(number, file, block_bytes):
  """Returns blocks of neighbouring row groups; the block numbers count rows."""
  blocks, first, start, size, rows_before = [], 0, 0, 0, 0
  for index, group in enumerate(file.groups, 1):
    rows_before += group.rows
    size += group.size
    if size >= block_bytes or index == len(file.groups):
      blocks.append(FileBlock(number, first, file.path, file.layout, start, index))
      first, start, size = rows_before, index, 0
  return blocks


def _lines_between(file, block):
  # The byte before the block tells whether a line begins at the first byte.
  before = min(block.start, 1)
  file.seek(block.start - before)
  data = _read(file, block.end - block.start + before)
  first = data.find(b'\n') + 1 if before else 0
  if before and not first:
    return b''
  rest = [data[first:]]
  while rest[-1] and not rest[-1].endswith(b'\n'):
    more = file.read(_HEAD)
    cut = more.find(b'\n') + 1
    rest.append(more[:cut] if cut else more)
    _check_line(block.path, rest)
  return b''.join(rest)


def _check_line(path, parts):
  if sum(map(len, parts)) > _LONGEST_LINE:
    raise JobError(
      f'{path} has a line of more than {_LONGEST_LINE:,} bytes; expected a table of '
      'lines that end with a line feed'
    )


@contextlib.contextmanager
def _open(path: str, compression: str = '') -> Iterator[Any]:
  """Opens a file for reading; errors while the file is open become JobErrors."""
  try:
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
      if not compression:
        yield file
        return
      with pa.CompressedInputStream(pa.PythonFile(file, 'r'), compression) as unpacked:
        yield unpacked
  except IsADirectoryError:
    raise JobError(f'{path} is a folder; give the file in it') from None
  except OSError as error:
    kind = f' as {compression}' if compression else ''
    reason = error.strerror or error
    raise JobError(f'{path} cannot be read{kind}: {reason}') from None


def _read(file, size):
  """Reads `size` bytes, or fewer at the end; one read may return only a part."""
  pieces, missing = [], size
  while missing > 0:
    piece = file.read(min(missing, _READ))
    if not piece:
      break
    pieces.append(piece)
    missing -= len(piece)
  return b''.join(pieces)
