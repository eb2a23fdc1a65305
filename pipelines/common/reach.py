"""Checks in the workers that they see what a job reads and writes."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from pipelines.common.job import UNREACHED, JobError
from pipelines.common.markers import UNFINISHED
from pipelines.common.output_folder import OutputFolder
from tasks.finished import COMPLETED


class CheckReach(beam.DoFn):
  """Passes elements on, where a worker sees the folders of its run.

  Without it, workers on other machines would work for hours, write to a folder of the
  same name on their own disk, and lose everything.
  """

  def __init__(self, folder: OutputFolder, *inputs: str):
    """Takes the folder of a run that has begun, and what the run reads."""
    self._folder, self._inputs = folder, inputs

  def setup(self):
    """Looks for the inputs and for the marker of the run.

    Raises:
      JobError: an input is not there; or no marker is, neither of the run nor of a
        later one, and none has finished.
    """
    for path in self._inputs:
      if not any(map(FileSystems.exists, (path, FileSystems.join(path, COMPLETED)))):
        raise JobError(f'a worker does not see {path}; {UNREACHED}')
    marker = self._folder.file(UNFINISHED)
    of_folder = (
      FileSystems.join(self._folder.path, x) for x in (UNFINISHED, COMPLETED)
    )
    if not any(map(FileSystems.exists, (marker, *of_folder))):
      raise JobError(f'--output_dir: a worker does not see {marker}; {UNREACHED}')

  def process(self, element: Any) -> Iterator[Any]:
    """Passes an element on."""
    yield element
