"""Adds texts from other files to the items: tags of users, descriptions.

Tags are item metadata, as in MovieLens: they come from users of all splits.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.events.column_values import is_missing
from pipelines.events.file_blocks import Piece, read_files
from pipelines.events.input_files import InputFile
from pipelines.items.catalogue import MOST_LINES, ItemTable, item_rejects
from tasks import schema

_MOST_TAGS = 10
_BLOCK_BYTES = 1 << 23


def add_tags(items: ItemTable, files: Sequence[InputFile]) -> ItemTable:
  """Adds to each item the tags that most users gave it, if there are files.

  Case and outer blanks of tags are ignored. The tags of an item are sorted by number of
  users, most first, then by name. If a user gave an item the same tag twice, it counts
  once.

  Raises:
    JobError: a file cannot be read to its end.
  """
  if not files:
    return items
  tables, rejects, rows_in = [], [], 0
  for piece in read_files(files, _BLOCK_BYTES):
    good, bad = _good_tags(piece, items.table['item_id'])
    rejects += item_rejects('read_tags', piece, bad)
    rows_in += piece.rows.num_lines
    tables.append(good)
  rows = pa.concat_tables(tables)
  known = rows.filter(pc.is_valid(rows['item']))
  ranked = (
    known.group_by(['item', 'tag'])
    .aggregate([('user', 'count_distinct')])
    .sort_by([('item', 'ascending'), ('user_count_distinct', 'descending')] + _BY_NAME)
  )
  kept = int(np.sum(ranked['user_count_distinct'].to_numpy()))
  dropped = {
    'unknown_item': rows.num_rows - known.num_rows,
    'duplicate': known.num_rows - kept,
  }
  lists = _first_of_each(ranked, items.table.num_rows)
  texts = {**items.texts, 'tags': _counts(rows_in, kept, rejects, dropped)}
  return items._replace(
    table=_with_column(items.table, 'tags', lists),
    rejects=items.rejects + rejects,
    texts=texts,
  )


def add_descriptions(items: ItemTable, files: Sequence[InputFile]) -> ItemTable:
  """Adds descriptions from other files; they replace descriptions of movies files.

  Raises:
    JobError: a file cannot be read to its end.
  """
  if not files:
    return items
  rows_of = {name: row for row, name in enumerate(items.table['item_id'].to_pylist())}
  described = items.table['description'].to_pylist()
  seen, rejects, rows_in = set(), [], 0
  dropped = {'unknown_item': 0, 'empty_text': 0}
  for piece in read_files(files, most_lines=MOST_LINES):
    columns = piece.rows.columns
    rows_in += piece.rows.num_lines
    bad = [(line, reason, '') for line, reason in piece.rows.bad]
    for line, item, text in zip(
      piece.rows.lines.tolist(),
      columns['item'].to_pylist(),
      columns['description'].to_pylist(),
      strict=True,
    ):
      text = (text or '').strip()
      if not item:
        bad.append((line, 'empty_field', 'item'))
      elif item not in rows_of:
        dropped['unknown_item'] += 1
      elif is_missing(text):
        dropped['empty_text'] += 1
      elif item in seen:
        bad.append((line, 'duplicate_item', 'item'))
      else:
        seen.add(item)
        described[rows_of[item]] = text
    rejects += item_rejects('read_descriptions', piece, bad)
  counts = _counts(rows_in, len(seen), rejects, dropped)
  return items._replace(
    table=_with_column(items.table, 'description', described),
    rejects=items.rejects + rejects,
    texts={**items.texts, 'descriptions': counts},
  )


_BY_NAME = [('tag', 'ascending')]


def _good_tags(piece: Piece, item_ids):
  """Returns a table of user, item row (null if unknown) and tag, and the bad rows."""
  columns, lines = piece.rows.columns, piece.rows.lines
  tag = pc.utf8_lower(pc.utf8_trim_whitespace(columns['tag'].fill_null('')))
  bad = [(line, reason, '') for line, reason in piece.rows.bad]
  good = np.ones(len(lines), bool)
  for field, values in (
    ('user', columns['user']),
    ('item', columns['item']),
    ('tag', tag),
  ):
    empty = pc.equal(values.fill_null(''), '').to_numpy(zero_copy_only=False)
    bad += [(line, 'empty_field', field) for line in lines[empty & good].tolist()]
    good &= ~empty
  item = pc.index_in(columns['item'], value_set=item_ids.combine_chunks())
  table = pa.table({'user': columns['user'], 'item': item, 'tag': tag})
  return table.filter(pa.array(good)), bad


def _first_of_each(ranked, num_items):
  """Returns the first tags of each item of a sorted table, list<string> [num_items]."""
  item = ranked['item'].to_numpy()
  place = np.arange(len(item)) - np.searchsorted(item, item)
  first = place < _MOST_TAGS
  splits = np.searchsorted(item[first], np.arange(num_items + 1)).astype(np.int32)
  tags = ranked['tag'].filter(pa.array(first)).combine_chunks()
  return pa.ListArray.from_arrays(pa.array(splits), tags)


def _with_column(table, name, values):
  field = schema.ITEMS.field(name)
  values = values if isinstance(values, pa.Array) else pa.array(values, field.type)
  return table.set_column(table.schema.get_field_index(name), field, values)


def _counts(rows_in, kept, rejects, dropped):
  return {
    'rows_in': rows_in,
    'rows_kept': kept,
    'rows_rejected': len(rejects),
    'rows_dropped': dropped,
  }
