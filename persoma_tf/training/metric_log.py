"""Reports the metrics of a training run: TensorBoard, metrics.jsonl, the terminal."""

import json
import logging
import pathlib
import time
from collections.abc import Mapping, Sequence

import jax
import numpy as np
import tensorflow as tf
from clu import metric_writers
from tensorflow.core.util import event_pb2
from tqdm import tqdm

from persoma_tf.parameters.checkpoints import replace_file

logger = logging.getLogger(__name__)


class MetricLog:
  """Writes means of the steps' metrics to TensorBoard, `metrics.jsonl` and the log."""

  def __init__(self, model_dir: str, first_step: int, total: int):
    """Opens the files, and removes what they say of steps that will be repeated.

    Args:
      model_dir: folder of the run.
      first_step: number of finished steps; what is reported of later ones is removed.
      total: number of steps of the run.
    """
    self._file = pathlib.Path(model_dir) / 'metrics.jsonl'
    written = self._file.read_text() if self._file.exists() else ''
    # A line that a killed run has begun does not end with a line feed.
    lines = written.rpartition('\n')[0].splitlines()
    kept = [line for line in lines if json.loads(line)['step'] <= first_step]
    text = ''.join(line + '\n' for line in kept)
    replace_file(self._file, text.encode())
    for events in pathlib.Path(model_dir).glob('events.out.tfevents.*'):
      _drop_events(events, first_step)
    self._writer = metric_writers.SummaryWriter(model_dir)
    self._bar = tqdm(
      total=total, initial=first_step, unit='step', disable=None, dynamic_ncols=True
    )
    self._pending: list[Mapping] = []
    self._saved = first_step
    self._since = time.monotonic()

  def add(self, metrics: Mapping) -> None:
    """Adds one step's scalars, which may still be on the device."""
    self._pending.append(metrics)
    self._bar.update()

  def flush(self, step: int, stage: str, batch_size: int) -> None:
    """Writes the means since the last flush.

    Args:
      step: number of finished steps.
      stage: name of the stage, prefix of its metrics.
      batch_size: B.

    Raises:
      FloatingPointError: the loss is not finite; the message names the step and the
        last checkpoint.
    """
    if not self._pending:
      return
    rows = jax.device_get(self._pending)
    means = _means(rows)
    seconds = time.monotonic() - self._since
    speed = len(rows) * batch_size / seconds
    self._pending, self._since = [], time.monotonic()
    bad = [row for row in rows if not np.isfinite(row['loss'])]
    if bad:
      first = step - len(rows) + 1 + rows.index(bad[0])
      saved = f'the last good checkpoint is checkpoint_{self._saved}'
      raise FloatingPointError(
        f'the loss is {bad[0]["loss"]} at step {first}, in stage {stage}; '
        f'{saved if self._saved else "there is no checkpoint yet"}. Start again with a '
        f'lower {stage}/Stage.learning_rate, with --overwrite or in another --model_dir'
      )
    scalars = {f'{stage}/{key}': value for key, value in means.items()}
    scalars['timing/examples_per_second'] = speed
    self._write(step, scalars)
    self._bar.set_postfix_str(
      f'{stage} loss {means["loss"]:.3f}, {speed:.0f} examples/s'
    )
    if self._bar.disable:
      total, loss = self._bar.total, means['loss']
      logger.info(
        'step %d/%d %s loss %.4f, %.0f examples/s', step, total, stage, loss, speed
      )

  def validation(
    self, step: int, stage: str, start: int, rows: Sequence[Mapping]
  ) -> dict[int, float]:
    """Writes the means of an evaluation.

    Args:
      step: number of finished steps.
      stage: name of the stage.
      start: number of steps before the stage.
      rows: metrics of the batches, which may still be on the device.

    Returns:
      All validation losses of the stage so far, {step: loss}.
    """
    means = _means(jax.device_get(rows))
    key = f'validation/{stage}'
    self._write(step, {f'{key}/{name}': value for name, value in means.items()})
    logger.info('step %d %s validation loss %.4f', step, stage, means['loss'])
    self._since = time.monotonic()  # the speed is without validation
    lines = map(json.loads, self._file.read_text().splitlines())
    return {
      line['step']: line[f'{key}/loss']
      for line in lines
      if f'{key}/loss' in line and line['step'] > start
    }

  def saved(self, step: int) -> None:
    """Records that the checkpoint of this step was saved."""
    self._saved, self._since = step, time.monotonic()

  def _write(self, step, scalars):
    self._writer.write_scalars(step, scalars)
    with self._file.open('a') as file:
      file.write(json.dumps({'step': step, **scalars}) + '\n')

  def close(self) -> None:
    """Flushes and closes the files."""
    self._writer.close()
    self._bar.close()


def _drop_events(path: pathlib.Path, last: int) -> None:
  """Removes the events of later steps than `last` from a file of TensorBoard."""
  kept, dropped = [], False
  try:
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
      later = event_pb2.Event.FromString(record).step > last
      dropped |= later
      kept += [] if later else [record]
  except tf.errors.DataLossError:  # the last event of a killed run is cut off
    dropped = True
  if dropped:
    half = path.with_name('half-written.tmp')  # TensorBoard does not read this name
    with tf.io.TFRecordWriter(str(half)) as writer:
      for record in kept:
        writer.write(record)
    half.replace(path)


def _means(rows: Sequence[Mapping]) -> dict[str, float]:
  return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
