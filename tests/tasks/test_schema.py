"""Field names and types, against TensorFlow and Arrow."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from pipelines.histories import history_records
from tasks import histories, schema

HISTORY = {
  'user_id': 'ü1',
  'history_items': [5, 0, 2**40, 127, 128],
  'history_ratings': [0.5, 5.0, 3.5, 1.0, 2.0],
  'history_timestamps': [-1, 1_500_000_000, 2**62, 0, 1],
  'liked': ['Sci-Fi', 'War'],
  'disliked': [],
  'history_total': 300,
}


def test_tensorflow_reads_what_we_write():
  features = tf.train.Example.FromString(
    history_records.encode_example(HISTORY)
  ).features
  found = features.feature
  assert found['user_id'].bytes_list.value[0].decode() == 'ü1'
  for name in ('history_items', 'history_timestamps'):
    assert list(found[name].int64_list.value) == HISTORY[name]
  assert list(found['history_ratings'].float_list.value) == HISTORY['history_ratings']
  assert [x.decode() for x in found['liked'].bytes_list.value] == HISTORY['liked']
  assert not found['disliked'].bytes_list.value
  assert found['history_total'].int64_list.value == [300]


def test_we_read_what_tensorflow_writes():
  example = tf.train.Example()
  for name, kind in schema.HISTORY.items():
    values = HISTORY[name] if isinstance(HISTORY[name], list) else [HISTORY[name]]
    target = getattr(example.features.feature[name], f'{kind}_list').value
    target.extend(x.encode() if kind == 'bytes' else x for x in values)
  read = history_records.decode_example(example.SerializeToString())
  for name, value in HISTORY.items():
    np.testing.assert_array_equal(read[name], value)


def test_round_trip_of_empty_history():
  empty = {**HISTORY, 'history_items': [], 'history_ratings': [], 'liked': []}
  read = history_records.decode_example(history_records.encode_example(empty))
  assert read['history_items'].dtype == np.int64
  assert read['history_ratings'].shape == (0,)


@pytest.mark.parametrize('change', ['missing', 'extra'])
def test_wrong_fields(change):
  history = dict(HISTORY)
  if change == 'extra':
    history['mood'] = 1
  else:
    del history['liked']
  with pytest.raises(ValueError, match=r'liked|mood'):
    history_records.encode_example(history)


def test_cut_off_example():
  data = history_records.encode_example(HISTORY)
  with pytest.raises(ValueError, match='cut off'):
    history_records.decode_example(data[:-3])


def test_the_task_reads_these_fields():
  kinds = {'int64': tf.int64, 'float': tf.float32, 'bytes': tf.string}
  for name in schema.HISTORY:
    feature = histories._feature(name)
    assert feature.dtype == kinds[schema.HISTORY[name]], name
    single = isinstance(feature, tf.io.FixedLenFeature)
    assert single == (name in schema.SCALARS), name


def test_predictions_in_arrow_and_bigquery_agree():
  arrow = schema.predictions_arrow()
  names = {'STRING': 'string', 'FLOAT64': 'double', 'BOOL': 'bool', 'INT64': 'int64'}
  names['TIMESTAMP'] = 'timestamp[us, tz=UTC]'
  for column in schema.predictions_bigquery():
    kind = arrow.field(column['name']).type
    if column['mode'] == 'REPEATED':
      kind = kind.value_type
    assert str(kind) == names[column['type']]
  assert len(arrow) == len(schema.predictions_bigquery()) == 13


@pytest.mark.parametrize('asks_item', [True, False])
def test_the_table_of_a_choice(asks_item):
  columns = schema.prediction_columns({'kind': 'choice', 'asks_item': asks_item})
  names = [column.name for column in columns]
  assert names[:2] == ['example_id', 'user_id']
  assert ('item_id' in names) == asks_item
  assert names[-4:] == ['model_id', 'task', 'run_id', 'predicted_at']
  arrow = schema.predictions_arrow(columns)
  assert arrow.names == names
  required = {field.name for field in arrow if not field.nullable}
  odds = {'draft_probabilities', 'decoder_probabilities'}
  assert required == {'example_id', 'user_id', *odds}
  assert {str(arrow.field(name).type.value_type) for name in odds} == {'double'}
  made = {
    x['name']: (x['type'], x['mode']) for x in schema.predictions_bigquery(columns)
  }
  assert list(made) == names
  assert {made[name] for name in odds} == {('FLOAT64', 'REPEATED')}
  assert made['answer'] == ('STRING', 'NULLABLE')


def test_lists_keep_their_table():
  for words in (None, {'prompt': 'x'}, {'kind': 'lists'}):
    assert schema.prediction_columns(words) is schema.PREDICTIONS


def test_vector_table():
  made = schema.vectors_arrow({'item_index': pa.int64()}, {'title': 4})
  assert str(made.field('title').type) == 'fixed_size_list<item: float>[4]'
