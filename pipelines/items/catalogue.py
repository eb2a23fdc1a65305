"""Movies files to the item table."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from pipelines.common.job import reject
from pipelines.events.input_files import InputFile, Piece, read_files
from tasks import schema

_TITLE_WITH_YEAR = re.compile(r'^(.*\S)\s*\((\d{4})\)\s*$')
_YEAR = re.compile(r'^\d{4}$')
MOST_LINES = 1_000  # descriptions may have several
_RAW_CHARACTERS = 300
_EXPECTED = {
  'wrong_column_count': 'as many values as the header has',
  'not_utf8': 'UTF-8 text',
  'bad_quotes': 'quotes that close',
  'empty_field': 'a value',
  'duplicate_item': 'each item once; the first row of an item counts',
}


class ItemTable(NamedTuple):
  """What movies files hold.

  Attributes:
    table: schema.ITEMS, [I] rows, num_ratings all 0.
    num_lines: lines of the files without headers.
    rejects: lines that are no item, and those of the files below.
    texts: kind of another file about the items -> what became of its rows.
  """

  table: pa.Table
  num_lines: int
  rejects: list[dict]
  texts: dict[str, dict]


def read_items(files: Sequence[InputFile]) -> ItemTable:
  """Reads all movies files.

  Items are ordered by id: as numbers if all ids are digits, else as text. A year comes
  from its own column, or from the end of the title, as in 'Toy Story (1995)'; titles
  are kept without it. '(no genres listed)' is a genre name like every other.
  """
  items, rejects, num_lines = {}, [], 0
  for piece in read_files(files, most_lines=MOST_LINES):
    found = piece.rows
    num_lines += found.num_lines
    bad = [(line, reason, '') for line, reason in found.bad]
    fields = [column.to_pylist() for column in found.columns.values()]
    for line, *values in zip(found.lines.tolist(), *fields, strict=True):
      values = ('' if value is None else value for value in values)
      row = dict(zip(found.columns, values, strict=True))
      if not row['item']:
        bad.append((line, 'empty_field', 'item'))
      elif not row['title'].strip():
        bad.append((line, 'empty_field', 'title'))
      elif row['item'] in items:
        bad.append((line, 'duplicate_item', 'item'))
      else:
        items[row['item']] = _item(row, piece.layout.format)
    rejects += item_rejects('read_movies', piece, bad)
  return _item_table(items, num_lines, rejects)


def item_rejects(
  stage: str, piece: Piece, bad: Iterable[tuple[int, str, str]]
) -> list[dict]:
  """The rejects of a piece.

  Args:
    stage: the step that refused them.
    piece: where they stand.
    bad: (line in the piece, reason, our name of the field or '').
  """
  found, header = [], piece.layout.header
  for line, reason, field in sorted(bad):
    text = piece.rows.source.raw(line)[:_RAW_CHARACTERS]
    record = {'file': piece.path, 'line': piece.first + line, 'field': '', 'value': ''}
    if not text.strip():
      reason = 'blank_line'
    elif field:
      position = piece.layout.positions[field]
      record['field'] = header[position]
      record['value'] = piece.rows.source.value(line, position)[:_RAW_CHARACTERS]
    right = _EXPECTED.get(reason, 'a row')
    found.append(reject(stage, reason, **record, raw=text, expected=right))
  return found


def _item(row, kind):
  title, year = row['title'].strip(), row.get('year', '')
  dated = _TITLE_WITH_YEAR.match(title)
  if not _YEAR.match(year):
    year = dated[2] if dated else None
  if kind.genre_flags:
    genres = [name for name in kind.genre_flags if row.get(name) == '1']
  else:
    genres = row['genres']
    if isinstance(genres, str):
      genres = genres.split(kind.genre_separator)
  return {
    'title': dated[1] if dated and dated[2] == year else title,
    'year': int(year) if year else None,
    'genres': list(dict.fromkeys(filter(None, (x.strip() for x in genres if x)))),
    'description': row.get('description', '').strip(),
    'tags': [],
    'num_ratings': 0,
  }


def _item_table(items, num_lines, rejects):
  numeric = all(re.fullmatch('[0-9]+', name) for name in items)
  order = sorted(items, key=(lambda name: (int(name), name)) if numeric else None)
  records = [
    {'item_index': index, 'item_id': name, **items[name]}
    for index, name in enumerate(order)
  ]
  table = pa.Table.from_pylist(records, schema=schema.ITEMS)
  return ItemTable(table, num_lines, rejects, {})
