"""Reads the names of the columns at the beginning of a text file."""

import csv
import itertools
from collections.abc import Sequence

from pipelines.events.text_encodings import decode


def read_names(
  lines: Sequence[bytes], delimiter: str, encoding: str, quotes: bool
) -> tuple[list[str], int]:
  """Reads the header.

  Args:
    lines: first lines of the file.
    delimiter: text between two names.
    encoding: encoding of the text.
    quotes: whether a name may be in double quotes.

  Returns:
    (Names of the columns, number of lines they take.)

  Raises:
    UnicodeDecodeError: the first line is no text in the encoding.
  """
  first = decode(lines[0], encoding).removeprefix('\ufeff')
  if quotes:
    more = (decode(line, encoding) for line in lines[1:])
    reader = csv.reader(
      itertools.chain([first], more), delimiter=delimiter, strict=True
    )
    try:
      names = next(reader, [])
      texts = [decode(line, encoding) for line in lines[: reader.line_num]]
      if not _hold_rows(texts, names, delimiter):
        return names, reader.line_num
    except (csv.Error, UnicodeDecodeError):
      pass  # a quote that is none
  return first.strip('\r\n').split(delimiter), 1


def _hold_rows(lines, names, delimiter):
  """Tells whether an open quote took rows of data into a name of the header.

  Then there are no more names than each of these lines has values, unlike in a header
  with a line end in a name.
  """
  first, *more = (len(line.split(delimiter)) for line in lines)
  return first in more and len(names) <= first
