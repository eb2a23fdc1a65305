"""Reads and writes the markers of an output folder: `UNFINISHED` and `COMPLETED`.

Both are JSON files that name the job, its run (`owner`) and the fingerprint of its
settings. `files` lists what runs wrote into the folder: COMPLETED lists the files of
the finished run, UNFINISHED those of earlier runs that may still be there.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from apache_beam.io.filesystems import FileSystems

from pipelines.common import storage
from pipelines.common.job import JobError
from tasks.finished import COMPLETED, OWN_FILE

UNFINISHED = 'UNFINISHED'
_ATTEMPT = re.compile(r'attempt-[0-9a-f]{32}/(.+)')
# Folders of examples within the folder of histories.
_WITHIN = re.compile(r'questions/\w+/[^/]+')
_TEMPORARY = re.compile(r'[^/]+\.tmp-[0-9a-f]{32}')  # of storage.write_file
_OF_BEAM = 'beam-temp-'  # Beam's own files end with their pipeline, whose ever it is
_SHOWN = 3  # names of files in a message


def read_unfinished(folder: str) -> dict[str, Any]:
  """Reads UNFINISHED; returns {} if it is missing or another program wrote it."""
  found = _read(FileSystems.join(folder, UNFINISHED))
  return found if isinstance(found, dict) else {}


def read_completed(folder: str) -> dict[str, Any]:
  """Reads COMPLETED; returns {} if it is missing.

  Raises:
    JobError: another program wrote it.
  """
  path = FileSystems.join(folder, COMPLETED)
  found = _read(path)
  if not isinstance(found, dict) or (found and 'fingerprint' not in found):
    raise JobError(
      f'PERSOMA did not write {path}: give a new or an empty folder as --output_dir'
    )
  return found


def fingerprint_in(folder: str) -> str | None:
  """Returns the fingerprint of the run in a folder, finished or not; None without one.

  Raises:
    JobError: another program wrote the folder, or it cannot be read.
  """
  with storage.explained(f'--output_dir: {folder}'):
    found = read_completed(folder) or read_unfinished(folder)
  return found.get('fingerprint')


def write_marker(folder: str, name: str, content: Mapping[str, Any]) -> None:
  """Writes a marker."""
  storage.write_file(FileSystems.join(folder, name), to_text(content))


def to_text(value: Any) -> bytes:
  """Returns the content of a JSON file; keys keep their order."""
  return (json.dumps(value, indent=2, ensure_ascii=False) + '\n').encode()


def listed_files(marker: Mapping[str, Any]) -> set[str]:
  """Returns the files that a marker lists, but names that a job would not give."""
  files = marker.get('files', ())
  return {name for name in files if '/' not in name or _WITHIN.fullmatch(name)}


def attempt_of(owner: str) -> str:
  """Returns the name of the folder within, to which a run writes."""
  return f'attempt-{owner}'


def is_ours(name: str) -> bool:
  """Tells whether a file is a marker or belongs to an attempt, by its name alone."""
  fixed = name in (COMPLETED, UNFINISHED) or _TEMPORARY.fullmatch(name)
  return bool(fixed or _ATTEMPT.fullmatch(name))


def is_rest(name: str) -> bool:
  """Tells whether a file is of an attempt or temporary; not UNFINISHED on its way."""
  return is_ours(name) and name != COMPLETED and not name.startswith(UNFINISHED)


def files_of_runs(
  folder: str, names: Collection[str], listed: Collection[str]
) -> set[str]:
  """Returns the files that earlier runs wrote into a folder.

  Args:
    folder: address of the folder, for the message.
    names: files in the folder.
    listed: files that its markers list.

  Raises:
    JobError: the folder holds other files.
  """
  # A run that ended while it completed left copies of the files of its attempt.
  copied = {match[1] for match in map(_ATTEMPT.fullmatch, names) if match}
  earlier = {*listed, *copied} - {UNFINISHED}
  others = sorted(
    name
    for name in {*names} - earlier
    if not (is_ours(name) or name.startswith(_OF_BEAM))
  )
  if others:
    more = len(others) - _SHOWN
    raise JobError(
      f'{folder} holds files that this job did not write, such as '
      f'{", ".join(others[:_SHOWN])}{f" and {more} more" if more > 0 else ""}: give '
      'a new or an empty folder as --output_dir, or move them away'
    )
  return earlier


def check_job(folder: str, marker: Mapping[str, Any], names: Collection[str], job: str):
  """Checks that a folder with a marker is not of another job.

  Args:
    folder: address of the folder.
    marker: its marker; older ones do not name their job, but a finished folder then has
      a file that only this job writes.
    names: files in the folder.
    job: module of the job that is about to write.

  Raises:
    JobError: another job wrote the folder.
  """
  makers = [maker for maker, own in OWN_FILE.items() if own in names]
  makers = [marker['job']] if marker.get('job') else makers
  if job and makers and job not in makers:
    raise JobError(
      f'{folder} is a folder of {makers[0]}, and {job} must not write there: give '
      'another --output_dir'
    )


def check_settings(
  folder: str, completed: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
  """Checks that a finished folder was made with the same settings.

  Raises:
    JobError: a setting differs; the message names it.
  """
  if completed['fingerprint'] == fingerprint_of(settings):
    return
  then, now = completed['settings'], json.loads(json.dumps(settings))
  differ = [
    f'{key} was {then.get(key)!r} and is {now.get(key)!r}'
    for key in sorted(then.keys() | now.keys())
    if then.get(key) != now.get(key)
  ]
  raise JobError(
    f'{folder} was made with other settings ({"; ".join(differ)}): give another '
    '--output_dir, or --overwrite to make it again'
  )


def fingerprint_of(settings: Mapping[str, Any]) -> str:
  """Returns the sha256 of settings, in hexadecimal."""
  return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _read(path):
  """Returns the value in a JSON file: {} if it is missing, None if it is no JSON."""
  if not FileSystems.exists(path):
    return {}
  try:
    return storage.read_json(path)
  except ValueError:
    return None
  except FileNotFoundError:  # another process has just deleted it
    return {}
