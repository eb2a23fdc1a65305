"""Records that TensorFlow can parse and that are no histories."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from pipelines.common import tfrecord
from pipelines.common.job import JobError
from pipelines.embeddings import rated_pairs
from pipelines.histories import history_records

HISTORY = {
  'user_id': 'u',
  'history_items': np.array([3, 1]),
  'history_ratings': np.array([4.0, 2.0], np.float32),
  'history_timestamps': np.array([9, 8]),
  'liked': ['War'],
  'disliked': [],
  'history_total': 2,
}


def changed(name: str, **lists) -> bytes:
  """The history with another list of a field: bytes_list=..., int64_list=... ."""
  example = tf.train.Example.FromString(history_records.encode_example(HISTORY))
  feature = example.features.feature[name]
  feature.Clear()
  for kind, values in lists.items():
    getattr(feature, kind).value.extend(values)
  return example.SerializeToString()


@pytest.mark.parametrize(
  ('record', 'reason'),
  [
    (changed('user_id'), r'user_id is \[\]; expected one value'),
    (changed('user_id', bytes_list=[b'']), r"user_id is \[''\]; expected one value"),
    (changed('user_id', bytes_list=[b'u', b'v']), 'user_id is .*; expected one value'),
    (changed('user_id', int64_list=[7]), 'user_id holds int64; expected bytes'),
    (changed('history_total'), r'history_total is \[\]; expected one value'),
    (
      changed('history_items', bytes_list=[b'3']),
      'history_items holds bytes; expected int64',
    ),
    (
      changed('history_items', float_list=[3.0, 1.0]),
      'history_items holds float; expected int64',
    ),
  ],
)
def test_what_is_no_history(record, reason):
  with pytest.raises(ValueError, match=f'^example: field {reason}$'):
    history_records.decode_example(record)


def test_empty_lists_have_the_kind_of_their_field():
  read = history_records.decode_example(changed('history_items'))
  assert read['history_items'].dtype == np.int64
  assert len(read['history_items']) == 0
  assert read['history_total'] == 2


def test_a_job_names_file_and_record(tmp_path):
  path = tmp_path / 'train-00000-of-00001.tfrecord'
  records = [history_records.encode_example(HISTORY), changed('user_id')]
  path.write_bytes(tfrecord.frame_records(pa.array(records, pa.binary())))
  with pytest.raises(JobError, match=rf'^{path}: record 1 is no history: example: '):
    rated_pairs.read_pairs(str(path))
  path.write_bytes(path.read_bytes()[:-1])
  with pytest.raises(JobError, match=rf'^{path}: record 1 is cut off or damaged$'):
    rated_pairs.read_pairs(str(path))
