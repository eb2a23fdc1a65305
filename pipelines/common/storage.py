"""Reads and writes local files and files in buckets, through Beam's FileSystems."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from persoma_tf import addresses
from pipelines.common.job import JobError


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
  """Turns an error of a disk or a bucket into a JobError that begins with `what`."""
  try:
    yield
  except _refusals() as error:
    reason = error
    while isinstance(reason, BeamIOError) and reason.exception_details:
      reason = next(iter(reason.exception_details.values()))
    raise JobError(f'{what}: {reason}') from error


def _refusals() -> tuple[type[Exception], ...]:
  """Returns OSError, and the error classes of the Google clients that are imported."""
  names = {
    'google.api_core.exceptions': 'GoogleAPIError',
    'google.cloud.storage.exceptions': 'InvalidResponse',
  }
  loaded = {name: sys.modules[name] for name in names if name in sys.modules}
  return OSError, *(getattr(module, names[name]) for name, module in loaded.items())


def file_checksum(path: str) -> str:
  """Returns the checksum of a file: 'sha256:...', or the bucket's own checksum."""
  if addresses.scheme_of(path):
    return f'{FileSystems.checksum(path)}'
  with open(path, 'rb') as file:
    return f'sha256:{hashlib.file_digest(file, "sha256").hexdigest()}'


def list_files(folder: str) -> list[str]:
  """Lists all files under a folder; none if the folder does not exist.

  Objects whose names end in a slash are no files: consoles of buckets make them so that
  an empty folder is shown.
  """
  if not addresses.scheme_of(folder):  # Beam would read brackets in a name as a pattern
    tree = os.walk(folder.rstrip('/'))
    return sorted(os.path.join(root, name) for root, _, names in tree for name in names)
  pattern = FileSystems.join(folder.rstrip('/'), '**')
  files = FileSystems.match([pattern])[0].metadata_list
  return sorted(file.path for file in files if not file.path.endswith('/'))


def names_in(folder: str) -> dict[str, str]:
  """Maps the path of every file within a folder to its address, sorted."""
  top = len(folder.rstrip('/')) + 1
  return {path[top:]: path for path in list_files(folder)}


def copy_file(source: str, target: str) -> None:
  """Copies a file, and makes its folder; readers see all of it or nothing."""
  if addresses.scheme_of(source):
    FileSystems.copy([source], [target])
    return
  os.makedirs(os.path.dirname(target), exist_ok=True)
  temporary = f'{target}.tmp-{uuid.uuid4().hex}'
  try:
    os.link(source, temporary)
  except OSError:  # a file system without links
    shutil.copyfile(source, temporary)
  os.replace(temporary, target)
  with contextlib.suppress(FileNotFoundError):
    os.remove(temporary)  # still there if both names were links to one file


def read_json(path: str) -> Any:
  """Reads the value in a JSON file."""
  return json.loads(read_file(path))


def read_file(path: str) -> bytes:
  """Reads all bytes of a file."""
  with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
    return file.read()


def fetched(folder: str, wanted: Callable[[str], bool], into: str) -> str:
  """Copies some files of a folder in a bucket to a local folder.

  Args:
    folder: address in a bucket; or a local path, of which nothing is copied.
    wanted: function that tells from the path of a file within the folder whether to
      copy the file.
    into: local folder for the copies.

  Returns:
    The local folder with the files: `into`, or `folder` if it is local.

  Raises:
    JobError: the name of an object leads out of the folder; nothing is written then.
  """
  if not addresses.scheme_of(folder):
    return folder
  paths = {name: path for name, path in names_in(folder).items() if wanted(name)}
  for name, path in paths.items():  # whoever may write to a bucket chooses the names
    if name.startswith('/') or '..' in name.split('/'):
      raise JobError(
        f'{path}: the name of this object leads out of {folder}; delete the object'
      )
  for name, path in paths.items():
    local = pathlib.Path(into, name)
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_bytes(read_file(path))
  return into


def write_file(path: str, data: bytes) -> None:
  """Writes a file under a temporary name, then renames it."""
  with _written(path) as file:
    file.write(data)


@contextlib.contextmanager
def _written(path: str) -> Iterator[BinaryIO]:
  """Opens a file under a temporary name, and renames it at the end."""
  temporary = f'{path}.tmp-{uuid.uuid4().hex}'
  with FileSystems.create(
    temporary, compression_type=CompressionTypes.UNCOMPRESSED
  ) as file:
    yield file
  FileSystems.rename([temporary], [path])


def delete(paths: Sequence[str]) -> None:
  """Deletes files, local ones or in buckets."""
  for path in paths:
    if not addresses.scheme_of(path):
      with contextlib.suppress(FileNotFoundError):  # another process was quicker
        os.remove(path)
  remote = [path for path in paths if addresses.scheme_of(path)]
  if remote:
    FileSystems.delete(remote)


def to_parquet(table: pa.Table) -> bytes:
  """Returns a table as the bytes of a Parquet file."""
  sink = pa.BufferOutputStream()
  pq.write_table(table, sink)
  return sink.getvalue().to_pybytes()


def write_parquet(path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
  """Writes tables as groups of rows of a Parquet file, one in memory at a time."""
  with _written(path) as file, pq.ParquetWriter(file, schema) as writer:
    for table in tables:
      writer.write_table(table)
      del table  # before the next one is made


def read_parquet(path: str) -> pa.Table:
  """Reads a Parquet file as a table."""
  return pq.read_table(pa.BufferReader(read_file(path)))
