"""Describes formats of input files, and detects them by the first line of a file."""

import dataclasses
import difflib
import io
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipelines.common.job import JobError
from pipelines.events.column_names import read_names
from pipelines.events.text_encodings import decode, shown_name
from tasks.text_templates import TextTemplate

# kind of file -> fields that the file must have
REQUIRED = {
  'ratings': ('user', 'item', 'rating', 'timestamp'),
  'movies': ('item', 'title', 'genres'),
  'tags': ('user', 'item', 'tag'),
  'descriptions': ('item', 'description'),
  'examples': ('user',),
}


@dataclasses.dataclass(frozen=True)
class Format:
  """Describes how a kind of file names its columns and writes its values.

  Attributes:
    name: name of the format, for messages.
    kind: kind of the file, a key of REQUIRED.
    columns: our field name -> column name in the header.
    delimiter: text between two columns.
    quoted: whether a value may be in double quotes; None if the file itself must tell.
    genre_separator: text between two genres of an item.
    encoding: encoding of the text, as `text_encodings.decode` takes it.
    other_names: our field name -> other column names that it may have.
    header: column names, if files of this format have no header line.
    first_line: regular expression of the first line of a file without a header line.
    genre_flags: genres that have a column each, with '1' where an item has the genre.
    time_unit: unit of numeric times (s, ms, us or ns), or iso for dates as text.
    required: our field names that a file must have beside those of REQUIRED.
    absent: our field names of REQUIRED that files of this format do without.
    lists: our field name -> text between two of the names in its values.
    texts: templates of the texts of events.
    texts_are_items: whether these texts stand for the items, which events lack.
    of_users: columns of users that texts of events name.
  """

  name: str
  kind: str
  columns: Mapping[str, str]
  delimiter: str = ','
  quoted: bool | None = True
  genre_separator: str = '|'
  encoding: str = 'utf-8'
  other_names: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
  header: tuple[str, ...] = ()
  first_line: str = ''
  genre_flags: tuple[str, ...] = ()
  time_unit: str = 's'
  required: tuple[str, ...] = ()
  absent: tuple[str, ...] = ()
  lists: Mapping[str, str] = dataclasses.field(default_factory=dict)
  texts: tuple[TextTemplate, ...] = ()
  texts_are_items: bool = False
  of_users: tuple[str, ...] = ()


class Layout(NamedTuple):
  """Describes the columns of one file.

  Attributes:
    format: format of the file.
    header: names of all columns of the file.
    positions: our field name -> index in the header, for every field in the file.
    header_lines: number of lines that name the columns: 0, or 1, or more if a name in
      quotes has line ends.
    parquet: whether the file is Parquet and not text.
    json: whether a line is a JSON object.
  """

  format: Format
  header: tuple[str, ...]
  positions: dict[str, int]
  header_lines: int = 1
  parquet: bool = False
  json: bool = False


def detect(path: str, head: bytes, known: Sequence[Format]) -> Layout:
  """Detects the format of a text file.

  Args:
    path: path of the file, for messages.
    head: first lines of the file.
    known: formats that the file may have.

  Raises:
    JobError: no format fits; the message shows the line and the nearest format.
  """
  lines = io.BytesIO(head).readlines()
  for fmt in known:
    text = decode(lines[0], fmt.encoding, 'replace').rstrip('\r\n')
    if fmt.first_line and re.match(fmt.first_line, text):
      return Layout(fmt, fmt.header, _positions(fmt, fmt.header), 0)
  try:
    # A format without header lines may have one, if no other format fits.
    with_header_first = sorted(known, key=lambda fmt: bool(fmt.header))
    headers = [
      (fmt, *read_names(lines, fmt.delimiter, fmt.encoding, fmt.quoted is not False))
      for fmt in with_header_first
    ]
  except UnicodeDecodeError as error:
    raise JobError(
      f'{path}: line 1 is not {shown_name(known[0].encoding)} text ({error.reason} at '
      f'byte {error.start}); expected {_expected(known)}'
    ) from None
  text = decode(lines[0], known[0].encoding).strip('\ufeff\r\n')
  return _choose(f'{path}: line 1', repr(text[:200]), headers)


def detect_columns(path: str, names: Sequence[str], known: Sequence[Format]) -> Layout:
  """Detects the format of a file that names its columns; raises as `detect` does."""
  shown = repr(','.join(names)[:200])
  headers = [(fmt, names, 0) for fmt in known if not fmt.first_line]
  if not headers:
    raise JobError(
      f'{path} names its columns itself; leave out header, and layout, in the dataset '
      'file'
    )
  return _choose(path, shown, headers)


def _choose(where, shown, headers):
  """Returns the first layout with all required columns, of (format, header, lines)."""
  lacking = []
  for fmt, names, lines in headers:
    positions = _positions(fmt, names)
    missing = {
      fmt.columns.get(field, field): None
      for field in (*REQUIRED[fmt.kind], *fmt.required)
      if field not in (*positions, *fmt.absent)
      and not (field == 'genres' and fmt.genre_flags)
    }
    if not missing:
      used = [names[position] for position in positions.values()]
      twice = [name for name in used if names.count(name) > 1]
      if twice:
        raise JobError(f'{where} names the column {twice[0]} twice; found {shown}')
      return Layout(fmt, tuple(names), positions, lines)
    text = fmt.delimiter.join(names)
    likeness = difflib.SequenceMatcher(None, text, _header(fmt)).ratio()
    lacking.append((len(missing), -likeness, len(lacking), fmt, missing))
  _, _, _, nearest, missing = min(lacking, key=lambda entry: entry[:3])
  # Of files that somebody describes, with one format that there can be.
  names = headers[0][1] if len(headers) == 1 else ()
  near = {name: difflib.get_close_matches(name, names, n=1) for name in missing}
  hints = [f'{name} (did you mean {x[0]}?)' if x else name for name, x in near.items()]
  others = [fmt for fmt, *_ in headers if fmt is not nearest]
  raise JobError(
    f'{where} lacks the column {", ".join(hints)} of {nearest.name}; found {shown}, '
    f'expected {_expected([nearest, *others])}'
  )


def _positions(fmt, header):
  found = {}
  for field, name in fmt.columns.items():
    names = [x for x in (name, *fmt.other_names.get(field, ())) if x in header]
    if names:
      found[field] = header.index(names[0])
  return found


def _header(fmt):
  return fmt.delimiter.join(fmt.header or fmt.columns.values())


def _expected(known):
  """Describes the headers of formats: the first one whole."""
  return ' or '.join(
    f'{_header(fmt)[: 60 if number else None]!r} ({fmt.name}'
    f'{", without a header line" if fmt.header else ""})'
    for number, fmt in enumerate(known)
  )
