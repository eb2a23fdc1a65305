"""Reads and writes TFRecord files.

A record is its length, the masked CRC32C of the length, the data, and the masked CRC32C
of the data; see tensorflow/core/lib/io/record_writer.h. Beam's WriteToTFRecord is not
used, because a shard is one element whose records are already in order.
"""

import gzip
import io
import struct
import zlib
from collections.abc import Iterator

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.common import arrow_bytes
from pipelines.common.job import JobError

COMPRESSIONS = ('', 'GZIP')  # TensorFlow's names
_MASK_DELTA = 0xA282EAD8


def frame_records(records: pa.Array, compression: str = '') -> bytes:
  """Returns the bytes of a file with these records, [n] binary.

  The gzip header has no name and no time, so that equal records give equal bytes.
  """
  lengths = pc.binary_length(records).dictionary_encode()
  heads = [_head(length) for length in lengths.dictionary.to_pylist()]
  heads = pa.array(heads, pa.binary()).take(lengths.indices)
  sums = [google_crc32c.value(record) for record in records.to_pylist()]
  masked = _mask(np.array(sums, np.uint64)).astype('<u4').view(np.uint8)
  tails = arrow_bytes.binary(masked, 4 * np.arange(len(records) + 1))
  data = arrow_bytes.content(arrow_bytes.concat(heads, records, tails)).to_pybytes()
  return gzip.compress(data, compresslevel=6, mtime=0) if compression else data


def read_tfrecord(path: str) -> Iterator[bytes]:
  """Yields the records of a file, plain or gzip.

  Raises:
    JobError: the file is cut off or damaged; the message of a plain file has the
      record's number.
  """
  with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
    data = file.read()
  # A first length may look like gzip's magic number; then its checksum is valid.
  zipped = data[:2] == b'\x1f\x8b' and data[8:12] != _masked_crc(data[:8])
  try:
    stream = io.BytesIO(gzip.decompress(data) if zipped else data)
  except (OSError, EOFError, zlib.error) as error:
    raise JobError(f'{path} cannot be read as gzip: {error}') from None
  number = 0
  while header := stream.read(12):
    length = struct.unpack('<Q', header[:8])[0] if len(header) == 12 else 0
    body = stream.read(length + 4)
    whole = len(header) == 12 and len(body) == length + 4
    record = body[:length]
    if (
      not whole
      or header[8:] != _masked_crc(header[:8])
      or body[length:] != _masked_crc(record)
    ):
      raise JobError(f'{path}: record {number} is cut off or damaged')
    yield record
    number += 1


def count_records(path: str) -> int:
  """Counts the records of a file; raises the errors of `read_tfrecord`."""
  return sum(1 for _ in read_tfrecord(path))


def _head(length):
  packed = struct.pack('<Q', length)
  return packed + _masked_crc(packed)


def _mask(crc):
  return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _masked_crc(data):
  return struct.pack('<I', _mask(google_crc32c.value(data)))
