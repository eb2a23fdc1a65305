"""Finds input files by glob, and checks them before anything runs.

The content of a file decides its type: text with a header or a known first line, JSON
lines, such text compressed, or Parquet. All access goes through Beam's FileSystems.
"""

import dataclasses
import io
import logging
import re
from collections.abc import Sequence
from typing import NamedTuple

from apache_beam.io.filesystems import FileSystems

from persoma_tf import addresses
from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.events import json_rows, open_files, parquet_rows, quotes
from pipelines.events.formats import Format, Layout, detect, detect_columns

_LOGGER = logging.getLogger(__name__)
_HEAD = 1 << 16  # bytes that show the format of a file
_SHOWN = 5  # names of skipped files
_QUOTES_HEAD = 1 << 20  # bytes that show what quotes are
_QUOTES_FILES = 8  # first files of a glob that show it
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


def find_files(pattern: str, known: Sequence[Format], flag: str) -> list[InputFile]:
  """Finds the files that match a pattern, sorted by name.

  Beside its data, a glob may match empty files and files that mark or check a folder,
  as Spark and Hadoop write them: these are skipped, and named in the log.

  Args:
    pattern: path or glob, local or in a bucket.
    known: formats that the files may have.
    flag: flag that gave the pattern, for messages.

  Raises:
    JobError: no file matches; a file cannot be read or has no known format; no file has
      any content, or any rows.
  """
  with storage.explained(f'--{flag}: {pattern}'):
    found, data = _match_files(pattern, flag)
    read = [file for path, size in data if (file := _inspect(path, size, known))]
  if not read:
    raise JobError(f'{data[0][0]} is empty')
  _tell_skipped(flag, [path for path, _ in found], [file.path for file in read])
  if not any(file.has_rows for file in read):
    raise JobError(f'--{flag}: {pattern} has a header but no rows')
  return _judge_together(read)


def read_columns(pattern: str, fmt: Format) -> tuple[str, ...]:
  """Returns the columns of the first file with content; none if all are empty.

  Args:
    pattern: path or glob, as in `find_files`.
    fmt: format of the files.

  Raises:
    JobError: no file matches, or the file cannot be read or has no such format.
  """
  with storage.explained(f'--dataset: {pattern}'):
    _, data = _match_files(pattern, 'dataset')
    read = (_inspect(path, size, [fmt]) for path, size in data)
    return next((file.layout.header for file in read if file), ())


def _match_files(pattern, flag):
  """Returns (path, size) of all files that match, and of those with data."""
  if not addresses.scheme_of(pattern) and FileSystems.exists(pattern):
    found = [(pattern, FileSystems.get_filesystem(pattern).size(pattern))]
  else:
    matches = FileSystems.match([pattern])[0].metadata_list
    found = sorted((file.path, file.size_in_bytes) for file in matches)
  if not found:
    raise JobError(f'--{flag}: no such file {pattern}')
  return found, [x for x in found if not _is_mark(x[0], pattern)] or found


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


def _is_mark(path, pattern):
  """Tells whether a match of a glob is hidden, or marks or checks other files."""
  start = re.split(r'[*?[]', pattern)[0].rpartition('/')[0]
  # A folder such as _year=1995 is a part of the data.
  hidden = lambda text: re.search(
    r'(?:^|/)(?:_|\.[^./])[^/=]*(?:/|$)', text[len(start) :]
  )
  return path.endswith('.crc') or bool(hidden(path) and not hidden(pattern))


def _tell_skipped(flag, found, read):
  skipped = sorted({*found} - {*read})
  if skipped:
    more = f' and {len(skipped) - _SHOWN:,} more' if len(skipped) > _SHOWN else ''
    names = ', '.join(skipped[:_SHOWN])
    _LOGGER.warning('--%s: skipped without reading: %s%s', flag, names, more)


def _inspect(path, size, known):
  """Returns the InputFile; None if the file has no content."""
  with open_files.open_file(path) as file:
    head = open_files.read_up_to(file, _HEAD)
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
    with open_files.open_file(path, compression) as file:
      head = open_files.read_up_to(file, _HEAD)
    if head.startswith(parquet_rows.MAGIC):
      raise JobError(f'{path} is compressed Parquet; unpack it: Parquet needs no gzip')
  begin = len(_BOM) if head.startswith(_BOM) else 0
  if not head[begin:].strip():
    return None
  if columns := json_rows.json_columns(path, head[begin:]):
    layout = detect_columns(path, columns, known)._replace(json=True)
    return InputFile(path, size, layout, begin, True, compression)
  layout = detect(path, head[begin:], known)
  if layout.header_lines > 1:
    _LOGGER.warning(
      '%s: the header takes %d lines within quotes', path, layout.header_lines
    )
  lines = io.BytesIO(head[begin:]).readlines()
  start = begin + sum(map(len, lines[: layout.header_lines]))
  return InputFile(path, size, layout, start, start < len(head), compression)


def _judge_together(files):
  """Finds out what quotes are in the first files whose format does not say it.

  In files that do not show it, and in further ones, quotes are as in the others.
  """
  texts = [file for file in files if not (file.layout.parquet or file.layout.json)]
  unknown = [file for file in texts if file.layout.format.quoted is None]
  shown = {file.path: _judge_quotes(file) for file in unknown[:_QUOTES_FILES]}
  read = []
  for file in files:
    if file.layout.format.quoted is None:
      quoted = shown.get(file.path)
      if quoted is None:
        quoted = False not in shown.values()
      file = file._replace(layout=_with_quotes(file.layout, quoted))
    read.append(file)
  return read


def _judge_quotes(file):
  """Tells whether a file has quotes around values; None if it does not show it."""
  with open_files.open_file(file.path, file.compression) as opened:
    open_files.read_up_to(opened, file.data_start)
    data = open_files.read_up_to(opened, _QUOTES_HEAD)
  data = data[: data.rfind(b'\n') + 1] or data
  quoted, line = quotes.judge_quotes(data, _with_quotes(file.layout, True))
  if quoted is False:
    _LOGGER.warning(
      '%s: quotes are read as characters, by the look of line %d; with '
      '--mapping=quotes=double they are around values',
      file.path,
      file.layout.header_lines + line + 1,
    )
  return quoted


def _with_quotes(layout, quoted):
  return layout._replace(format=dataclasses.replace(layout.format, quoted=quoted))
