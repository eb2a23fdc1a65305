"""Collects the distinct texts of events: beside items, or as the items themselves."""

import math
from collections.abc import Sequence

import pyarrow as pa

from pipelines.events.event_texts import (
  ItemColumns,
  add_texts,
  named_of_items,
  text_name,
  texts_of_users,
)
from pipelines.events.file_blocks import read_files
from pipelines.events.input_files import InputFile
from pipelines.events.user_texts import UserColumns
from pipelines.items.catalogue import ItemTable
from pipelines.items.item_table import item_columns
from tasks import schema

_BLOCK_BYTES = 1 << 23
_TITLE = 60  # characters


def read_event_items(files: Sequence[InputFile]) -> ItemTable:
  """Collects the distinct texts of all events, sorted.

  All distinct texts are in memory, about 0.5 kB beside the text itself for each.

  Args:
    files: files of events whose formats have `texts`.
  """
  found = _distinct_texts(files, 'item')
  found.pop('', None)  # of events without a text, which are rejects
  order = sorted(found, key=found.__getitem__)
  size, number = len(order), len(files[0].layout.format.texts)
  empty = pa.array([[]] * size, pa.list_(pa.string()))
  columns = {
    'item_index': pa.array(range(size), pa.int64()),
    'item_id': pa.array(order, pa.string()),
    'title': pa.array([_title(found[name]) for name in order], pa.string()),
    'year': pa.nulls(size, pa.int32()),
    'genres': empty,
    'description': pa.array([''] * size, pa.string()),
    'tags': empty,
    'num_ratings': pa.array([0] * size, pa.int64()),
  }
  own = pa.StructArray.from_arrays(
    [pa.array([found[name][x] for name in order], pa.string()) for x in range(number)],
    [text_name(x) for x in range(number)],
  )
  fields = pa.field('fields', own.type, nullable=False)
  table = pa.Table.from_arrays(
    [*columns.values(), own], schema=schema.ITEMS.append(fields)
  )
  return ItemTable(table, size, [], {}, {})


def add_event_texts(
  items: ItemTable,
  files: Sequence[InputFile],
  users: UserColumns | None = None,
  most_rows: float = math.inf,
) -> ItemTable:
  """Adds the distinct texts that events have beside their items, sorted.

  All distinct texts are in memory, as in `read_event_items`. An event without a text
  has the empty ones.

  Args:
    items: items of the events.
    files: files of events.
    users: columns of users that the texts name; None for none.
    most_rows: number of rows after which no further piece of them is read.
  """
  formats = [file.layout.format for file in files]
  if not any(fmt.texts for fmt in formats):
    return items
  columns = item_columns(items.table, named_of_items(formats))
  found = _distinct_texts(files, 'text', columns, users, most_rows)
  # Texts of users whose columns differ can be equal.
  order = sorted(found, key=lambda name: (found[name], name))
  made = {schema.TEXT_ID: order}
  for place in range(len(formats[0].texts)):
    made[text_name(place)] = [found[name][place] for name in order]
  arrays = {name: pa.array(column, pa.string()) for name, column in made.items()}
  return items._replace(event_texts=pa.table(arrays))


def _distinct_texts(
  files: Sequence[InputFile],
  key: str,
  items: ItemColumns | None = None,
  users: UserColumns | None = None,
  most_rows: float = math.inf,
) -> dict[str, tuple[str, ...]]:
  """Reads events; returns the texts of each id in the column `key`."""
  found: dict[str, tuple[str, ...]] = {}
  for piece in read_files(files, _BLOCK_BYTES):
    fmt = piece.layout.format
    if fmt.of_users:
      made = texts_of_users(piece.rows, fmt, items, users).items()
    else:
      columns = add_texts(piece.rows, fmt, items).columns
      names = (key, *map(text_name, range(len(fmt.texts))))
      lists = (columns[name].dictionary.to_pylist() for name in names)
      made = ((name, texts) for name, *texts in zip(*lists, strict=True))
    for name, texts in made:
      found.setdefault(name, tuple(texts))
    most_rows -= piece.rows.num_lines
    if most_rows <= 0:
      break
  return found


def _title(texts: Sequence[str]) -> str:
  """Returns the beginning of the first text, as a name to show."""
  text = next(filter(None, texts))
  return text if len(text) <= _TITLE else f'{text[: _TITLE - 1]}…'
