"""Reads the paths and addresses that flags name, and says which schemes work."""

import importlib.util
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from persoma_tf import addresses

# Scheme of a file system of Beam -> the package that it needs; ours installs gs://.
_PACKAGES = {'gs': '', 's3': 'boto3', 'azfs': 'azure.storage.blob', 'hdfs': 'hdfs'}


class Place(NamedTuple):
  """Describes the paths and addresses that a flag takes.

  Attributes:
    by: who reads or writes there: the 'launcher' alone; 'workers', which reach no files
      of the launching machine; or a job that takes 'local' paths only.
    names: values that are names, not paths.
    schemes: schemes that work in addition to those of Beam.
  """

  by: Literal['launcher', 'workers', 'local']
  names: Collection[str] = ()
  schemes: tuple[str, ...] = ()

  def is_local(self, value: str) -> bool:
    """Tells whether a value is a path on this machine."""
    return bool(value) and value not in self.names and not addresses.scheme_of(value)

  def read(self, name: str, text: str, beams: Sequence[str]) -> str:
    """Returns the path or address that the value of a flag names.

    Args:
      name: name of the flag.
      text: its value.
      beams: Beam's own arguments.

    Raises:
      ValueError: files with such an address cannot be read or written, or file:// has
        no path.
    """
    value = addresses.local_path(text)
    scheme = addresses.scheme_of(value)
    if addresses.is_empty_url(value):
      raise ValueError(f'--{name}={text}: expected a path behind file://')
    if scheme and self.by == 'local':
      raise ValueError(
        f'--{name}={text}: this job reads and writes only local paths and file://; '
        'copy the folder first, such as with gcloud storage cp -r'
      )
    known = ('file', *_schemes(beams), *self.schemes)
    if scheme and scheme not in known:
      raise ValueError(
        f'--{name}={text}: {scheme}:// does not work here; expected a local path, '
        f'{" or ".join(f"{x}://" for x in known)}'
      )
    return value


LAUNCHER, WORKERS, LOCAL = Place('launcher'), Place('workers'), Place('local')


def _schemes(beams: Sequence[str]) -> list[str]:
  """Returns the schemes of Beam's file systems that have what they need."""
  has_hdfs = any(word.startswith('--hdfs_host') for word in beams)
  return [
    scheme
    for scheme, package in _PACKAGES.items()
    if _is_there(package) and (scheme != 'hdfs' or has_hdfs)
  ]


def _is_there(package):
  try:
    return not package or importlib.util.find_spec(package) is not None
  except ModuleNotFoundError:  # a package above it is not installed
    return False
