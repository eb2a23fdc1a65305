"""What a run reports."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

from persoma_tf.training.metric_log import MetricLog


def rows(folder) -> list[dict]:
  return [json.loads(line) for line in (folder / 'metrics.jsonl').open()]


def test_means_and_going_on(tmp_path):
  log = MetricLog(str(tmp_path), 0, 8)
  for step in range(1, 5):
    log.add({'loss': np.float32(step)})
    if step % 2 == 0:
      log.flush(step, 'a', 16)
  log.flush(4, 'a', 16)  # nothing new
  log.close()
  assert [(row['step'], row['a/loss']) for row in rows(tmp_path)] == [
    (2, 1.5),
    (4, 3.5),
  ]
  assert rows(tmp_path)[0]['timing/examples_per_second'] > 0
  again = MetricLog(str(tmp_path), 2, 8)  # from the checkpoint of step 2
  again.add({'loss': np.float32(9)})
  again.flush(3, 'b', 16)
  again.close()
  assert [row['step'] for row in rows(tmp_path)] == [2, 3]
  assert list(tmp_path.glob('events.out.tfevents*'))


def age(path):
  """Sorts TensorBoard's files by age: their second, and how many a process began.

  As texts, the names of the 9th and the 10th file of a second are in the wrong order.
  """
  second, number = path.name.split('.')[3], path.name.split('.')[-2]
  return int(second), int(number)


def steps_of_events(folder) -> list[int]:
  """The steps of all losses in TensorBoard's files."""
  records = [
    event_pb2.Event.FromString(record)
    for path in sorted(folder.glob('events.out.tfevents*'), key=age)
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
  ]
  return [x.step for x in records for y in x.summary.value if y.tag == 'a/loss']


@pytest.mark.parametrize('cut', [0, 9])
def test_a_killed_run_goes_on(tmp_path, cut):
  """Steps that are repeated are reported once; what was cut off is removed."""

  def log(first, *steps):
    log = MetricLog(str(tmp_path), first, 8)
    for step in steps:
      log.add({'loss': np.float32(step)})
      log.flush(step, 'a', 16)
    log.close()

  log(0, 1, 2, 3, 4)
  for path in (tmp_path / 'metrics.jsonl', *tmp_path.glob('events*')):
    path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])
  log(2, 3, 4)
  assert [row['step'] for row in rows(tmp_path)] == [1, 2, 3, 4]
  assert steps_of_events(tmp_path) == [1, 2, 3, 4]
  log(4)
  assert steps_of_events(tmp_path) == [1, 2, 3, 4], 'nothing is lost'


def test_a_loss_that_is_no_number(tmp_path):
  log = MetricLog(str(tmp_path), 0, 8)
  log.add({'loss': np.float32(np.nan)})
  with pytest.raises(FloatingPointError, match='stage a'):
    log.flush(1, 'a', 16)
  log.close()
