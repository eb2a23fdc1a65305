"""Opens input files, plain and compressed, and reads their bytes."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.common.job import JobError

_READ = 1 << 24  # bytes of one read


@contextlib.contextmanager
def open_file(path: str, compression: str = '') -> Iterator[Any]:
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


def read_up_to(file: Any, size: int) -> bytes:
  """Reads `size` bytes, or fewer at the end; one read may return only a part."""
  pieces, missing = [], size
  while missing > 0:
    piece = file.read(min(missing, _READ))
    if not piece:
      break
    pieces.append(piece)
    missing -= len(piece)
  return b''.join(pieces)
