"""Progress of the slow steps, for the person who waits."""

import logging
import time
from collections.abc import Iterator, Sized

import apache_beam as beam
from tqdm import tqdm

_LOGGER = logging.getLogger(__name__)
_LOG_SECONDS = 10


class ShowProgress(beam.DoFn):
  """Passes elements on and counts what is in them.

  A bar on a terminal, else a log line every ten seconds, for each worker; and a Beam
  counter, which runners show over all workers.
  """

  def __init__(self, done: str, unit: str):
    """Takes what has been done and to what, such as 'encoded' and 'texts'."""
    self._done, self._unit = done, unit

  def setup(self):
    """Opens the bar."""
    self._bar = tqdm(desc=self._done, unit=f' {self._unit}', disable=None)
    self._number, self._logged = 0, time.monotonic()

  def process(self, element: Sized) -> Iterator[Sized]:
    """Counts."""
    self._bar.update(len(element))
    self._number += len(element)
    beam.metrics.Metrics.counter(self._done, self._unit).inc(len(element))
    if self._bar.disable and time.monotonic() - self._logged > _LOG_SECONDS:
      _LOGGER.info('%s %s %s', self._done, f'{self._number:,}', self._unit)
      self._logged = time.monotonic()
    yield element

  def teardown(self):
    """Closes the bar."""
    self._bar.close()
