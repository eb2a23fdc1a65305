"""Finds the files of a study's data: MovieLens files, or those of a dataset file."""

import functools
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

from persoma_tf import addresses, assets
from pipelines.common import storage

_RECBOLE = ('ml-100k.inter', 'ml-100k.item')
_MOVIELENS = ('ratings.csv', 'movies.csv')
_DATASET = ('.yaml', '.yml')


def is_dataset(data: str) -> bool:
  """Tells whether the data of a study is a dataset file, by its ending."""
  return data.endswith(_DATASET)


def find_data(data: str) -> tuple[pathlib.Path, pathlib.Path]:
  """Finds the ratings and movies files of an asset or of a MovieLens CSV folder.

  Raises:
    ValueError: a file is missing, or `data` is neither an asset nor a folder.
  """
  folder = pathlib.Path(addresses.local_path(data))
  if data == 'ml-100k':
    folder, names = assets.path(data), _RECBOLE
  else:
    names = _MOVIELENS
  ratings, movies = (folder / name for name in names)
  for file in (ratings, movies):
    if not file.is_file():
      raise ValueError(
        f'data {data!r}: {file} is not there; expected ml-100k, a dataset file or a '
        f'folder with {" and ".join(_MOVIELENS)}'
      )
  return ratings, movies


def questions_in(data: str) -> Mapping[str, Mapping[str, Any]]:
  """Returns the words of each question of a dataset file, by name.

  Raises:
    JobError: the file is wrong.
  """
  return _read(data).about()['questions']


@functools.cache
def _read(data: str):
  """Reads a dataset file."""
  from pipelines.dataset.dataset_file import read_dataset  # imports Beam

  return read_dataset(data)


@functools.cache
def checksums(data: str) -> dict[str, str]:
  """Returns the sha256 of each file, by name.

  Of a dataset file, it is that of the file itself, and of the checksums of all files
  with the same part in it.

  Raises:
    ValueError: a file is missing, or the dataset file is wrong.
  """
  if is_dataset(data):
    sums = {'dataset': storage.file_checksum(data)}
    for part, files in _read(data).find_files().items():
      found = ' '.join(storage.file_checksum(file.path) for file in files)
      sums[part] = f'sha256:{hashlib.sha256(found.encode()).hexdigest()}'
    return sums
  sums = {}
  for path in find_data(data):
    with path.open('rb') as file:
      sums[path.name] = hashlib.file_digest(file, 'sha256').hexdigest()
  return sums
