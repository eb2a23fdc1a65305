"""The ratings and movies of a study."""

import functools
import hashlib
import pathlib

from persoma_tf import assets

_RECBOLE = ('ml-100k.inter', 'ml-100k.item')
_MOVIELENS = ('ratings.csv', 'movies.csv')


def find_data(data: str) -> tuple[pathlib.Path, pathlib.Path]:
  """Ratings and movies of an asset or of a MovieLens CSV folder.

  Raises:
    ValueError: there is no such asset, or a file is missing.
  """
  folder = pathlib.Path(data)
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
  """sha256 of each file, by name."""
  found = {}
  for path in find_data(data):
    with path.open('rb') as file:
      found[path.name] = hashlib.file_digest(file, 'sha256').hexdigest()
  return found
