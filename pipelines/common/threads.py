"""Several elements at once in one worker process.

Arrow and numpy release Python's lock while they work, so that threads use cores that
an engine with one process leaves idle.
"""

import collections
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue


class ThreadedDoFn(beam.DoFn):
  """A DoFn whose `work` runs in one thread a core. Outputs keep the order of elements.

  For elements of the global window. At most one element more than there are threads is
  under way, which bounds memory.
  """

  def work(self, element: Any) -> list:
    """Outputs of an element; must not touch what other threads change."""
    raise NotImplementedError

  def setup(self):
    """Starts the threads."""
    self._threads = os.cpu_count() or 1
    self._pool = ThreadPoolExecutor(self._threads)
    self._pending = collections.deque()

  def start_bundle(self):
    """Forgets what a failed bundle left."""
    self._pending.clear()

  def process(self, element: Any) -> Iterator:
    """Begins an element, and yields the outputs of one that began before."""
    self._pending.append(self._pool.submit(self.work, element))
    if len(self._pending) > self._threads:
      yield from self._pending.popleft().result()

  def finish_bundle(self) -> Iterator:
    """Yields the rest."""
    window = GlobalWindow()
    while self._pending:
      for output in self._pending.popleft().result():
        tagged = isinstance(output, beam.pvalue.TaggedOutput)
        value = WindowedValue(
          output.value if tagged else output, window.max_timestamp(), [window]
        )
        yield beam.pvalue.TaggedOutput(output.tag, value) if tagged else value

  def teardown(self):
    """Ends the threads."""
    self._pool.shutdown(cancel_futures=True)
