"""Lists the formats of input files, and detects them by the first line of a file.

Another format is one more row in a table here. Your own data needs no code, only a
`--mapping` (`pipelines.events.mapping`).
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipelines.common.job import JobError

# kind of file -> fields that the file must have
REQUIRED = {
  'ratings': ('user', 'item', 'rating', 'timestamp'),
  'movies': ('item', 'title', 'genres'),
  'tags': ('user', 'item', 'tag'),
  'descriptions': ('item', 'description'),
}
_ML_100K_GENRES = [
  'unknown',
  'Action',
  'Adventure',
  'Animation',
  "Children's",
  'Comedy',
  'Crime',
  'Documentary',
  'Drama',
  'Fantasy',
  'Film-Noir',
  'Horror',
  'Musical',
  'Mystery',
  'Romance',
  'Sci-Fi',
  'Thriller',
  'War',
  'Western',
]


@dataclasses.dataclass(frozen=True)
class Format:
  """Describes how a kind of file names its columns and writes its values.

  Attributes:
    name: name of the format, for messages.
    kind: kind of the file, a key of REQUIRED.
    columns: our field name -> column name in the header.
    delimiter: text between two columns.
    quoted: whether a value may be in double quotes.
    genre_separator: text between two genres of an item.
    encoding: encoding of the text.
    header: column names, if files of this format have no header line.
    first_line: regular expression of the first line of a file without a header line.
    genre_flags: genres that have a column each, with '1' where an item has the genre.
    time_unit: unit of numeric times (s, ms, us or ns), or iso for dates as text.
  """

  name: str
  kind: str
  columns: Mapping[str, str]
  delimiter: str = ','
  quoted: bool = True
  genre_separator: str = '|'
  encoding: str = 'utf-8'
  header: tuple[str, ...] = ()
  first_line: str = ''
  genre_flags: tuple[str, ...] = ()
  time_unit: str = 's'


class Layout(NamedTuple):
  """Describes the columns of one file.

  Attributes:
    format: format of the file.
    header: names of all columns of the file.
    positions: our field name -> index in the header, for every field in the file.
    header_lines: 1 if the first line of the file names its columns, else 0.
    parquet: whether the file is Parquet and not text.
  """

  format: Format
  header: tuple[str, ...]
  positions: dict[str, int]
  header_lines: int = 1
  parquet: bool = False


def _own_names(fields):
  return {field: field for field in fields}


def _headerless(name, kind, header, delimiter, first_line, **others):
  names = _own_names(header)
  return Format(
    name, kind, names, delimiter, False, header=header, first_line=first_line, **others
  )


_ALL = (
  # latest, latest-small, 20M, 25M, 32M
  Format(
    'MovieLens',
    'ratings',
    {
      'user': 'userId',
      'item': 'movieId',
      'rating': 'rating',
      'timestamp': 'timestamp',
    },
  ),
  Format(
    'MovieLens', 'movies', {'item': 'movieId', 'title': 'title', 'genres': 'genres'}
  ),
  Format('MovieLens', 'tags', {'user': 'userId', 'item': 'movieId', 'tag': 'tag'}),
  Format(
    'MovieLens', 'descriptions', {'item': 'movieId', 'description': 'description'}
  ),
  Format('TMDB', 'descriptions', {'item': 'movieId', 'description': 'overview'}),
  _headerless(
    'MovieLens-1M', 'ratings', REQUIRED['ratings'], '::', r'\d+::\d+::\d+::\d+$'
  ),
  _headerless(
    'MovieLens-1M',
    'movies',
    REQUIRED['movies'],
    '::',
    r'\d+::.*::[^:]*$',
    encoding='latin-1',
  ),
  _headerless(
    'MovieLens-100K', 'ratings', REQUIRED['ratings'], '\t', r'\d+\t\d+\t\d+\t\d+$'
  ),
  _headerless(
    'MovieLens-100K',
    'movies',
    ('item', 'title', 'released', 'video', 'url', *_ML_100K_GENRES),
    '|',
    r'\d+\|.*(\|[01]){19}$',
    encoding='latin-1',
    genre_flags=tuple(_ML_100K_GENRES),
  ),
  Format(
    'RecBole',
    'ratings',
    {
      'user': 'user_id:token',
      'item': 'item_id:token',
      'rating': 'rating:float',
      'timestamp': 'timestamp:float',
    },
    delimiter='\t',
    quoted=False,
  ),
  Format(
    'RecBole',
    'movies',
    {
      'item': 'item_id:token',
      'title': 'movie_title:token_seq',
      'year': 'release_year:token',
      'genres': 'class:token_seq',
    },
    delimiter='\t',
    quoted=False,
    genre_separator=' ',
  ),
  Format('PERSOMA', 'ratings', _own_names(REQUIRED['ratings'])),
  Format('PERSOMA', 'movies', _own_names((*REQUIRED['movies'], 'year', 'description'))),
  Format('PERSOMA', 'tags', _own_names(REQUIRED['tags'])),
  Format('PERSOMA', 'descriptions', _own_names(REQUIRED['descriptions'])),
)
# kind of file -> formats that a file of this kind may have
KNOWN: dict[str, tuple[Format, ...]] = {
  kind: tuple(known for known in _ALL if known.kind == kind) for kind in REQUIRED
}


def detect(path: str, line: bytes, known: Sequence[Format]) -> Layout:
  """Detects the format of a text file.

  Args:
    path: path of the file, for messages.
    line: first line of the file.
    known: formats that the file may have.

  Raises:
    JobError: no format fits; the message shows the line and the nearest format.
  """
  for fmt in known:
    text = line.decode(fmt.encoding, 'replace').rstrip('\r\n')
    if fmt.first_line and re.match(fmt.first_line, text):
      return Layout(fmt, fmt.header, _positions(fmt, fmt.header), 0)
  try:
    text = line.decode('utf-8-sig').strip('\r\n')
  except UnicodeDecodeError as error:
    raise JobError(
      f'{path}: line 1 is not UTF-8 text ({error.reason} at byte {error.start}); '
      f'expected {_expected(known)}'
    ) from None
  headers = []
  for fmt in known:
    names = text.split(fmt.delimiter)
    if fmt.quoted:
      names = [name.strip('"') for name in names]
    headers.append((fmt, names))
  return _choose(f'{path}: line 1', repr(text[:200]), headers)


def detect_columns(path: str, names: Sequence[str], known: Sequence[Format]) -> Layout:
  """Detects the format of a Parquet file by its columns; raises as `detect` does."""
  shown = repr(','.join(names)[:200])
  headers = [(fmt, names) for fmt in known if not fmt.first_line]
  layout = _choose(path, shown, headers)
  return layout._replace(header_lines=0, parquet=True)


def _choose(where, shown, headers):
  """Returns the first layout with all required columns, of (format, header) pairs."""
  lacking = []
  for fmt, names in headers:
    positions = _positions(fmt, names)
    missing = [
      fmt.columns.get(field, field)
      for field in REQUIRED[fmt.kind]
      if field not in positions and not (field == 'genres' and fmt.genre_flags)
    ]
    if not missing:
      twice = [name for name in fmt.columns.values() if names.count(name) > 1]
      if twice:
        raise JobError(f'{where} names the column {twice[0]} twice; found {shown}')
      return Layout(fmt, tuple(names), positions)
    lacking.append((len(missing), len(lacking), fmt, missing))
  _, _, nearest, missing = min(lacking, key=lambda entry: entry[:2])
  raise JobError(
    f'{where} lacks the column {", ".join(missing)} of {nearest.name}; found {shown}, '
    f'expected {_expected([fmt for fmt, _ in headers])}'
  )


def _positions(fmt, header):
  header = list(header)
  return {
    field: header.index(name) for field, name in fmt.columns.items() if name in header
  }


def _expected(known):
  return ' or '.join(
    f'{fmt.delimiter.join(fmt.header or fmt.columns.values())[:60]!r} ({fmt.name}'
    f'{", without a header line" if fmt.header else ""})'
    for fmt in known
  )
