"""Reads text files in which a line such as `1:` names the item of the rows below it.

The files of the Netflix Prize have this form. A line with one value and no colon at its
end is neither a row nor such a line. Nobody knows whose the rows below it are: they are
rejects, up to the next line that names an item.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipelines.events.formats import Format, Layout
from pipelines.events.text_encodings import decode
from pipelines.events.text_rows import ParsedRows, split_lines

UNKNOWN = ''  # no item has this id


def has_item_lines(fmt: Format) -> bool:
  """Tells whether the files of a format name the items in lines of their own."""
  return 'item' in fmt.absent and not fmt.texts_are_items


def split_item_lines(
  data: bytes, layout: Layout, numeric: Sequence[str], item: str
) -> tuple[ParsedRows, str]:
  """Splits lines into columns, with the item of each row as a dictionary column.

  Args:
    data: bytes of whole lines.
    layout: layout of the columns; at least two, so that no row is like a line with an
      item.
    numeric: fields that become float64 [n] if all their values are numbers.
    item: item of the first rows, or `UNKNOWN`.

  Returns:
    (rows, item of the rows that come after them).
  """
  rows = split_lines(data, layout, numeric)
  lines = data.splitlines() if rows.bad else []
  named = {number: _item_of(lines[number], layout.format) for number, _ in rows.bad}
  named = {number: each for number, each in named.items() if each is not None}
  items = [item, *named.values()]
  block = np.searchsorted(np.fromiter(named, np.int64), rows.lines)
  known = (np.array(items, object) != UNKNOWN)[block]
  bad = [(number, reason) for number, reason in rows.bad if not named.get(number)]
  bad += [(number, 'no_item_line') for number in rows.lines[~known].tolist()]
  columns = dict(rows.columns)
  if not known.all():
    kept = pa.array(known)
    columns = {field: column.filter(kept) for field, column in columns.items()}
  codes = pa.array(block[known], pa.int32())
  columns['item'] = pa.DictionaryArray.from_arrays(codes, pa.array(items))
  found = {'columns': columns, 'lines': rows.lines[known], 'bad': bad}
  return rows._replace(**found, item_lines=sum(map(bool, named.values()))), items[-1]


def last_item(data: bytes, fmt: Format) -> str | None:
  """Returns the item of rows that come after some lines; None if no line tells it."""
  items = (_item_of(line, fmt) for line in reversed(data.splitlines()))
  return next((item for item in items if item is not None), None)


def _item_of(line: bytes, fmt: Format) -> str | None:
  """Returns the item that a line names, `UNKNOWN` if it spoils the rows below it.

  Rows and blank lines return None. `last_item` sees no columns: what a line is must
  depend on its own text alone.
  """
  try:
    text = decode(line, fmt.encoding)
  except UnicodeError:
    return None if fmt.delimiter in decode(line, fmt.encoding, 'replace') else UNKNOWN
  if fmt.delimiter in text or not text.strip():
    return None
  name, colon, rest = text.strip().rpartition(':')
  return name.strip() if colon and not rest else UNKNOWN
