"""Cuts input files into blocks and reads the rows of a block."""

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipelines.common.job import JobError
from pipelines.events import (
  item_lines,
  json_rows,
  open_files,
  parquet_rows,
  text_rows,
)
from pipelines.events.formats import Layout
from pipelines.events.input_files import InputFile

_LOGGER = logging.getLogger(__name__)
WHOLE_FILE = 1 << 62  # bytes of a block that no file exceeds
_HEAD = 1 << 16  # bytes of one look for a line end
_LONGEST_LINE = 1 << 28  # bytes; a file with a longer line is not a table


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
    item: item of the rows before the first line in the block that names one.
  """

  file: int
  number: int
  path: str
  layout: Layout
  start: int
  end: int
  compression: str = ''
  piece_bytes: int = 0
  item: str = item_lines.UNKNOWN


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


def cut_blocks(files: Sequence[InputFile], block_bytes: int) -> list[FileBlock]:
  """Cuts files into blocks of about `block_bytes`; a compressed file is one block.

  Files with items in lines of their own are read a little for the items of the blocks.

  Raises:
    JobError: such a file cannot be read.
  """
  cut = []
  for number, file in enumerate(files):
    if file.layout.parquet:
      cut += _row_blocks(number, file, block_bytes)
      continue
    end, step = file.size, block_bytes
    if file.compression:
      end, step = WHOLE_FILE, WHOLE_FILE
    blocks = []
    for index, start in enumerate(range(file.data_start, end, step)):
      about = number, index, file.path, file.layout, start, min(start + step, end)
      blocks.append(FileBlock(*about, file.compression, block_bytes))
    named = item_lines.has_item_lines(file.layout.format)
    cut += _with_items(blocks) if named and len(blocks) > 1 else blocks
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
    with open_files.open_file(block.path) as file:
      groups = range(block.start, block.end)
      yield from parquet_rows.read_row_groups(block.path, file, block.layout, groups)
    return
  item = block.item
  for data in read_lines(block):
    if item_lines.has_item_lines(block.layout.format):
      rows, item = item_lines.split_item_lines(data, block.layout, numeric, item)
      yield rows
    elif block.layout.json:
      yield json_rows.split_json(data, block.layout)
    else:
      yield text_rows.split_lines(data, block.layout, numeric, most_lines)


def read_files(
  files: Sequence[InputFile], block_bytes: int = WHOLE_FILE, most_lines: int = 1
) -> Iterator[Piece]:
  """Yields the rows of files; arguments and errors as in `cut_blocks`, `read_block`.

  Logs, once a file, that lines are Latin-1 in a file that may be UTF-8, and that rows
  have several lines.
  """
  first, told = 0, set()
  for block in cut_blocks(files, block_bytes):
    if not block.number:
      first, told = block.layout.header_lines + 1, set()
    for rows in read_block(block, (), most_lines):
      piece = Piece(block.path, block.layout, first, rows)
      _tell(piece, told)
      yield piece
      first += rows.num_lines


def read_lines(block: FileBlock) -> Iterator[bytes]:
  """Yields the whole lines that begin inside a block of text, in pieces.

  Raises:
    JobError: the file cannot be read to its end.
  """
  with open_files.open_file(block.path, block.compression) as file:
    if not block.compression:
      yield _lines_between(file, block)
      return
    open_files.read_up_to(file, block.start)
    rest = []
    while piece := open_files.read_up_to(file, block.piece_bytes):
      cut = piece.rfind(b'\n') + 1
      if cut:
        yield b''.join([*rest, piece[:cut]])
        rest = []
      rest.append(piece[cut:])
      _check_line(block.path, rest)
    if any(rest):
      yield b''.join(rest)


def _tell(piece, told):
  """Logs what is unusual in a piece and not in `told`; adds it there."""
  latin1, long = piece.rows.latin1, piece.rows.long
  if latin1 is not None and 'latin1' not in told:
    told.add('latin1')
    _LOGGER.warning(
      '%s: line %d is not UTF-8; such lines are read as Latin-1',
      piece.path,
      piece.first + latin1,
    )
  if long and 'long' not in told:
    told.add('long')
    _LOGGER.warning(
      '%s: %d rows take several lines within quotes, the first one from line %d; if '
      'quotes are only characters in this file, give --mapping=quotes=none',
      piece.path,
      len(long),
      piece.first + long[0],
    )


def _with_items(blocks):
  """Returns the blocks of a file, each with the item of its first rows."""
  items = [item_lines.UNKNOWN]
  with open_files.open_file(blocks[0].path) as file:
    for block in blocks[:-1]:
      items.append(_item_after(file, block._replace(item=items[-1])))
  return [block._replace(item=item) for block, item in zip(blocks, items, strict=True)]


def _item_after(file, block):
  """Returns the item of the rows after a block; reads the block from its end."""
  end = block.end
  while end > block.start:
    start = max(end - _HEAD, block.start)
    # A number above 0 says that a byte is before the part.
    part = block._replace(number=block.number + start - block.start)
    lines = _lines_between(file, part._replace(start=start, end=end))
    item = item_lines.last_item(lines, block.layout.format)
    if item is not None:
      return item
    end = start
  return block.item


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
  # The byte before the block tells whether a line begins at the first byte; before the
  # first block is a header, a byte order mark or nothing.
  before = 1 if block.number else 0
  file.seek(block.start - before)
  data = open_files.read_up_to(file, block.end - block.start + before)
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
