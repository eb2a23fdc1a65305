"""The bucket emulator in a process of its own, with uploads that fail on demand.

    python -m tests.engines.bucket_server PORT_FILE BUCKET FOLDER

FOLDER keeps the objects, as FOLDER/.cloudstorage/BUCKET/NAME.

POST /faults takes {"name": part of an object's name, "status": HTTP status, or 0 to
drop the connection, "times": how often} and holds for the content of uploads, after
half of it has come. An empty body ends all faults. Answers what has failed so far.
"""

import functools
import http.server
import json
import os
import pathlib
import sys
from urllib.parse import parse_qs, urlsplit

from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage


class _Handler(RequestHandler):
  fault: dict | None = None
  failed: list[str] = []  # noqa: RUF012  one server a process

  def do_POST(self):
    if self.path != '/faults':
      return super().do_POST()
    body = self.rfile.read(int(self.headers['Content-Length'] or 0))
    answer = json.dumps(_Handler.failed).encode()
    _Handler.fault, _Handler.failed = (json.loads(body) if body else None), []
    self.send_response(200)
    self.send_header('Content-Length', str(len(answer)))
    self.end_headers()
    self.wfile.write(answer)

  def do_PUT(self):
    upload = parse_qs(urlsplit(self.path).query).get('upload_id')
    name = self.storage.get_resumable_file_obj(upload[0])['name'] if upload else ''
    fault = _Handler.fault
    if not fault or not fault['times'] or fault['name'] not in name:
      return super().do_PUT()
    fault['times'] -= 1
    _Handler.failed.append(name)
    self.rfile.read(int(self.headers['Content-Length'] or 0) // 2)
    if fault['status']:
      self.send_error(fault['status'])
    # else nothing is answered and the connection ends


def main(port_file: str, bucket: str, folder: str) -> None:
  """Serves until it is killed."""
  storage = Storage(data_dir=folder)
  # After each request it would write what it knows of all objects; none reads that.
  storage._write_config_to_file = lambda: None
  buckets.create_bucket(bucket, storage)
  handler = functools.partial(_Handler, storage)
  server = http.server.HTTPServer(('127.0.0.1', 0), handler)
  ready = pathlib.Path(port_file)
  ready.with_suffix('.tmp').write_text(str(server.server_port))
  os.rename(ready.with_suffix('.tmp'), ready)
  server.serve_forever()


if __name__ == '__main__':
  main(*sys.argv[1:])
