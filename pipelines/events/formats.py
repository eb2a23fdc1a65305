"""The formats of input files, told apart by their first line.

To read another format is one more row in a table here; own data needs no code but a
`--mapping` (`pipelines.events.mapping`).
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipelines.common.job import JobError

# kind of file -> fields that it must have
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
  """How a kind of file spells its columns.

  Attributes:
    name: for messages.
    kind: a key of REQUIRED.
    columns: our field name -> the name in the header.
    delimiter: between columns.
    quoted: whether a value may stand in double quotes.
    genre_separator: between the genres of an item.
    encoding: of the text.
    header: the columns of a file without header line.
    first_line: what the first line of such a file looks like.
    genre_flags: genres that are a column each, '1' where an item has it.
    time_unit: of numbers that are times: s, ms, us or ns; or iso, for dates as text.
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
  """A format found in a certain file.

  Attributes:
    format: the format.
    header: all column names of the file.
    positions: our field name -> index in the header, for every field there is.
    header_lines: 1 if the file's first line names its columns, else 0.
    parquet: whether it is a Parquet file and no text.
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
# kind -> the formats that a file of this kind may have
KNOWN: dict[str, tuple[Format, ...]] = {
  kind: tuple(known for known in _ALL if known.kind == kind) for kind in REQUIRED
}


def detect(path: str, line: bytes, known: Sequence[Format]) -> Layout:
  """The format of a text file.

  Args:
    path: the file, for messages.
    line: its first line.
    known: the formats it may have.

  Raises:
    JobError: none has these columns; names what was found and the nearest format.
  """
  for kind in known:
    text = line.decode(kind.encoding, 'replace').rstrip('\r\n')
    if kind.first_line and re.match(kind.first_line, text):
      return Layout(kind, kind.header, _positions(kind, kind.header), 0)
  try:
    text = line.decode('utf-8-sig').strip('\r\n')
  except UnicodeDecodeError as error:
    raise JobError(
      f'{path}: line 1 is not UTF-8 text ({error.reason} at byte {error.start}); '
      f'expected {_expected(known)}'
    ) from None
  found = []
  for kind in known:
    names = text.split(kind.delimiter)
    found.append((kind, [name.strip('"') if kind.quoted else name for name in names]))
  return _choose(f'{path}: line 1', repr(text[:200]), found)


def detect_columns(path: str, names: Sequence[str], known: Sequence[Format]) -> Layout:
  """The format of a Parquet file with these columns; raises as `detect` does."""
  shown = repr(','.join(names)[:200])
  named = [(kind, names) for kind in known if not kind.first_line]
  layout = _choose(path, shown, named)
  return layout._replace(header_lines=0, parquet=True)


def _choose(where, shown, found):
  """The layout of the first format that has all it needs, among (format, header)s."""
  lacking = []
  for kind, names in found:
    positions = _positions(kind, names)
    missing = [
      kind.columns.get(field, field)
      for field in REQUIRED[kind.kind]
      if field not in positions and not (field == 'genres' and kind.genre_flags)
    ]
    if not missing:
      twice = [name for name in kind.columns.values() if names.count(name) > 1]
      if twice:
        raise JobError(f'{where} names the column {twice[0]} twice; found {shown}')
      return Layout(kind, tuple(names), positions)
    lacking.append((len(missing), len(lacking), kind, missing))
  _, _, nearest, missing = min(lacking, key=lambda entry: entry[:2])
  raise JobError(
    f'{where} lacks the column {", ".join(missing)} of {nearest.name}; found {shown}, '
    f'expected {_expected([kind for kind, _ in found])}'
  )


def _positions(kind, header):
  header = list(header)
  return {
    field: header.index(name) for field, name in kind.columns.items() if name in header
  }


def _expected(known):
  return ' or '.join(
    f'{kind.delimiter.join(kind.header or kind.columns.values())[:60]!r} ({kind.name}'
    f'{", without a header line" if kind.header else ""})'
    for kind in known
  )
