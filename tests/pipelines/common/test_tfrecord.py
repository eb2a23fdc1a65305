"""TFRecord files against TensorFlow."""

import pyarrow as pa
import pytest
import tensorflow as tf

from pipelines.common import tfrecord
from pipelines.common.job import JobError

RECORDS = [b'', b'one', b'\x00' * 1000]


@pytest.mark.parametrize('compression', tfrecord.COMPRESSIONS)
@pytest.mark.parametrize('records', [RECORDS, []])
def test_tensorflow_reads_what_we_write(tmp_path, compression, records):
  path = tmp_path / 'file.tfrecord'
  path.write_bytes(tfrecord.frame_records(pa.array(records, pa.binary()), compression))
  dataset = tf.data.TFRecordDataset(str(path), compression)
  assert list(dataset.as_numpy_iterator()) == records
  assert list(tfrecord.read_tfrecord(str(path))) == records


def test_we_read_what_tensorflow_writes(tmp_path):
  path = str(tmp_path / 'file.tfrecord')
  with tf.io.TFRecordWriter(path) as writer:
    for record in RECORDS:
      writer.write(record)
  assert list(tfrecord.read_tfrecord(path)) == RECORDS


def test_equal_records_give_equal_bytes():
  assert tfrecord.frame_records(pa.array(RECORDS), 'GZIP') == tfrecord.frame_records(
    pa.array(RECORDS), 'GZIP'
  )


@pytest.mark.parametrize('damage', ['cut', 'flip'])
def test_damage_is_found(tmp_path, damage):
  data = bytearray(tfrecord.frame_records(pa.array([b'good', b'x' * 50])))
  if damage == 'cut':
    del data[-5:]
  else:
    data[-20] ^= 1
  (tmp_path / 'file').write_bytes(data)
  read = tfrecord.read_tfrecord(str(tmp_path / 'file'))
  assert next(read) == b'good'
  with pytest.raises(ValueError, match='record 1 is cut off or damaged'):
    next(read)


@pytest.mark.parametrize(
  'spoil',
  [
    lambda x: x[:-9],
    lambda x: x[:12] + b'\xff' + x[13:],
    lambda x: x[:-8] + b'12345678',
  ],
)
def test_damage_of_gzip_is_one_sentence(tmp_path, spoil):
  data = tfrecord.frame_records(pa.array([b'good', b'x' * 50]), 'GZIP')
  (tmp_path / 'a.gz').write_bytes(spoil(data))
  with pytest.raises(JobError, match=r'a\.gz cannot be read as gzip: '):
    tfrecord.count_records(str(tmp_path / 'a.gz'))
