"""Writes the texts of events: beside their items, or as items where there are none.

What the encoder reads of an event is made from the event's own columns, and perhaps
those of its item. Each distinct text, or combination of texts, has a hash as its id, so
every worker knows the id of a row without a table. Where events have no item, the texts
are the items.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.events.column_values import is_missing
from pipelines.events.formats import Format
from pipelines.events.text_ids import hash_texts
from pipelines.events.text_rows import ParsedRows
from pipelines.events.user_texts import UserColumns

FIELD = 'field:'  # before the name of a column that only templates know


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
    if f'{FIELD}{name}' not in fmt.columns and name not in fmt.of_users
  )
  return tuple(dict.fromkeys(named))


def text_name(place: int) -> str:
  """Returns the name of a column with texts of events, counted from 0."""
  return f'text_{place + 1}'


class _Said(NamedTuple):
  """Holds what distinct events say, apart from their users' columns.

  Attributes:
    own: column of the event -> its text.
    of_item: column of its item -> value; None for an unknown item.
  """

  own: dict[str, str]
  of_item: dict[str, Any] | None

  def texts(self, fmt: Format, of_user: Mapping[str, str]) -> list[str]:
    """Writes the texts; '' where there is nothing to say."""
    if self.of_item is None:
      return [''] * len(fmt.texts)
    # Words around empty columns say nothing of an event, if they are not meant to.
    always = any(self.own.values()) or any(text.has_otherwise for text in fmt.texts)
    row = {**of_user, **self.own, **self.of_item}
    return [
      text.write(row) if always or any(map(of_user.get, text.fields)) else ''
      for text in fmt.texts
    ]

  def hashed(self, fmt: Format) -> str:
    """Returns the id of what is said, without its user."""
    values = map(repr, (*self.own.values(), self.of_item))
    return hash_texts([*(text.source for text in fmt.texts), *values])


def add_texts(
  found: ParsedRows, fmt: Format, items: ItemColumns | None = None
) -> ParsedRows:
  """Adds the columns text_1, ... as dictionaries [n], and the id of their texts.

  The id is `item` where texts stand for items, else `text`. It is '' for an event that
  has no text: all of its columns are empty, or its item is unknown. Where texts name
  columns of users, only the id of what the event itself says is added.

  Args:
    found: rows of events.
    fmt: format with `texts`.
    items: columns of items that the texts name; None without items.
  """
  codes, said = _distinct(found, fmt, items)
  if fmt.of_users:
    made = {'text': [each.hashed(fmt) for each in said]}
  else:
    written = [each.texts(fmt, {}) for each in said]
    key = 'item' if fmt.texts_are_items else 'text'
    made = {key: [hash_texts(texts) if any(texts) else '' for texts in written]}
    for place in range(len(fmt.texts)):
      made[text_name(place)] = [texts[place] for texts in written]
  encoded = {
    name: pa.DictionaryArray.from_arrays(
      pa.array(codes, pa.int32()), pa.array(texts, pa.string())
    )
    for name, texts in made.items()
  }
  return found._replace(columns={**found.columns, **encoded})


def texts_of_users(
  found: ParsedRows, fmt: Format, items: ItemColumns, users: UserColumns
) -> dict[str, list[str]]:
  """Returns the texts of events that name columns of users, by their ids.

  Args:
    found: rows of events.
    fmt: format with `texts` and `of_users`.
    items: columns of items that the texts name.
    users: columns of users.
  """
  codes, said = _distinct(found, fmt, items)
  events = [each.hashed(fmt) for each in said]
  user = found.columns['user'].cast(pa.string()).fill_null('').dictionary_encode()
  of_users = users.rows(user.dictionary, fmt.of_users)
  hashes = [hash_texts([*row.values()]) for row in of_users]
  pairs = np.unique(np.stack([codes, user.indices.to_numpy()]), axis=1)
  return {
    f'{events[code]}{hashes[place]}': said[code].texts(fmt, of_users[place])
    for code, place in pairs.T.tolist()
  }


def _distinct(found: ParsedRows, fmt: Format, items: ItemColumns | None):
  """Returns what distinct events say, and the place [n] of each event among them."""
  names = dict.fromkeys(name for text in fmt.texts for name in text.fields)
  own = [name for name in names if f'{FIELD}{name}' in found.columns]
  columns = [
    found.columns[f'{FIELD}{name}'].cast(pa.string()).fill_null('') for name in own
  ]
  about = [name for name in names if name not in (*own, *fmt.of_users)]
  if about:
    columns.append(found.columns['item'].cast(pa.string()).fill_null(''))
  codes = [x.dictionary_encode().indices.to_numpy() for x in columns]
  codes = np.stack(codes or [np.zeros(len(found.lines), np.int32)])
  _, first, codes = np.unique(codes, axis=1, return_index=True, return_inverse=True)
  rows = [column.take(pa.array(first)) for column in columns]
  of_items = items.rows(rows.pop(), about) if about else ({} for _ in first)
  lists, said = [row.to_pylist() for row in rows], []
  values_of_rows = zip(*lists, strict=True) if lists else itertools.repeat(())
  for values, of_item in zip(values_of_rows, of_items, strict=False):
    known = ('' if is_missing(value) else value.strip() for value in values)
    said.append(_Said(dict(zip(own, known, strict=True)), of_item))
  return codes.reshape(-1), said
