"""Input files: found by glob, checked before anything runs, cut into byte blocks."""

from collections.abc import Sequence
from typing import NamedTuple

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines import folders
from pipelines.job import JobError
from pipelines.transforms.formats import Format, Layout, detect

_MAX_HEADER = 1 << 16


class InputFile(NamedTuple):
  """A file that will be read.

  Attributes:
    path: its address.
    size: bytes on disk.
    layout: its columns.
    data_start: where its first line of data begins.
  """

  path: str
  size: int
  layout: Layout
  data_start: int


class Block(NamedTuple):
  """The lines of a file that begin at start .. end - 1.

  Attributes:
    file: number of the file among the inputs.
    number: number of the block in the file.
    path: the file's address.
    layout: the file's columns.
    start: first byte.
    end: one past the last byte; None for the end of a compressed file.
  """

  file: int
  number: int
  path: str
  layout: Layout
  start: int
  end: int | None


def find(pattern: str, known: Sequence[Format], flag: str) -> list[InputFile]:
  """The files that a pattern names, in the order of their names.

  Args:
    pattern: a path or a glob, local or in a bucket.
    known: the formats they may have.
    flag: the flag that gave the pattern, for messages.

  Raises:
    JobError: there is no such file, one cannot be read, is empty or in no known
      format, or none has anything after its header.
  """
  with folders.explained(f'--{flag}: {pattern}'):
    if '://' not in pattern and FileSystems.exists(pattern):
      found = [(pattern, FileSystems.get_filesystem(pattern).size(pattern))]
    else:
      matches = FileSystems.match([pattern])[0].metadata_list
      found = sorted((file.path, file.size_in_bytes) for file in matches)
    if not found:
      raise JobError(f'--{flag}: no such file {pattern}')
    files = [_open(path, size, known, flag) for path, size in found]
  if not any(_compressed(file.path) or file.data_start < file.size for file in files):
    raise JobError(f'--{flag}: {pattern} has a header but no rows')
  return files


def blocks(files: Sequence[InputFile], block_bytes: int) -> list[Block]:
  """Cuts files into blocks; a compressed file is one block."""
  cut = []
  for number, file in enumerate(files):
    if _compressed(file.path):
      cut.append(Block(number, 0, file.path, file.layout, file.data_start, None))
      continue
    for index, start in enumerate(range(file.data_start, file.size, block_bytes)):
      end = min(start + block_bytes, file.size)
      cut.append(Block(number, index, file.path, file.layout, start, end))
  return cut


def read_block(block: Block) -> bytes:
  """The whole lines that begin inside the block."""
  with FileSystems.open(block.path) as file:
    if block.end is None:
      _read(file, block.start)
      return _read(file, None)
    # One byte before the block says whether a line begins at its first.
    before = min(block.start, 1)
    file.seek(block.start - before)
    data = _read(file, block.end - block.start + before)
    first = data.find(b'\n') + 1 if before else 0
    if before and not first:
      return b''
    rest = [data[first:]]
    while rest[-1] and not rest[-1].endswith(b'\n'):
      more = file.read(1 << 16)
      cut = more.find(b'\n') + 1
      rest.append(more[:cut] if cut else more)
    return b''.join(rest)


def describe(files: Sequence[InputFile]) -> list[dict]:
  """Name, size and checksum of each file, for the info files."""
  return [
    {
      'name': FileSystems.split(file.path)[1],
      'bytes': file.size,
      'checksum': folders.checksum(file.path),
    }
    for file in files
  ]


def _open(path, size, known, flag):
  try:
    with FileSystems.open(path) as file:
      head = _read(file, _MAX_HEADER)
  except IsADirectoryError:
    raise JobError(f'--{flag}: {path} is a folder; give the file in it') from None
  if not head.strip():
    raise JobError(f'--{flag}: {path} is empty')
  end = head.find(b'\n') + 1 or len(head)
  layout = detect(path, head[:end], known)
  return InputFile(path, size, layout, end if layout.header_lines else 0)


def _compressed(path):
  kind = CompressionTypes.detect_compression_type(path)
  return kind != CompressionTypes.UNCOMPRESSED


def _read(file, size):
  """`size` bytes, or all; a file system may give them in pieces."""
  pieces, missing = [], size
  while missing is None or missing > 0:
    piece = file.read(1 << 24 if missing is None else missing)
    if not piece:
      break
    pieces.append(piece)
    missing = None if missing is None else missing - len(piece)
  return b''.join(pieces)
