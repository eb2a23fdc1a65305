"""Tells whether the quotes in a file are around values, or plain characters."""

from pipelines.events import text_encodings, text_rows
from pipelines.events.formats import Layout

_MOST_LINES = 1_000  # of a row


def judge_quotes(data: bytes, layout: Layout) -> tuple[bool | None, int]:
  """Judges by the first lines of a file.

  A value that needs its quotes shows that they are around values. Else a quote that
  closes too early, or below lines that are whole rows themselves, shows that they are
  characters; but in a file with values in quotes in half of its rows or more, such a
  quote is taken for a mistake that shows nothing.

  Args:
    data: first lines of data of the file.
    layout: layout of the columns, with quotes around values.

  Returns:
    (Whether quotes are around values, None if nothing shows it; the first line, from 0,
    whose quotes are characters.)
  """
  lines = data.splitlines() if b'"' in data else []
  number, quoted, plain = 0, 0, None
  while number < len(lines):
    kind, count = 'none', 1
    if b'"' in lines[number]:
      kind, count = _look(lines, number, layout)
    if kind == 'needed':
      return True, 0
    if kind == 'plain' and plain is None:
      plain = number
    quoted += kind == 'around'
    number += count
  if plain is None or 2 * quoted >= len(lines):
    return None, 0
  return False, plain


def _look(lines, start, layout):
  """Returns what the quotes of a row are, and the number of its lines."""
  values, reason, count = text_rows.read_record(lines, start, layout, _MOST_LINES)
  fmt, width = layout.format, len(layout.header)
  split = [
    text_encodings.decode(line, fmt.encoding, 'surrogateescape').split(fmt.delimiter)
    for line in lines[start : start + count]
  ]
  whole = all(len(texts) == width for texts in split)
  if reason == 'bad_quotes' or (count > 1 and whole):
    return 'plain', 1
  if reason or values == split[0]:
    return 'none', count
  if not whole or any('"' in value for value in set(values) - set(split[0])):
    return 'needed', count  # around a delimiter, a line end or another quote
  return 'around', count
