"""Makes the item table of events without items: an item is a distinct text."""

from collections.abc import Sequence

import pyarrow as pa

from pipelines.events.event_texts import text_name
from pipelines.events.file_blocks import read_files
from pipelines.events.input_files import InputFile
from pipelines.items.catalogue import ItemTable
from tasks import schema

_BLOCK_BYTES = 1 << 23
_TITLE = 60  # characters


def read_event_items(files: Sequence[InputFile]) -> ItemTable:
  """Collects the distinct texts of all events, sorted.

  All distinct texts are in memory, about 0.5 kB beside the text itself for each.

  Args:
    files: files of events whose formats have `texts`.
  """
  found: dict[str, tuple[str, ...]] = {}
  number = len(files[0].layout.format.texts)
  for piece in read_files(files, _BLOCK_BYTES):
    columns = piece.rows.columns
    texts = (columns[text_name(x)].dictionary.to_pylist() for x in range(number))
    ids = columns['item'].dictionary.to_pylist()
    for name, *row in zip(ids, *texts, strict=True):
      if name:
        found.setdefault(name, tuple(row))
  order = sorted(found, key=found.__getitem__)
  size = len(order)
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


def _title(texts: Sequence[str]) -> str:
  """Returns the beginning of the first text, as a name to show."""
  text = next(filter(None, texts))
  return text if len(text) <= _TITLE else f'{text[: _TITLE - 1]}…'
