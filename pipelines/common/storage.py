"""Files in local folders and in buckets, through Beam's FileSystems."""

import contextlib
import hashlib
import json
import os
import pathlib
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.common.job import JobError


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
  """Turns what a disk or a bucket refuses into a JobError that begins with `what`."""
  try:
    yield
  except _refusals() as error:
    reason = error
    while isinstance(reason, BeamIOError) and reason.exception_details:
      reason = next(iter(reason.exception_details.values()))
    raise JobError(f'{what}: {reason}') from error


def _refusals() -> tuple[type[Exception], ...]:
  """Returns OSError and the errors of Google's clients, if anything loaded these."""
  names = {
    'google.api_core.exceptions': 'GoogleAPIError',
    'google.cloud.storage.exceptions': 'InvalidResponse',
  }
  loaded = {name: sys.modules[name] for name in names if name in sys.modules}
  return OSError, *(getattr(module, names[name]) for name, module in loaded.items())


def file_checksum(path: str) -> str:
  """What tells two contents of a file apart: 'sha256:...', or the bucket's own sum."""
  if '://' in path:
    return f'{FileSystems.checksum(path)}'
  with open(path, 'rb') as file:
    return f'sha256:{hashlib.file_digest(file, "sha256").hexdigest()}'


def list_files(folder: str) -> list[str]:
  """All files under a folder; none if it does not exist."""
  if '://' not in folder:  # Beam would read brackets in a name as a pattern
    found = os.walk(folder.rstrip('/'))
    return sorted(
      os.path.join(root, name) for root, _, names in found for name in names
    )
  pattern = FileSystems.join(folder.rstrip('/'), '**')
  found = FileSystems.match([pattern])[0].metadata_list
  return sorted(file.path for file in found)


def read_json(path: str) -> Any:
  """Reads a JSON file."""
  return json.loads(read_file(path))


def read_file(path: str) -> bytes:
  """Reads a whole file."""
  with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
    return file.read()


def fetched(folder: str, wanted: Callable[[str], bool], into: str) -> str:
  """A local folder with some files of a folder, copied if that is in a bucket.

  Args:
    folder: local path or address; a local one is returned as it is.
    wanted: of a file's name within the folder.
    into: local folder to copy to.

  Returns:
    A local path.
  """
  if '://' not in folder:
    return folder
  root = folder.rstrip('/') + '/'
  for path in list_files(folder):
    name = path.removeprefix(root)
    if wanted(name):
      local = pathlib.Path(into, name)
      local.parent.mkdir(parents=True, exist_ok=True)
      local.write_bytes(read_file(path))
  return into


def write_file(path: str, data: bytes) -> None:
  """Writes a whole file under another name, then gives it its own."""
  temporary = f'{path}.tmp-{uuid.uuid4().hex}'
  with FileSystems.create(
    temporary, compression_type=CompressionTypes.UNCOMPRESSED
  ) as file:
    file.write(data)
  FileSystems.rename([temporary], [path])


def delete(paths: Sequence[str]) -> None:
  """Deletes files."""
  for path in paths:
    if '://' not in path:
      os.remove(path)
  far = [path for path in paths if '://' in path]
  if far:
    FileSystems.delete(far)


def to_parquet(table: pa.Table) -> bytes:
  """Returns a table as the bytes of a Parquet file."""
  sink = pa.BufferOutputStream()
  pq.write_table(table, sink)
  return sink.getvalue().to_pybytes()


def write_parquet(path: str, table: pa.Table) -> None:
  """Writes a table as a Parquet file."""
  write_file(path, to_parquet(table))


def read_parquet(path: str) -> pa.Table:
  """Reads a Parquet file."""
  return pq.read_table(pa.BufferReader(read_file(path)))
