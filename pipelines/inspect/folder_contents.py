"""Describes the content of a folder of any job, by its files alone."""

import json
import pathlib
import re
from collections.abc import Callable
from typing import Any

from persoma_tf import addresses
from persoma_tf.gin_settings import settings
from pipelines.inspect import arrays, record_files
from pipelines.inspect.record_files import Damaged

# file name -> kind of a folder with this file
KINDS = {
  'dataset_info.json': 'histories',
  'encoder_info.json': 'embeddings',
  'config.gin': 'model',
  'run_info.json': 'predictions',
  'metrics.json': 'report',
}
_MARKERS = ('COMPLETED', 'UNFINISHED')
_TABLE = re.compile(rf'(.+)\.({"|".join(record_files.KINDS)})(\.gz)?')
_SHARD = re.compile(r'-\d+-of-(\d+)$')


def describe_folder(path: str, examples: int = 3) -> dict[str, Any]:
  """Describes a folder or a file.

  Args:
    path: local path.
    examples: number of records of each table to show.

  Returns:
    JSON types: 'path', 'kind', 'state' and 'bytes'; if present, 'fingerprint',
    'settings', 'info' (JSON files), 'tables', 'configuration', 'metrics',
    'checkpoints', 'adapter' and 'other_files'. 'damaged' has a message for each file
    that cannot be read.

  Raises:
    FileNotFoundError: the path does not exist.
    ValueError: the path is an address, such as gs://.
  """
  path = addresses.local_path(path)
  if addresses.scheme_of(path):
    raise ValueError(f'{path}: only local paths are read; copy the folder first')
  place = pathlib.Path(path)
  if not place.exists():
    raise FileNotFoundError(f'{path}: no such file or folder')
  files = sorted(place.iterdir()) if place.is_dir() else [place]
  found = {'path': path, 'kind': _kind(place), 'bytes': arrays.bytes_on_disk(place)}
  return {**found, **_Folder(place, files, examples).read()}


def _kind(place):
  if not place.is_dir():
    return 'file'
  if arrays.is_checkpoint(place):
    return 'checkpoint'
  if arrays.is_adapter(place):
    return 'adapter'
  names = [name for name in KINDS if (place / name).exists()]
  return KINDS[names[0]] if names else 'folder'


