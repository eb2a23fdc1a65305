"""The file formats of ratings and items, told apart by their header line.

To read another format is one more row in a table here.
"""

from typing import NamedTuple

from pipelines.job import JobError

_RATINGS_FIELDS = ('user', 'item', 'rating', 'timestamp')
_ITEMS_FIELDS = ('item', 'title', 'genres')


class Format(NamedTuple):
  """How a kind of file spells its columns.

  Attributes:
    name: for messages.
    delimiter: between columns.
    quoted: whether a value may stand in double quotes.
    columns: our field name -> the name in the header.
    genre_separator: between the genres of an item.
  """

  name: str
  delimiter: str
  quoted: bool
  columns: dict[str, str]
  genre_separator: str = ''


class Layout(NamedTuple):
  """A format found in a certain file.

  Attributes:
    format: the format.
    header: all column names of the file.
    positions: our field name -> index in the header, for every field there is.
  """

  format: Format
  header: tuple[str, ...]
  positions: dict[str, int]


RATINGS = (
  Format(
    name='MovieLens',
    delimiter=',',
    quoted=True,
    columns={
      'user': 'userId',
      'item': 'movieId',
      'rating': 'rating',
      'timestamp': 'timestamp',
    },
  ),
  Format(
    name='RecBole',
    delimiter='\t',
    quoted=False,
    columns={
      'user': 'user_id:token',
      'item': 'item_id:token',
      'rating': 'rating:float',
      'timestamp': 'timestamp:float',
    },
  ),
)
ITEMS = (
  Format(
    name='MovieLens',
    delimiter=',',
    quoted=True,
    columns={'item': 'movieId', 'title': 'title', 'genres': 'genres'},
    genre_separator='|',
  ),
  Format(
    name='RecBole',
    delimiter='\t',
    quoted=False,
    columns={
      'item': 'item_id:token',
      'title': 'movie_title:token_seq',
      'year': 'release_year:token',
      'genres': 'class:token_seq',
    },
    genre_separator=' ',
  ),
)


def detect(path: str, header_line: bytes, formats: tuple[Format, ...]) -> Layout:
  """The format of a file.

  Args:
    path: the file, for messages.
    header_line: its first line.
    formats: RATINGS or ITEMS.

  Raises:
    JobError: no format has these columns; names what was found and the nearest format.
  """
  try:
    text = header_line.decode('utf-8-sig').strip('\r\n')
  except UnicodeDecodeError as error:
    raise JobError(
      f'{path}: line 1 is not UTF-8 text ({error.reason} at byte {error.start}); '
      f'expected {_expected(formats)}'
    ) from None
  found = [_match(text, kind) for kind in formats]
  for layout, missing in found:
    if not missing:
      return layout
  nearest, missing = min(found, key=lambda pair: len(pair[1]))
  raise JobError(
    f'{path}: line 1 lacks the column {", ".join(missing)} of {nearest.format.name}; '
    f'found {text[:200]!r}, expected {_expected(formats)}'
  )


def _match(text, kind):
  required = _RATINGS_FIELDS if 'user' in kind.columns else _ITEMS_FIELDS
  header = tuple(text.split(kind.delimiter))
  if kind.quoted:
    header = tuple(name.strip('"') for name in header)
  positions = {
    field: header.index(name) for field, name in kind.columns.items() if name in header
  }
  missing = [kind.columns[field] for field in required if field not in positions]
  return Layout(kind, header, positions), missing


def _expected(formats):
  return ' or '.join(
    f'{kind.delimiter.join(kind.columns.values())!r} ({kind.name})' for kind in formats
  )
