"""TFRecord files: length, masked CRC32C of it, data, masked CRC32C of that.

Format: tensorflow/core/lib/io/record_writer.h. Written here and not with Beam's
WriteToTFRecord since a shard is one element that already stands in order.
"""

import gzip
import io
import struct
from collections.abc import Iterable, Iterator

import google_crc32c
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

COMPRESSIONS = ('', 'GZIP')  # TensorFlow's names
_MASK_DELTA = 0xA282EAD8


def frame(records: Iterable[bytes], compression: str = '') -> bytes:
  """The bytes of a file with these records.

  The gzip header holds neither name nor time, so that equal records give equal bytes.
  """
  parts = []
  for record in records:
    length = struct.pack('<Q', len(record))
    parts += (length, _masked_crc(length), record, _masked_crc(record))
  data = b''.join(parts)
  return gzip.compress(data, compresslevel=6, mtime=0) if compression else data


def read(path: str) -> Iterator[bytes]:
  """The records of a file, plain or gzip.

  Raises:
    ValueError: the file is cut off or damaged; says at which record.
  """
  with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
    data = file.read()
  # The length of a first record may look like gzip's magic number, its sum does not.
  zipped = data[:2] == b'\x1f\x8b' and data[8:12] != _masked_crc(data[:8])
  stream = io.BytesIO(gzip.decompress(data) if zipped else data)
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
      raise ValueError(f'{path}: record {number} is cut off or damaged')
    yield record
    number += 1


def _masked_crc(data):
  crc = google_crc32c.value(data)
  return struct.pack('<I', ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)
