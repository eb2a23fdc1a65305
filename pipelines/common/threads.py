"""Processes several elements at once in one worker process.

Arrow and numpy release the GIL while they compute, so that threads use the cores that
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
  """Runs `work` in one thread per core; outputs keep the order of the elements.

  All elements must be in the global window. To bound memory, at most one element more
  than there are threads is in progress.
  """

  def work(self, element: Any) -> list:
    """Returns the outputs of an element.

    It runs in several threads: it must not use data that other threads change.
    """
    raise NotImplementedError

  def setup(self):
    """Starts the threads."""
    self._threads = os.cpu_count() or 1
    self._pool = ThreadPoolExecutor(self._threads)
    self._pending = collections.deque()

  def start_bundle(self):
    """Drops the elements of a failed bundle."""
    self._pending.clear()

  def process(self, element: Any) -> Iterator:
    """Starts an element, and yields the outputs of an element that started earlier."""
    self._pending.append(self._pool.submit(self.work, element))
    if len(self._pending) > self._threads:
      yield from self._pending.popleft().result()

  def finish_bundle(self) -> Iterator:
    """Yields the outputs of the remaining elements."""
    window = GlobalWindow()
    while self._pending:
      for output in self._pending.popleft().result():
        tagged = isinstance(output, beam.pvalue.TaggedOutput)
        value = WindowedValue(
          output.value if tagged else output, window.max_timestamp(), [window]
        )
        yield beam.pvalue.TaggedOutput(output.tag, value) if tagged else value

  def teardown(self):
    """Stops the threads."""
    self._pool.shutdown(cancel_futures=True)
