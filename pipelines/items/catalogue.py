"""Reads movies files into the item table."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from pipelines.common.job import reject
from pipelines.events.column_values import is_missing
from pipelines.events.file_blocks import Piece, read_files
from pipelines.events.input_files import InputFile
from pipelines.events.text_encodings import expected_texts
from pipelines.items.item_values import ItemValues
from tasks import schema

_TITLE_WITH_YEAR = re.compile(r'^(.*\S)\s*\((\d{4})\)\s*$')
MOST_LINES = 1_000  # of a row: descriptions may have several lines
_RAW_CHARACTERS = 300
_EXPECTED = {
  'wrong_column_count': 'as many values as the header has',
  'bad_quotes': 'quotes that close; quotes=none reads quotes as characters',
  'not_json': 'a JSON object',
  'empty_field': 'a value',
  'duplicate_item': 'each item once; the first row of an item counts',
}


class ItemTable(NamedTuple):
  """Holds the items of movies files.

  Attributes:
    table: item table [I] with the schema schema.ITEMS; num_ratings is 0 for all items.
    num_lines: number of lines in the movies files, without headers.
    rejects: rejects of the movies files, and of the files in `texts`.
    texts: kind of another file about the items -> counts of kept, rejected and dropped
      rows.
    values: years and genres that were missing, as `ItemValues.counts` returns them.
    event_texts: table of the distinct texts that events have beside their items: the
      column schema.TEXT_ID, and one for each template; None where they have none.
  """

  table: pa.Table
  num_lines: int
  rejects: list[dict]
  texts: dict[str, dict]
  values: dict
  event_texts: pa.Table | None = None


def read_items(files: Sequence[InputFile], no_genre: Collection[str] = ()) -> ItemTable:
  """Reads all movies files.

  Items are sorted by id: as numbers if all ids are digits, else as text. The year comes
  from its own column, or from the end of the title, as in 'Toy Story (1995)', where it
  is removed.

  Args:
    files: the files.
    no_genre: texts that mean 'no genre', besides those of `item_values`.
  """
  items, rejects, num_lines, read = {}, [], 0, ItemValues(no_genre)
  for piece in read_files(files, most_lines=MOST_LINES):
    rows = piece.rows
    num_lines += rows.num_lines
    bad = [(line, reason, '') for line, reason in rows.bad]
    fields = [column.to_pylist() for column in rows.columns.values()]
    for line, *values in zip(rows.lines.tolist(), *fields, strict=True):
      values = ('' if value is None else value for value in values)
      row = dict(zip(rows.columns, values, strict=True))
      if not row['item']:
        bad.append((line, 'empty_field', 'item'))
      elif not row['title'].strip():
        bad.append((line, 'empty_field', 'title'))
      elif row['item'] in items:
        bad.append((line, 'duplicate_item', 'item'))
      else:
        items[row['item']] = _item(row, piece.layout.format, read)
    rejects += item_rejects('read_movies', piece, bad)
  read.tell()
  return ItemTable(_item_table(items), num_lines, rejects, {}, read.counts())


def item_rejects(
  stage: str, piece: Piece, bad: Iterable[tuple[int, str, str]]
) -> list[dict]:
  """Returns the rejects of a piece.

  Args:
    stage: name of the step that rejected the rows.
    piece: piece with the rows.
    bad: (line in the piece, reason, our name of the wrong field or '') per bad row.
  """
  rejects, header = [], piece.layout.header
  for line, reason, field in sorted(bad):
    text = piece.rows.source.raw(line)[:_RAW_CHARACTERS]
    record = {'file': piece.path, 'line': piece.first + line, 'field': '', 'value': ''}
    if not text.strip():
      reason = 'blank_line'
    elif field:
      position = piece.layout.positions[field]
      record['field'] = header[position]
      record['value'] = piece.rows.source.value(line, position)[:_RAW_CHARACTERS]
    known = _EXPECTED | expected_texts(piece.layout.format.encoding)
    expected = known.get(reason, 'a row')
    rejects.append(reject(stage, reason, **record, raw=text, expected=expected))
  return rejects


def _item(row, fmt, read):
  title, year = row['title'].strip(), read.year(row.get('year', ''))
  dated = _TITLE_WITH_YEAR.match(title)
  if year is None and dated:
    year = int(dated[2])
  if fmt.genre_flags:
    genres = [name for name in fmt.genre_flags if row.get(name) == '1']
  else:
    genres = row.get('genres', '')
  described = row.get('description', '').strip()
  return {
    'title': dated[1] if dated and int(dated[2]) == year else title,
    'year': year,
    'genres': read.genres(genres, fmt.genre_separator),
    'description': '' if is_missing(described) else described,
    'tags': [],
    'num_ratings': 0,
    'fields': {name: _field(name, row, fmt, read) for name in fmt.required},
  }


def _field(name, row, fmt, read):
  """Returns the value of a column that templates name: a text, or a list of them."""
  if name in fmt.lists:
    return read.genres(row[name], fmt.lists[name])
  value, is_title = row[name].strip(), fmt.columns[name] == fmt.columns['title']
  return '' if is_missing(value) and not is_title else value


def _item_table(items):
  numeric = all(re.fullmatch('[0-9]+', name) for name in items)
  order = sorted(items, key=(lambda name: (int(name), name)) if numeric else None)
  records = [
    {'item_index': index, 'item_id': name, **items[name]}
    for index, name in enumerate(order)
  ]
  kept = schema.ITEMS
  if fields := next(iter(items.values()), {}).get('fields'):
    kind = lambda x: pa.list_(pa.string()) if isinstance(x, list) else pa.string()
    named = [(name.partition(':')[2], kind(x)) for name, x in fields.items()]
    kept = kept.append(pa.field('fields', pa.struct(named), nullable=False))
    for record in records:
      renamed = record['fields'].items()
      record['fields'] = {name.partition(':')[2]: x for name, x in renamed}
  return pa.Table.from_pylist(records, schema=kept)
