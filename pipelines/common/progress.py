"""Shows the progress of slow steps."""

import logging
import time
from collections.abc import Iterator, Sized

import apache_beam as beam
from tqdm import tqdm

_LOGGER = logging.getLogger(__name__)
_LOG_SECONDS = 10


class ShowProgress(beam.DoFn):
  """Passes elements on and counts their items.

  Each worker shows a bar on a terminal, or else writes a log line every ten seconds. A
  Beam counter gives the sum over all workers.
  """

  def __init__(self, done: str, unit: str):
    """Sets the words to show.

    Args:
      done: action in the past tense, such as 'encoded'.
      unit: items in the plural, such as 'texts'.
    """
    self._done, self._unit = done, unit

  def setup(self):
    """Opens the progress bar."""
    self._bar = tqdm(desc=self._done, unit=f' {self._unit}', disable=None)
    self._number, self._logged = 0, time.monotonic()

  def process(self, element: Sized) -> Iterator[Sized]:
    """Counts the items of an element and passes the element on."""
    self._bar.update(len(element))
    self._number += len(element)
    beam.metrics.Metrics.counter(self._done, self._unit).inc(len(element))
    if self._bar.disable and time.monotonic() - self._logged > _LOG_SECONDS:
      _LOGGER.info('%s %s %s', self._done, f'{self._number:,}', self._unit)
      self._logged = time.monotonic()
    yield element

  def teardown(self):
    """Closes the progress bar."""
    self._bar.close()
