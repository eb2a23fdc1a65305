"""What a training run reports, and where: TensorBoard, metrics.jsonl, the terminal."""

import json
import logging
import pathlib
import time
from collections.abc import Mapping

import jax
import numpy as np
from clu import metric_writers
from tqdm import tqdm

logger = logging.getLogger(__name__)


class MetricLog:
  """Means of what the steps report, to TensorBoard, `metrics.jsonl` and the log."""

  def __init__(self, model_dir: str, first_step: int, total: int):
    """Opens the writers; lines of steps that will be taken again are removed."""
    self._file = pathlib.Path(model_dir) / 'metrics.jsonl'
    lines = self._file.read_text().splitlines() if self._file.exists() else []
    kept = [line for line in lines if json.loads(line)['step'] <= first_step]
    self._file.write_text(''.join(line + '\n' for line in kept))
    self._writer = metric_writers.SummaryWriter(model_dir)
    self._bar = tqdm(
      total=total, initial=first_step, unit='step', disable=None, dynamic_ncols=True
    )
    self._pending: list[Mapping] = []
    self._since = time.monotonic()

  def add(self, metrics: Mapping) -> None:
    """Takes one step's scalars, still on the device."""
    self._pending.append(metrics)
    self._bar.update()

  def flush(self, step: int, stage: str, batch_size: int) -> None:
    """Writes the means since the last flush.

    Args:
      step: number of finished steps.
      stage: name of the stage, prefix of its metrics.
      batch_size: B.

    Raises:
      FloatingPointError: the loss is not a number.
    """
    if not self._pending:
      return
    rows = jax.device_get(self._pending)
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    seconds = time.monotonic() - self._since
    speed = len(rows) * batch_size / seconds
    self._pending, self._since = [], time.monotonic()
    if not np.isfinite(means['loss']):
      raise FloatingPointError(
        f'the loss is {means["loss"]} between steps {step - len(rows)} and {step} of '
        f'stage {stage}; the last checkpoint is whole: start again from it with '
        'a lower Stage.learning_rate'
      )
    scalars = {f'{stage}/{key}': value for key, value in means.items()}
    scalars['timing/examples_per_second'] = speed
    self._writer.write_scalars(step, scalars)
    with self._file.open('a') as file:
      file.write(json.dumps({'step': step, **scalars}) + '\n')
    self._bar.set_postfix_str(
      f'{stage} loss {means["loss"]:.3f}, {speed:.0f} examples/s'
    )
    if self._bar.disable:
      total, loss = self._bar.total, means['loss']
      logger.info(
        'step %d/%d %s loss %.4f, %.0f examples/s', step, total, stage, loss, speed
      )

  def close(self) -> None:
    """Flushes the files."""
    self._writer.close()
    self._bar.close()
