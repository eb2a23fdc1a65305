"""Tells local paths from addresses such as gs://bucket/folder, and reads file://."""

import argparse
import re
import urllib.parse

_SCHEME = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*)://')
# file:///a, file://localhost/a, file:/a; a relative path as in file://a/b, too. Nothing
# behind file:// is no path: file://$UNSET does not mean the root.
_FILE = re.compile(r'(?i:file):(?://(?:localhost(?=/))?(?=.)|(?=/(?!/)))')


def scheme_of(path: str) -> str:
  """Returns the scheme of an address, such as 'gs'; '' for a local path."""
  match = _SCHEME.match(path)
  return match[1] if match else ''


def local_path(text: str) -> str:
  """Returns the path of a file:// URL; every other text is returned as it is."""
  match = _FILE.match(text)
  return urllib.parse.unquote(text[match.end() :]) if match else text


def is_empty_url(path: str) -> bool:
  """Tells whether `local_path` found no path behind file://."""
  return scheme_of(path).lower() == 'file'


def local_argument(text: str) -> str:
  """Reads an argument that names a local file or folder; a `type` of argparse.

  Raises:
    ArgumentTypeError: the argument is an address, or file:// without a path.
  """
  path = local_path(text)
  if is_empty_url(path):
    raise argparse.ArgumentTypeError(f'{text}: expected a path behind file://')
  if scheme := scheme_of(path):
    raise argparse.ArgumentTypeError(
      f'{text}: {scheme}:// is neither read nor written here; expected a local path or '
      'file://; copy files of a bucket first, such as with gcloud storage cp -r'
    )
  return path