class _Folder:
  """Reads the files of a folder; notes damaged files and reads the other files."""

  def __init__(self, place, files, examples):
    self._place, self._files, self._examples = place, files, examples
    self._names = {file.name for file in files}
    self._damaged: list[str] = []

  def read(self) -> dict[str, Any]:
    place = self._place
    parts = {**self._state()}
    if place.is_dir() and arrays.is_checkpoint(place):
      parts['checkpoints'] = {place.name: self._try(arrays.describe_checkpoint, place)}
    elif place.is_dir() and arrays.is_adapter(place):
      parts['adapter'] = self._try(arrays.describe_adapter, place)
    else:
      parts |= self._content()
    parts['damaged'] = self._damaged
    return {name: part for name, part in parts.items() if part or name == 'state'}

  def _content(self):
    folders = [file for file in self._files if file.is_dir()]
    points = sorted(filter(arrays.is_checkpoint, folders), key=_step)
    adapters = [folder for folder in folders if arrays.is_adapter(folder)]
    files = [x for x in self._files if x not in folders and x.name not in _MARKERS]
    shards = self._shards([x for x in files if x.name != 'metrics.jsonl'])
    infos = [x for x in files if x.suffix == '.json']
    known = {
      *points,
      *adapters,
      *infos,
      *(x for paths in shards.values() for x in paths),
    }
    config, metrics = (self._place / x for x in ('config.gin', 'metrics.jsonl'))
    return {
      'info': {x.name: self._try(_read_json, x) for x in infos},
      'tables': {name: self._table(paths) for name, paths in shards.items()},
      'configuration': self._try(_read_gin, config) if config.exists() else {},
      'metrics': self._try(last_metrics, metrics) if metrics.exists() else {},
      'checkpoints': {x.name: self._try(arrays.describe_checkpoint, x) for x in points},
      'adapter': self._try(arrays.describe_adapter, adapters[0]) if adapters else {},
      'other_files': [
        f'{x.name}/' if x in folders else x.name
        for x in [*folders, *files]
        if x not in known and x not in (config, metrics)
      ],
    }

  def _try(self, read: Callable[[pathlib.Path], Any], path: pathlib.Path) -> Any:
    try:
      return read(path)
    except Damaged as error:
      self._damaged.append(str(error))
      return None

  def _state(self):
    """Returns 'state', and fingerprint and settings of the marker file."""
    if not self._place.is_dir():
      return {'state': 'a file'}
    if 'COMPLETED' in self._names:
      marker = self._try(_read_json, self._place / 'COMPLETED')
      if not isinstance(marker, dict):
        return {'state': 'NOT KNOWN: COMPLETED cannot be read'}
      self._damaged += [
        f'{self._place / name}: missing, but listed in COMPLETED'
        for name in marker.get('files', ())
        if not (self._place / name).exists()
      ]
      kept = {
        name: marker[name] for name in ('fingerprint', 'settings') if name in marker
      }
      return {'state': 'finished', **kept}
    if 'UNFINISHED' in self._names:
      marker = self._try(_read_json, self._place / 'UNFINISHED') or {}
      since = f', begun {marker["begun_at"]}' if 'begun_at' in marker else ''
      return {'state': f'NOT FINISHED: a job is running or was interrupted{since}'}
    if _kind(self._place) == 'model':
      return {'state': 'NOT FINISHED: the training is running or was interrupted'}
    known = _kind(self._place) in KINDS.values()
    return {'state': 'NOT FINISHED: no file COMPLETED' if known else 'no job folder'}

  def _shards(self, files) -> dict[str, list[pathlib.Path]]:
    """Returns the files of each table, by '<name>.<suffix>'."""
    tables = {}
    for file in files:
      if match := _TABLE.fullmatch(file.name):
        name = f'{_SHARD.sub("", match[1])}.{match[2]}'
        tables.setdefault(name, []).append(file)
    return tables

  def _table(self, files):
    kind = _TABLE.fullmatch(files[0].name)[2]
    totals = {int(x[1]) for file in files if (x := _SHARD.search(_stem(file)))}
    if totals and max(totals) != len(files):
      self._damaged.append(
        f'{self._place / files[0].name}: {len(files)} of {max(totals)} shards are here'
      )
    read = self._try(
      lambda _: record_files.read_records(kind, files, self._examples), files[0]
    )
    sizes = {'files': len(files), 'bytes': sum(map(arrays.bytes_on_disk, files))}
    return {**sizes, **(read or {})}


def _stem(file):
  return _TABLE.fullmatch(file.name)[1]


def _step(folder):
  number = folder.name.rsplit('_', 1)[-1]
  return int(number) if number.isdigit() else -1


def _read_json(path):
  try:
    return json.loads(path.read_text())
  except (ValueError, OSError) as error:
    raise Damaged(f'{path}: no JSON, or damaged: {error}') from error


def _read_gin(path):
  try:
    return settings(path.read_text())
  except ValueError as error:
    raise Damaged(f'{path}: damaged: {error}') from error


def last_metrics(path: pathlib.Path) -> dict[str, dict[str, Any]]:
  """Reads the newest value of every metric of `metrics.jsonl`, {stage: {name: value}}.

  Raises:
    Damaged: a line is not JSON.
  """
  newest = {}
  for number, line in enumerate(path.read_text().splitlines(), 1):
    try:
      row = json.loads(line)
    except ValueError as error:
      raise Damaged(f'{path}: damaged at line {number}: {error}') from error
    for key, value in row.items():
      stage, _, name = key.rpartition('/')
      if stage:
        newest.setdefault(stage, {}).update({'step': row.get('step'), name: value})
  return newest
