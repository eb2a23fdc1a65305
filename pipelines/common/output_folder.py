"""Output folders that look finished only when they are.

A job writes into `<output_dir>` and its marker `COMPLETED` last. `UNFINISHED` stands
there from the first moment, so that a folder left by a job that was cut is known as
ours and may be cleaned; a folder with other people's files is never touched. All
access goes through Beam's FileSystems, so that a folder may be `gs://...`.
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
    with storage.explained(f'--output_dir: {self.path}'):
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
      return storage.read_json(self.file(UNFINISHED))
    except ValueError:  # of another kind of job, or of none
      return {}

  def _empty(self):
    now = datetime.datetime.now(datetime.UTC).isoformat()
    self.write_json(UNFINISHED, {'fingerprint': self.fingerprint, 'begun_at': now})
    if FileSystems.exists(self.file(COMPLETED)):
      # First, so that the rest never looks finished.
      storage.delete([self.file(COMPLETED)])
    rest = self.names() - {UNFINISHED}
    storage.delete([self.file(name) for name in sorted(rest)])

  def write_json(self, name: str, value: Any) -> None:
    """Writes a JSON file, keys in the order given."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + '\n'
    storage.write_file(self.file(name), text.encode())

  def complete(self) -> None:
    """Says that the folder is whole. Safe to call again."""
    names = self.names()
    halves = {name for name in names if '.tmp-' in name}  # of workers that died
    storage.delete([self.file(name) for name in sorted(halves)])
    self.write_json(
      COMPLETED,
      {
        'fingerprint': self.fingerprint,
        'settings': dict(self.settings),
        'files': sorted(names - halves - {COMPLETED, UNFINISHED}),
      },
    )
    if UNFINISHED in names:
      storage.delete([self.file(UNFINISHED)])

  def is_finished(self) -> bool:
    """Whether COMPLETED is there."""
    return COMPLETED in self.names()

  def names(self) -> set[str]:
    """The files in the folder."""
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
  for name in finished.needed_files(module):
    if not FileSystems.exists(FileSystems.join(path, name)):
      raise JobError(finished.not_finished(path, module, name))
  return storage.read_json(FileSystems.join(path, COMPLETED))


def _to_json(value):
  return json.dumps(value, sort_keys=True).encode()
