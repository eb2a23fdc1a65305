"""Manages output folders, so that only a complete folder looks finished.

Each run of a job has a random token, its `owner`. The run writes into
`<output_dir>/attempt-<owner>/`, and the marker `UNFINISHED` in `<output_dir>` names the
owner. At the end its files are copied to `<output_dir>`, and the marker `COMPLETED` is
written, which lists them. Whoever completes must still be the owner. So a run that
continues on a cluster, while its command was started again, ends with an error, and
none of its files gets into the folder.

Only files that a marker lists, or that are in an attempt's folder, are deleted. All
access goes through Beam's FileSystems, so that a folder may be `gs://...`. Buckets have
neither locks nor atomic renames; so each side first writes its own marker, and then
reads the marker of the other. A run that completes can delete the UNFINISHED that
another one has just written; so each run has a copy of it in its attempt, which only a
run that begins later deletes.
"""

import contextlib
import dataclasses
import datetime
import logging
import os
import uuid
from collections.abc import Collection, Iterable, Mapping
from concurrent import futures
from typing import Any

from apache_beam.io.filesystems import FileSystems

from persoma_tf import addresses
from pipelines.common import markers, storage
from pipelines.common.job import JobError
from pipelines.common.markers import UNFINISHED
from tasks import finished
from tasks.finished import COMPLETED

