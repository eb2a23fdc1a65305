"""Movies files to the item table."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from scipy import sparse

from pipelines import folders, schema
from pipelines.job import reject
from pipelines.transforms import rows
from pipelines.transforms.inputs import Block, InputFile, blocks, read_block
from pipelines.transforms.sample import ItemFacts

_TITLE_WITH_YEAR = re.compile(r'^(.*\S)\s*\((\d{4})\)\s*$')
_YEAR = re.compile(r'^\d{4}$')
_WHOLE_FILE = 1 << 62
_EXPECTED = {
  'wrong_column_count': 'as many values as the header has',
  'not_utf8': 'UTF-8 text',
  'bad_quotes': 'quotes that close on their line',
  'empty_field': 'an item id',
  'duplicate_item': 'each item once; the first row of an item counts',
}


class Items(NamedTuple):
  """What the ratings are read and labelled with.

  Attributes:
    ids: [I] strings.
    facts: their genres.
  """

  ids: pa.Array
  facts: ItemFacts


class ItemTable(NamedTuple):
  """What movies files hold.

  Attributes:
    table: schema.ITEMS, [I] rows, num_ratings all 0.
    num_lines: lines of the files without headers.
    rejects: lines that are no item.
  """

  table: pa.Table
  num_lines: int
  rejects: list[dict]


def read_items(files: Sequence[InputFile]) -> ItemTable:
  """Reads all movies files.

  Items are ordered by id: as numbers if all ids are digits, else as text. A year comes
  from its own column, or from the end of the title, as in 'Toy Story (1995)'; titles
  are kept without it. '(no genres listed)' is a genre name like every other.
  """
  items, rejects, num_lines = {}, [], 0
  for block in blocks(files, _WHOLE_FILE):
    data = read_block(block)
    found = rows.split(data, block.layout)
    num_lines += found.num_lines
    bad = list(found.bad)
    fields = [column.to_pylist() for column in found.columns.values()]
    for line, *values in zip(found.lines.tolist(), *fields, strict=True):
      row = dict(zip(found.columns, values, strict=True))
      if not row['item']:
        bad.append((line, 'empty_field'))
      elif row['item'] in items:
        bad.append((line, 'duplicate_item'))
      else:
        items[row['item']] = _item(row, block.layout.format)
    rejects += _rejects(block, data, sorted(bad))
  return _item_table(items, num_lines, rejects)


def with_num_ratings(table: pa.Table, num_ratings: np.ndarray) -> pa.Table:
  """The item table as it is written, with the number of kept ratings [I] of each."""
  position = table.schema.get_field_index('num_ratings')
  field = schema.ITEMS.field('num_ratings')
  return table.set_column(position, field, pa.array(num_ratings, field.type))


def write_items(path: str, table: pa.Table) -> None:
  """Writes an item table of schema.ITEMS as Parquet."""
  sink = pa.BufferOutputStream()
  pq.write_table(table, sink)
  folders.write_file(path, sink.getvalue().to_pybytes())


def read_table(path: str) -> pa.Table:
  """Reads what `write_items` wrote."""
  with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
    return pq.read_table(pa.BufferReader(file.read()))


def load_items(path: str) -> Items:
  """Ids and facts of a written table; workers get the items so and not pickled."""
  table = read_table(path)
  lists = table['genres'].combine_chunks()
  values = lists.flatten()
  names = values.unique().sort()
  columns = pc.index_in(values, value_set=names).to_numpy()
  splits = np.concatenate([[0], np.cumsum(lists.value_lengths().to_numpy())])
  genres = sparse.csr_array(
    (np.ones(len(columns)), columns, splits), (table.num_rows, len(names))
  )
  facts = ItemFacts(tuple(names.to_pylist()), genres)
  return Items(table['item_id'].combine_chunks(), facts)


def _item(row, kind):
  title, year = row['title'].strip(), row.get('year', '')
  dated = _TITLE_WITH_YEAR.match(title)
  if not _YEAR.match(year):
    year = dated[2] if dated else None
  if kind.genre_flags:
    genres = [name for name in kind.genre_flags if row.get(name) == '1']
  else:
    genres = [name for name in row['genres'].split(kind.genre_separator) if name]
  return {
    'title': dated[1] if dated and dated[2] == year else title,
    'year': int(year) if year else None,
    'genres': list(dict.fromkeys(genres)),
    'description': row.get('description', '').strip(),
    'num_ratings': 0,
  }


def _rejects(block: Block, data: bytes, bad: Iterable[tuple[int, str]]) -> list[dict]:
  raw = data.splitlines() if bad else []
  found = []
  for line, reason in bad:
    text = raw[line].decode(errors='backslashreplace')[:300]
    reason = reason if text.strip() else 'blank_line'
    right = _EXPECTED.get(reason, 'an item')
    number = line + 1 + block.layout.header_lines
    where = {'file': block.path, 'line': number, 'field': '', 'value': ''}
    found.append(reject('read_movies', reason, **where, raw=text, expected=right))
  return found


def _item_table(items, num_lines, rejects):
  numeric = all(re.fullmatch('[0-9]+', name) for name in items)
  order = sorted(items, key=(lambda name: (int(name), name)) if numeric else None)
  records = [
    {'item_index': index, 'item_id': name, **items[name]}
    for index, name in enumerate(order)
  ]
  table = pa.Table.from_pylist(records, schema=schema.ITEMS)
  return ItemTable(table, num_lines, rejects)
