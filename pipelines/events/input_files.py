"""Input files: found by glob, checked before anything runs, cut into blocks.

What a file is, its content says and not its name: text with a header or a known first
line, the same compressed, or Parquet. All goes through Beam's FileSystems.
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

WHOLE_FILE = 1 << 62  # bytes of a block
_HEAD = 1 << 16
_READ = 1 << 24
_LONGEST_LINE = 1 << 28  # what has no line end for so long is no table
_BOM = b'\xef\xbb\xbf'
# first bytes -> Arrow's name of the compression
_COMPRESSIONS = {b'\x1f\x8b': 'gzip', b'BZh': 'bz2', b'(\xb5/\xfd': 'zstd'}
_ARCHIVES = {b'PK\x03\x04': 'zip', b'\xfd7zXZ\x00': 'xz', b"7z\xbc\xaf'\x1c": '7z'}


class InputFile(NamedTuple):
  """A file that will be read.

  Attributes:
    path: its address.
    size: bytes on disk.
    layout: its columns.
    data_start: where its first line of data begins, in bytes of text.
    has_rows: whether anything is there.
    compression: Arrow's name of it, or ''.
    groups: the row groups of Parquet.
  """

  path: str
  size: int
  layout: Layout
  data_start: int
  has_rows: bool
  compression: str = ''
  groups: tuple[parquet_rows.RowGroup, ...] = ()


class FileBlock(NamedTuple):
  """The lines of a file that begin at start .. end - 1, or so many row groups.

  Attributes:
    file: number of the file among the inputs.
    number: orders the blocks of the file, with room for the pieces of each; 0 is the
      first.
    path: the file's address.
    layout: the file's columns.
    start: first byte or row group.
    end: one past the last.
    compression: of the file; then the block is all of it, and bytes count unpacked.
    piece_bytes: how much of a compressed file is held at a time.
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
  """Rows of a file.

  Attributes:
    path: the file's address.
    layout: the file's columns.
    first: number of the rows' first line in the file, from 1.
    rows: the rows.
  """

  path: str
  layout: Layout
  first: int
  rows: text_rows.ParsedRows


def find_files(pattern: str, known: Sequence[Format], flag: str) -> list[InputFile]:
  """The files that a pattern names, in the order of their names.

  Args:
    pattern: a path or a glob, local or in a bucket.
    known: the formats they may have.
    flag: the flag that gave the pattern, for messages.

  Raises:
    JobError: there is no such file, one cannot be read, is empty or in no known format,
      or none has any row.
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
  """Cuts files into blocks of about so many bytes; a compressed file is one block."""
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
  """The rows of a block in pieces that fit in memory.

  Args:
    block: which lines.
    numeric: fields that become float64 if all their values are numbers.
    most_lines: that a row of text may have; above 1 for blocks of whole files only.

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
  """The rows of files, one after the other; arguments and errors as above."""
  first = 0
  for block in cut_blocks(files, block_bytes):
    if not block.number:
      first = block.layout.header_lines + 1
    for found in read_block(block, (), most_lines):
      yield Piece(block.path, block.layout, first, found)
      first += found.num_lines


def read_lines(block: FileBlock) -> Iterator[bytes]:
  """The whole lines that begin inside a block of text, in pieces.

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
  """Name, size and checksum of each file, for the info files."""
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
  kinds = [kind for magic, kind in _COMPRESSIONS.items() if head.startswith(magic)]
  compression = kinds[0] if kinds else ''
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
  """Blocks of neighbouring row groups; their numbers count rows."""
  found, first, start, size, rows_before = [], 0, 0, 0, 0
  for index, group in enumerate(file.groups, 1):
    rows_before += group.rows
    size += group.size
    if size >= block_bytes or index == len(file.groups):
      found.append(FileBlock(number, first, file.path, file.layout, start, index))
      first, start, size = rows_before, index, 0
  return found


def _lines_between(file, block):
  # One byte before the block says whether a line begins at its first.
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
  """A file to read; what goes wrong with it while it is open is a JobError."""
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
  """Up to `size` bytes, fewer at the end; a file system may give them in pieces."""
  pieces, missing = [], size
  while missing > 0:
    piece = file.read(min(missing, _READ))
    if not piece:
      break
    pieces.append(piece)
    missing -= len(piece)
  return b''.join(pieces)