_COPIES = 16  # files that are copied at a time
_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class OutputFolder:
  """Manages the folder that a job writes.

  Attributes:
    path: local path or gs:// address.
    settings: everything that decides the content of the folder (flags, checksums of
      inputs), as JSON types. Paths do not belong here: a folder may be moved.
    job: module of the job, such as 'pipelines.build_histories'.
    owner: token of this run; '' before `begin` and after `complete`.
  """

  path: str
  settings: Mapping[str, Any]
  job: str = ''
  owner: str = dataclasses.field(default='', init=False)

  def __post_init__(self):
    object.__setattr__(self, 'path', self.path.rstrip('/') or '/')

  @property
  def fingerprint(self) -> str:
    """Returns the sha256 of the settings, in hexadecimal."""
    return markers.fingerprint_of(self.settings)

  @property
  def place(self) -> str:
    """Returns the address at which this run writes; without a run, the folder's."""
    return self._at(markers.attempt_of(self.owner)) if self.owner else self.path

  def file(self, name: str) -> str:
    """Returns the address of a file in `place`."""
    return FileSystems.join(self.place, name)

  def begin(self, overwrite: bool = False, go_on: bool = False) -> bool:
    """Prepares the folder for writing: deletes what earlier runs of the job left.

    Args:
      overwrite: whether to delete the output of an earlier run, finished or not.
      go_on: whether to resume an unfinished run with the same settings: this process
        then becomes a part of that run, with its owner and files. Several processes can
        be parts of one run.

    Returns:
      False if the folder is already finished with the same settings, so that there is
      nothing to do, else True.

    Raises:
      JobError: the folder is finished with other settings and `overwrite` is not set,
        another job wrote it, it holds files that this job did not write, or it cannot
        be read or written.
    """
    with storage.explained(f'--output_dir: {self.path}'):
      return self._begin(overwrite, go_on)

  def _begin(self, overwrite, go_on):
    names, completed = storage.names_in(self.path), markers.read_completed(self.path)
    begun = markers.read_unfinished(self.path)
    if marker := completed or begun:
      markers.check_job(self.path, marker, names, self.job)
    if completed and not overwrite:
      markers.check_settings(self.path, completed, self.settings)
      if begun.get('owner') in (None, completed.get('owner')):
        self._clean(names, completed.get('owner'))  # the run may have been killed here
      _LOGGER.info('%s is finished already; --overwrite makes it again', self.path)
      return False
    if go_on and not overwrite and self.rejoin():
      return True
    self._start(names, markers.listed_files(completed) | markers.listed_files(begun))
    if not overwrite and markers.read_completed(self.path):  # it was not there before
      self._clean(storage.names_in(self.path), self.owner)
      object.__setattr__(self, 'owner', '')
      return self._begin(overwrite, go_on)
    self._delete_earlier()
    return True

  def rejoin(self) -> bool:
    """Becomes a part of the run in UNFINISHED, if it has the same settings.

    Of several processes that begin a run at the same moment, the last marker counts. So
    each of them asks once more before it works.
    """
    begun = markers.read_unfinished(self.path)
    is_same = 'owner' in begun and begun.get('fingerprint') == self.fingerprint
    if is_same:
      object.__setattr__(self, 'owner', begun['owner'])
    return is_same

  def _start(self, names: Collection[str], listed: Collection[str]) -> None:
    """Starts a run: writes UNFINISHED.

    Raises:
      JobError: the folder holds files that are not of this job.
    """
    earlier = markers.files_of_runs(self.path, names, listed)
    object.__setattr__(self, 'owner', uuid.uuid4().hex)
    marker = {
      **self._identity(),
      'begun_at': datetime.datetime.now(datetime.UTC).isoformat(),
      'files': sorted(earlier),
    }
    markers.write_marker(self.place, UNFINISHED, marker)
    markers.write_marker(self.path, UNFINISHED, marker)

  def _delete_earlier(self):
    """Deletes the files of earlier runs."""
    own = f'{markers.attempt_of(self.owner)}/'  # of this run, which others have joined
    with contextlib.suppress(JobError):  # a later run deletes them
      earlier = markers.listed_files(self._own_marker())
      # COMPLETED first, so that a half-empty folder never looks finished.
      self._delete({COMPLETED} & storage.names_in(self.path).keys())
      names = storage.names_in(self.path).keys() - {UNFINISHED}
      self._own_marker()  # so none of these names is of a later run
      rest = {name for name in names if name in earlier or markers.is_ours(name)}
      self._delete(name for name in rest if not name.startswith(own))

  def _identity(self):
    return {'job': self.job, 'owner': self.owner, 'fingerprint': self.fingerprint}

  def begun_at(self) -> datetime.datetime:
    """Returns the time (UTC) at which this run began.

    Raises:
      JobError: another run has begun in the folder since.
    """
    return datetime.datetime.fromisoformat(self._own_marker()['begun_at'])

  def write_json(self, name: str, value: Any) -> None:
    """Writes a value as a JSON file in `place`; keys keep their order."""
    storage.write_file(self.file(name), markers.to_text(value))

  def names(self) -> set[str]:
    """Lists the files that the job wrote in `place`, as paths relative to it."""
    return {x for x in storage.names_in(self.place) if not markers.is_ours(x)}

  def is_finished(self) -> bool:
    """Tells whether the folder has COMPLETED: during a run, that of this run."""
    completed = markers.read_completed(self.path)
    return bool(completed) and self.owner in ('', completed.get('owner'))

  def check_written(self) -> None:
    """Checks that the job has run to its end, and is the last that began.

    Raises:
      JobError: it has not, or is not.
    """
    self._own_marker()
    own = finished.OWN_FILE.get(self.job)
    if own and own not in self.names():  # such as after --dry_run
      raise JobError(
        f'{self.path}: the runner ended without the file {own} of this job'
      )

  def complete(self) -> None:
    """Copies the files of this run into the folder and marks it as finished.

    It is safe to call this again, also in several processes of one run.

    Raises:
      JobError: another run has begun in the folder since, or the job has not run to its
        end.
    """
    # Listed before the markers are read: nothing in it is of a run that begins later.
    names = filter(markers.is_rest, storage.names_in(self.path))
    if not self.is_finished():
      self._publish()
    self._delete(names)
    self._clean(storage.names_in(self.path), self.owner)
    object.__setattr__(self, 'owner', '')

  def _clean(self, names, owner):
    """Deletes the attempt and UNFINISHED of a run."""
    own = f'{markers.attempt_of(owner)}/'
    self._delete(name for name in names if name.startswith(own))
    if owner and markers.read_unfinished(self.path).get('owner') == owner:
      self._delete([UNFINISHED])

  def _publish(self):
    self.check_written()
    names, earlier = self.names(), markers.listed_files(self._own_marker())
    with futures.ThreadPoolExecutor(_COPIES) as pool:
      list(pool.map(self._copy, sorted(names)))
    self._delete(earlier - names & storage.names_in(self.path).keys())
    completed = {**self._identity(), 'settings': dict(self.settings)}
    completed['files'] = sorted(names)
    while True:
      self._own_marker()
      markers.write_marker(self.path, COMPLETED, completed)
      begun = markers.read_unfinished(self.path)
      if begun.get('owner', self.owner) == self.owner:
        return
      if self.is_finished():  # the other run goes on, or sees COMPLETED and withdraws
        self._delete([COMPLETED])

  def _copy(self, name):
    """Copies a file of this run into the folder; readers see all of it or nothing."""
    self._own_marker()
    storage.copy_file(self.file(name), self._at(name))

  def _own_marker(self):
    """Returns the content of UNFINISHED.

    Raises:
      JobError: another run has begun, or this one is finished.
    """
    begun = markers.read_unfinished(self.path) or markers.read_unfinished(self.place)
    if begun.get('owner') != self.owner:
      if self.is_finished():
        raise JobError(f'{self.path}: another process of this run has finished it')
      raise JobError(
        f'{self.path}: a job has begun there again since this run began; nothing of '
        f'this run ({self.place}) is used'
      )
    return begun

  def _at(self, name):
    return FileSystems.join(self.path, name)

  def _delete(self, names: Iterable[str]) -> None:
    """Deletes files in the folder, and local folders in it that are empty then."""
    names = sorted(names)
    storage.delete([self._at(name) for name in names])
    if addresses.scheme_of(self.path):
      return
    for folder in {os.path.dirname(name) for name in names}:
      while folder:
        with contextlib.suppress(OSError):
          os.rmdir(self._at(folder))
        folder = os.path.dirname(folder)


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
