"""Finds the ratings and movies files of a study."""

import functools
import hashlib
import pathlib

from persoma_tf import addresses, assets

_RECBOLE = ('ml-100k.inter', 'ml-100k.item')
_MOVIELENS = ('ratings.csv', 'movies.csv')


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
        f'data {data!r}: {file} is not there; expected ml-100k or a folder with '
        f'{" and ".join(_MOVIELENS)}'
      )
  return ratings, movies


@functools.cache
def checksums(data: str) -> dict[str, str]:
  """Returns the sha256 of each file, by name."""
  sums = {}
  for path in find_data(data):
    with path.open('rb') as file:
      sums[path.name] = hashlib.file_digest(file, 'sha256').hexdigest()
  return sums
