"""Keeps the vectors of texts in files of the run, until the last step reads them.

Beam would hold several copies of all vectors on their way to this step. So a worker
writes the vectors of neighbours in the list of distinct texts to a part, and only the
place and size of the part travel. A part has its content from its place alone: a worker
that repeats the work of a lost one writes the same file again. Parts have the names of
temporary files, which are deleted with the run.
"""

import dataclasses
import io
from collections.abc import Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np

from pipelines.common import storage
from pipelines.common.output_folder import OutputFolder


@dataclasses.dataclass(frozen=True)
class EncodedTexts:
  """Holds the vectors of neighbours in the list of distinct texts.

  Attributes:
    first: place of the first one in the list.
    vectors: [n, H] float32, in one piece: vectors apart would take twice the memory.
  """

  first: int
  vectors: np.ndarray

  def __len__(self) -> int:
    """Returns the number of texts."""
    return len(self.vectors)


class VectorPart(NamedTuple):
  """Describes a part.

  Attributes:
    first: place of its first text in the list of distinct texts.
    end: place behind its last text.
    of_unit_length: whether all of its vectors have the length 1.
  """

  first: int
  end: int
  of_unit_length: bool

  def read(self, folder: OutputFolder) -> np.ndarray:
    """Reads the vectors, [n, H] float32, of a run that writes into a folder."""
    return np.load(io.BytesIO(storage.read_file(_path(folder, self.first))))


class WriteParts(beam.DoFn):
  """Maps EncodedTexts to a VectorPart, and writes its file."""

  def __init__(self, folder: OutputFolder):
    """Takes the folder of a run that has begun."""
    self._folder = folder

  def process(self, element: EncodedTexts) -> Iterator[VectorPart]:
    """Writes a part."""
    content, vectors = io.BytesIO(), element.vectors
    np.save(content, vectors)
    storage.write_file(_path(self._folder, element.first), content.getvalue())
    end = element.first + len(element)
    lengths = np.linalg.norm(vectors, axis=1)
    yield VectorPart(element.first, end, np.allclose(lengths, 1, atol=1e-3))


def _path(folder, first):
  return folder.file(f'vectors-{first}.tmp-{folder.owner}')
