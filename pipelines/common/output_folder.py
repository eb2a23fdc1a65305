"""Manages output folders, so that only a complete folder looks finished.

A job writes into `<output_dir>`, and writes the marker `COMPLETED` last. The marker
`UNFINISHED` exists from the start: it shows that an interrupted PERSOMA job left the
folder, which may then be emptied. A folder with files of other programs is never
touched. All access goes through Beam's FileSystems, so that a folder may be `gs://...`.
"""

import dataclasses
import datetime
import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from apache_beam.io.filesystems import FileSystems

from pipelines.common import storage
from pipelines.common.job import JobError
from tasks import finished
from tasks.finished import COMPLETED

UNFINISHED = 'UNFINISHED'
_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class OutputFolder:
  """Manages the folder that a job writes.

  Attributes:
    path: local path or gs:// address.
    settings: everything that decides the content of the folder (flags, checksums of
      inputs), as JSON types. Paths do not belong here: a folder may be moved.
  """

  path: str
  settings: Mapping[str, Any]

  def __post_init__(self):
    object.__setattr__(self, 'path', self.path.rstrip('/') or '/')

  @property
  def fingerprint(self) -> str:
    """Returns the sha256 of the settings, in hexadecimal."""
    return hashlib.sha256(_to_json(self.settings)).hexdigest()

  def file(self, name: str) -> str:
    """Returns the address of a file in the folder."""
    return FileSystems.join(self.path, name)

  def begin(self, overwrite: bool = False, go_on: bool = False) -> bool:
    """Prepares the folder for writing: empties it, except for UNFINISHED.

    Two groups of files may be deleted: the files that COMPLETED lists, and all files of
    an unfinished folder, because that folder was empty when a job began it.

    Args:
      overwrite: whether to delete the output of an earlier job, finished or not.
      go_on: whether to resume: keep the files of an unfinished folder that was begun
        with the same settings.

    Returns:
      False if the folder is already finished with the same settings, so that there is
      nothing to do, else True.

    Raises:
      JobError: the folder is finished with other settings and `overwrite` is not set,
        it holds files that PERSOMA did not write, or it cannot be read or written.
    """
    with storage.explained(f'--output_dir: {self.path}'):
      return self._begin(overwrite, go_on)

  def _begin(self, overwrite, go_on):
    # A job that stops at its first write leaves only this temporary file.
    temporary = f'{UNFINISHED}.tmp-'
    names = {name for name in self.names() if not name.startswith(temporary)}
    if COMPLETED in names:
      completed = self._read_completed()
      if not overwrite:
        self._check_settings(completed)
        _LOGGER.info('%s is finished already; --overwrite makes it again', self.path)
        return False
      names -= {COMPLETED, UNFINISHED, *completed.get('files', [])}
    if names and UNFINISHED not in names:
      raise JobError(
        f'{self.path} holds files that PERSOMA did not write, such as {min(names)}: '
        'give a new or an empty folder as --output_dir, or move them away'
      )
    same = go_on and not overwrite and UNFINISHED in names and COMPLETED not in names
    if not (same and self._begun().get('fingerprint') == self.fingerprint):
      self._empty()
    return True

  def begun_at(self) -> datetime.datetime:
    """Returns the time (UTC) at which a job began this unfinished folder."""
    return datetime.datetime.fromisoformat(self._begun()['begun_at'])

  def _begun(self):
    try:
      return storage.read_json(self.file(UNFINISHED))
    except ValueError:  # another program may have written it
      return {}

  def _empty(self):
    now = datetime.datetime.now(datetime.UTC).isoformat()
    self.write_json(UNFINISHED, {'fingerprint': self.fingerprint, 'begun_at': now})
    if FileSystems.exists(self.file(COMPLETED)):
      # Delete it first, so that a half-empty folder never looks finished.
      storage.delete([self.file(COMPLETED)])
    rest = self.names() - {UNFINISHED}
    storage.delete([self.file(name) for name in sorted(rest)])

  def write_json(self, name: str, value: Any) -> None:
    """Writes a value as a JSON file; keys keep their order."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + '\n'
    storage.write_file(self.file(name), text.encode())

  def complete(self) -> None:
    """Marks the folder as finished; it is safe to call this again."""
    names = self.names()
    partial = {name for name in names if '.tmp-' in name}  # left by dead workers
    storage.delete([self.file(name) for name in sorted(partial)])
    self.write_json(
      COMPLETED,
      {
        'fingerprint': self.fingerprint,
        'settings': dict(self.settings),
        'files': sorted(names - partial - {COMPLETED, UNFINISHED}),
      },
    )
    if UNFINISHED in names:
      storage.delete([self.file(UNFINISHED)])

  def is_finished(self) -> bool:
    """Tells whether the folder has COMPLETED."""
    return COMPLETED in self.names()

  def names(self) -> set[str]:
    """Lists the files in the folder, as paths relative to it."""
    return {
      path[len(self.path) :].lstrip('/') for path in storage.list_files(self.path)
    }

  def _read_completed(self):
    try:
      completed = storage.read_json(self.file(COMPLETED))
    except ValueError:
      completed = None
    if not isinstance(completed, dict) or 'fingerprint' not in completed:
      raise JobError(
        f'PERSOMA did not write {self.file(COMPLETED)}: give a new or an empty folder '
        'as --output_dir'
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
  """Checks that an input folder is finished.

  Args:
    path: path of the folder.
    module: module of the job that writes such folders, such as
      'pipelines.build_histories'.

  Returns:
    Content of COMPLETED: {'fingerprint', 'settings', 'files'}.

  Raises:
    JobError: the folder does not exist, is not finished, or another job wrote it.
  """
  try:
    finished.check_finished(path, module, FileSystems.exists)
  except FileNotFoundError as error:
    raise JobError(str(error)) from None
  return storage.read_json(FileSystems.join(path, COMPLETED))


def _to_json(value):
  return json.dumps(value, sort_keys=True).encode()
