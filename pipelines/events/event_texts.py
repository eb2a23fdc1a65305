"""Writes the texts of events: beside their items, or as items where there are none.

What the encoder reads of an event is made from the event's own columns, and perhaps
those of its item. Each distinct text, or combination of texts, has a hash as its id, so
every worker knows the id of a row without a table. Where events have no item, the texts
are the items.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.events.column_values import is_missing
from pipelines.events.formats import Format
from pipelines.events.text_rows import ParsedRows

FIELD = 'field:'  # before the name of a column that only templates know
_DIGEST_BYTES = 10  # two of a million texts have the same hash once in 10^12


class ItemColumns(NamedTuple):
  """Holds columns of the I items that texts of events name.

  Attributes:
    ids: ids of the items, [I] strings.
    columns: name -> [I] strings or lists of strings.
  """

  ids: pa.Array
  columns: Mapping[str, pa.Array]

  def rows(
    self, items: pa.Array, names: Sequence[str]
  ) -> Iterator[dict[str, Any] | None]:
    """Yields columns of items [n], given by their ids; None for an unknown one."""
    place = pc.index_in(items, value_set=self.ids)
    taken = (self.columns[name].take(place).to_pylist() for name in names)
    for known, *values in zip(place.is_valid().to_pylist(), *taken, strict=True):
      yield dict(zip(names, values, strict=True)) if known else None


def named_of_items(formats: Iterable[Format]) -> tuple[str, ...]:
  """Returns the columns of items that texts of events name, each once."""
  named = (
    name
    for fmt in formats
    for text in fmt.texts
    for name in text.fields
    if f'{FIELD}{name}' not in fmt.columns
  )
  return tuple(dict.fromkeys(named))


def text_name(place: int) -> str:
  """Returns the name of a column with texts of events, counted from 0."""
  return f'text_{place + 1}'


def hash_texts(texts: Sequence[str]) -> str:
  """Returns the id of some texts."""
  data = b''.join(b'%d:%s' % (len(x), x) for x in map(str.encode, texts))
  return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()


def add_texts(
  found: ParsedRows, fmt: Format, items: ItemColumns | None = None
) -> ParsedRows:
  """Adds the columns text_1, ... as dictionaries [n], and the id of their texts.

  The id is `item` where texts stand for items, else `text`. It is '' for an event that
  has no text: all of its columns are empty, or its item is unknown.

  Args:
    found: rows of events.
    fmt: format with `texts`.
    items: columns of items that the texts name; None without items.
  """
  names = dict.fromkeys(name for text in fmt.texts for name in text.fields)
  own = [name for name in names if f'{FIELD}{name}' in found.columns]
  columns = [
    found.columns[f'{FIELD}{name}'].cast(pa.string()).fill_null('') for name in own
  ]
  about = [name for name in names if name not in own]
  if about:
    columns.append(found.columns['item'].cast(pa.string()).fill_null(''))
  codes = np.stack([x.dictionary_encode().indices.to_numpy() for x in columns])
  _, first, codes = np.unique(codes, axis=1, return_index=True, return_inverse=True)
  rows = [column.take(pa.array(first)) for column in columns]
  of_items = items.rows(rows.pop(), about) if about else itertools.repeat({})
  always = any(text.has_otherwise for text in fmt.texts)
  written = []
  values_of_rows = zip(*(row.to_pylist() for row in rows), strict=True)
  for values, of_item in zip(values_of_rows, of_items, strict=False):
    known = ('' if is_missing(value) else value.strip() for value in values)
    row = dict(zip(own, known, strict=True))
    # Words around empty columns say nothing of an event, if they are not meant to.
    is_said = of_item is not None and (any(row.values()) or always)
    row |= of_item or {}
    written.append([text.write(row) if is_said else '' for text in fmt.texts])
  key = 'item' if fmt.texts_are_items else 'text'
  made = {key: [hash_texts(texts) if any(texts) else '' for texts in written]}
  for place in range(len(fmt.texts)):
    made[text_name(place)] = [texts[place] for texts in written]
  encoded = {
    name: pa.DictionaryArray.from_arrays(
      pa.array(codes.reshape(-1), pa.int32()), pa.array(texts, pa.string())
    )
    for name, texts in made.items()
  }
  return found._replace(columns={**found.columns, **encoded})
