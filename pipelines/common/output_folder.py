"""Output folders that look finished only when they are.

A job writes into `<output_dir>` and its marker `COMPLETED` last. `UNFINISHED` stands
there from the first moment, so that a folder left by a job that was cut is known as
ours and may be cleaned; a folder with other people's files is never touched. All
access goes through Beam's FileSystems, so that a folder may be `gs://...`.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import logging
import os
import pathlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from google.api_core.exceptions import GoogleAPIError
from google.cloud.storage.exceptions import InvalidResponse

from pipelines.common.job import JobError

COMPLETED = 'COMPLETED'
UNFINISHED = 'UNFINISHED'
# What tells the folder of one job from that of another.
_ONLY_IN = {
  'pipelines.build_histories': 'dataset_info.json',
  'pipelines.embed_items': 'encoder_info.json',
  'persoma_tf.train': 'adapter/manifest.json',
  'pipelines.batch_predict': 'run_info.json',
}
_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class OutputFolder:
  """The folder that a job writes.

  Attributes:
    path: local path or gs:// address.
    settings: all that decides what will be in it (flags, checksums of inputs), as
      JSON types. Paths do not belong here: a folder may be moved.
  """

  path: str
  settings: Mapping[str, Any]

  def __post_init__(self):
    object.__setattr__(self, 'path', self.path.rstrip('/') or '/')

  @property
  def fingerprint(self) -> str:
    """sha256 of the settings."""
    return hashlib.sha256(_to_json(self.settings)).hexdigest()

  def file(self, name: str) -> str:
    """The address of a file in the folder."""
    return FileSystems.join(self.path, name)

  def begin(self, overwrite: bool = False, go_on: bool = False) -> bool:
    """Makes the folder ready to be written: empty but for UNFINISHED.

    What may be deleted: the files that COMPLETED lists, and all of an unfinished
    folder, since that was empty when a job began it.

    Args:
      overwrite: make a finished or unfinished folder anew.
      go_on: keep the files of an unfinished one that was begun with the same settings.

    Returns:
      False if it is finished already with the same settings: nothing to do.

    Raises:
      JobError: it is finished with other settings and `overwrite` is not set, or it
        holds files that no job made, or it cannot be read or written.
    """
    with explained(f'--output_dir: {self.path}'):
      return self._begin(overwrite, go_on)

  def _begin(self, overwrite, go_on):
    # Of a job that was cut before it could write anything else.
    begun = f'{UNFINISHED}.tmp-'
    names = {name for name in self.names() if not name.startswith(begun)}
    if COMPLETED in names:
      completed = self._read_completed()
      if not overwrite:
        self._check_settings(completed)
        _LOGGER.info('%s is finished already; --overwrite makes it again', self.path)
        return False
      names -= {COMPLETED, UNFINISHED, *completed.get('files', [])}
    if names and UNFINISHED not in names:
      raise JobError(
        f'{self.path} holds files that no job of ours made, such as {min(names)}: '
        'give a new or an empty folder as --output_dir, or move them away'
      )
    same = go_on and not overwrite and UNFINISHED in names and COMPLETED not in names
    if not (same and self._begun().get('fingerprint') == self.fingerprint):
      self._empty()
    return True

  def begun_at(self) -> datetime.datetime:
    """When the folder was begun, UTC; while it is unfinished."""
    return datetime.datetime.fromisoformat(self._begun()['begun_at'])

  def _begun(self):
    try:
      return read_json(self.file(UNFINISHED))
    except ValueError:  # of another kind of job, or of none
      return {}

  def _empty(self):
    now = datetime.datetime.now(datetime.UTC).isoformat()
    self.write_json(UNFINISHED, {'fingerprint': self.fingerprint, 'begun_at': now})
    if FileSystems.exists(self.file(COMPLETED)):
      # First, so that the rest never looks finished.
      _delete([self.file(COMPLETED)])
    rest = self.names() - {UNFINISHED}
    _delete([self.file(name) for name in sorted(rest)])

  def write_json(self, name: str, value: Any) -> None:
    """Writes a JSON file, keys in the order given."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + '\n'
    write_file(self.file(name), text.encode())

  def complete(self) -> None:
    """Says that the folder is whole. Safe to call again."""
    names = self.names()
    halves = {name for name in names if '.tmp-' in name}  # of workers that died
    _delete([self.file(name) for name in sorted(halves)])
    self.write_json(
      COMPLETED,
      {
        'fingerprint': self.fingerprint,
        'settings': dict(self.settings),
        'files': sorted(names - halves - {COMPLETED, UNFINISHED}),
      },
    )
    if UNFINISHED in names:
      _delete([self.file(UNFINISHED)])

  def is_finished(self) -> bool:
    """Whether COMPLETED is there."""
    return COMPLETED in self.names()

  def names(self) -> set[str]:
    """The files in the folder."""
    return {path[len(self.path) :].lstrip('/') for path in list_files(self.path)}

  def _read_completed(self):
    try:
      completed = read_json(self.file(COMPLETED))
    except ValueError:
      completed = None
    if not isinstance(completed, dict) or 'fingerprint' not in completed:
      raise JobError(
        f'{self.file(COMPLETED)} was written by no job of ours: give a new or an '
        'empty folder as --output_dir'
      )
    return completed

  def _check_settings(self, completed):
    if completed['fingerprint'] == self.fingerprint:
      return
    then, now = completed['settings'], json.loads(_to_json(self.settings))
    differ = [
      f'{key} was {then.get(key)!r} and is {now.get(key)!r}'
      for key in sorted(then.keys() | now.keys())
      if then.get(key) != now.get(key)
    ]
    raise JobError(
      f'{self.path} was made with other settings ({"; ".join(differ)}): give another '
      '--output_dir, or --overwrite to make it again'
    )


def require_finished(path: str, module: str) -> dict:
  """Checks an input folder.

  Args:
    path: the folder.
    module: what makes such folders, such as 'pipelines.build_histories'.

  Returns:
    What its COMPLETED says: {'fingerprint', 'settings'}.

  Raises:
    JobError: it is not there, not finished, or of another job.
  """
  for name in (COMPLETED, _ONLY_IN[module]):
    if not FileSystems.exists(FileSystems.join(path, name)):
      raise JobError(
        f'{path} is not a finished folder of {module} (no {name} in it): '
        f'make it with python -m {module}'
      )
  return read_json(FileSystems.join(path, COMPLETED))


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
  """Turns what a disk or a bucket refuses into a JobError that begins with `what`."""
  try:
    yield
  except (OSError, GoogleAPIError, InvalidResponse) as error:
    reason = error
    while isinstance(reason, BeamIOError) and reason.exception_details:
      reason = next(iter(reason.exception_details.values()))
    raise JobError(f'{what}: {reason}') from error


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


def _delete(paths):
  for path in paths:
    if '://' not in path:
      os.remove(path)
  far = [path for path in paths if '://' in path]
  if far:
    FileSystems.delete(far)


def _to_json(value):
  return json.dumps(value, sort_keys=True).encode()
