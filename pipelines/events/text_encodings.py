"""Decodes lines of text, and finds encodings by their names."""

import codecs

# A line that is no UTF-8 is Latin-1: MovieLens changed its encoding between 1M and 10M.
UTF8_OR_LATIN1 = 'utf-8 or latin-1'


def find_encoding(name: str) -> str:
  """Returns Python's own name of an encoding; '' if lines cannot be split in it."""
  try:
    name = codecs.lookup(name).name
    extends_ascii = ',\n'.encode(name) == b',\n'
  except (LookupError, ValueError):
    return ''
  if name == 'utf-8-sig':  # a byte order mark is skipped in any encoding
    return 'utf-8'
  return name if extends_ascii else ''


def shown_name(encoding: str) -> str:
  """Returns the name of an encoding for messages."""
  return 'UTF-8' if encoding == 'utf-8' else encoding


def expected_texts(encoding: str) -> dict[str, str]:
  """Returns what is expected in the place of a line that is no text, by reason."""
  return dict.fromkeys(('not_utf8', 'not_in_encoding'), f'{shown_name(encoding)} text')


def decode(line: bytes, encoding: str, errors: str = 'strict') -> str:
  """Decodes a line in an encoding, or in `UTF8_OR_LATIN1`."""
  if encoding != UTF8_OR_LATIN1:
    return line.decode(encoding, errors)
  try:
    return line.decode()
  except UnicodeDecodeError:
    return line.decode('latin-1')


def to_utf8(lines: bytes, encoding: str) -> bytes | None:
  """Converts lines to UTF-8; returns None if they are not all text in the encoding."""
  try:
    if encoding in ('utf-8', UTF8_OR_LATIN1):
      _ = lines.isascii() or lines.decode()  # decode checks
      return lines
    return lines.decode(encoding).encode()
  except UnicodeError:
    if encoding != UTF8_OR_LATIN1:
      return None
  return ''.join(
    decode(line, encoding) for line in lines.splitlines(keepends=True)
  ).encode()
