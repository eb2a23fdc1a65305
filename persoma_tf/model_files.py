"""Opens the files of models, and says what a file is that is not what it should be."""

import contextlib
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

_AGAIN = 'copy or download it again'
# First bytes of a file -> what it is, and what to do.
_KNOWN = {
  b'version https://git-lfs': (
    'it is a Git LFS pointer, not the file: run git lfs pull in its folder'
  ),
  b'<!doctype html': f'it is an HTML page, not the file: {_AGAIN}',
  b'<html': f'it is an HTML page, not the file: {_AGAIN}',
  b'pk\x03\x04': 'it is a zip archive, such as PyTorch writes: save safetensors',
  b'\x1f\x8b': 'it is compressed with gzip: unpack it',
  b'gguf': 'it is a GGUF file: give its path, with a name that ends in .gguf',
}


def seems(path: str | pathlib.Path, kind: str) -> str | None:
  """Tells what another file is in the place of one, and what to do.

  Args:
    path: path of the file.
    kind: what the file should be, such as 'GGUF'.

  Returns:
    None if nothing else is recognized in the first bytes of the file.
  """
  try:
    with open(path, 'rb') as file:
      head = file.read(200).lstrip().lower()
  except OSError as error:
    return f'{error.strerror}: {_AGAIN}'
  if not head:
    return f'it is empty: {_AGAIN}'
  if head.startswith(kind.lower().encode()):
    return None
  return next((what for mark, what in _KNOWN.items() if head.startswith(mark)), None)


@contextlib.contextmanager
def reading(path: str | pathlib.Path, kind: str) -> Iterator[None]:
  """Turns the errors of a library that reads a file into one sentence.

  Args:
    path: path of the file.
    kind: what the file should be, such as 'GGUF'.

  Raises:
    ValueError: the library failed.
  """
  try:
    yield
  except Exception as error:  # a broken file can cause an error of any type
    reason = ' '.join(str(error).split()) or type(error).__name__
    if found := re.search(r'(\d+)\)? is not a valid GGMLQuantizationType', reason):
      what = (
        f'its quantization type {found[1]} is unknown here: give the file in another '
        'quantization, such as Q8_0 or Q4_K_M'
      )
    else:
      what = seems(path, kind) or f'it is cut off or damaged ({reason}): {_AGAIN}'
    raise ValueError(f'{path} cannot be read as {kind}: {what}') from error


@contextlib.contextmanager
def named(path: str | pathlib.Path) -> Iterator[None]:
  """Puts the path of a file before the words of a ValueError that lack it."""
  try:
    yield
  except ValueError as error:
    if str(error).startswith(str(path)):
      raise
    raise ValueError(f'{path}: {error}') from error


def read_object(path: str | pathlib.Path) -> dict[str, Any]:
  """Reads a JSON object.

  Raises:
    ValueError: the file is no JSON, or is not an object.
  """
  with reading(path, 'JSON'):
    content = json.loads(pathlib.Path(path).read_text('utf-8-sig'))
  if not isinstance(content, dict):
    raise ValueError(f'{path} holds {content!r:.40}; expected a JSON object')
  return content


def open_gguf(path: str):
  """Opens a GGUF file.

  Returns:
    A `gguf.GGUFReader`.

  Raises:
    ValueError: the file cannot be read, or is one part of several.
  """
  facts = os.stat(path) if os.path.exists(path) else None
  key = str(path), facts and (facts.st_size, facts.st_mtime_ns)
  reader = _opened.pop(key, None)
  if reader is None:
    reader = _open_gguf(path)
    _opened.clear()
    _opened[key] = reader
  return reader


# A decoder and its vocabulary are in one file, whose fields take seconds to read and
# hundreds of MB: the first of the two leaves the reader to the second, which takes it.
_opened: dict = {}


def _open_gguf(path):
  import gguf  # a heavy import, which listing the tasks does not need
  import numpy as np

  class Reader(gguf.GGUFReader):
    """Reads as its base class, without a new memory map for every token's text."""

    def _get(self, offset, dtype, count=1, override_order=None):
      found = np.frombuffer(self.data, dtype, int(count), int(offset))
      order = override_order or self.byte_order
      return found if order == 'I' else found.view(found.dtype.newbyteorder(order))

  with reading(path, 'GGUF'):
    reader = Reader(path)
    parts = reader.fields.get('split.count')
    count = parts.contents() if parts else 1
  if count > 1:
    raise ValueError(
      f'{path} is one of {count} parts: join them with llama-gguf-split --merge'
    )
  return reader
