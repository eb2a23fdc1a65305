"""Checks in the workers that they see the folder that a job writes."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from pipelines.common.job import UNREACHED, JobError
from pipelines.common.markers import UNFINISHED
from pipelines.common.output_folder import OutputFolder


class CheckReach(beam.DoFn):
  """Passes elements on, where a worker sees the folder of its run.

  Without it, workers on other machines would work for hours, write to a folder of the
  same name on their own disk, and lose everything.
  """

  def __init__(self, folder: OutputFolder):
    """Takes the folder of a run that has begun."""
    self._folder = folder

  def setup(self):
    """Looks for the marker of the run.

    Raises:
      JobError: it is not there, and the run has not finished meanwhile.
    """
    marker = self._folder.file(UNFINISHED)
    if not FileSystems.exists(marker) and not self._folder.is_finished():
      raise JobError(f'--output_dir: a worker does not see {marker}; {UNREACHED}')

  def process(self, element: Any) -> Iterator[Any]:
    """Passes an element on."""
    yield element
