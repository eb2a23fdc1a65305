"""Gives events the texts that name columns of their users.

A worker that reads events does not know their users' columns. It gives each event a row
number of what it says itself; where the events and columns of some users are together,
each event gets the row number of its text.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.events.shuffle import RATINGS_AND_TEXTS
from pipelines.events.text_ids import check_found, event_ids, hash_texts


class UserColumns(NamedTuple):
  """Holds columns of users that prompts and texts name.

  Attributes:
    ids: [U] user ids.
    columns: name -> [U] strings.
    repeated: number of rows that were left out, since they repeat a user.
  """

  ids: pa.Array
  columns: dict[str, pa.Array]
  repeated: int = 0

  def of_users(self, users: pa.Array, name: str) -> pa.Array:
    """Returns a column [n] for users [n]; '' for users without a row."""
    place = pc.index_in(users, value_set=self.ids)
    return self.columns[name].take(place).fill_null('')

  def rows(self, users: pa.Array, names: Sequence[str]) -> list[dict[str, str]]:
    """Returns some columns of users [n]."""
    columns = (self.of_users(users, name).to_pylist() for name in names)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


class UserTexts(NamedTuple):
  """Holds what must be known to find the texts of events.

  Attributes:
    names: columns of users that the texts name.
    ids: ids [T] of the table of event texts.
  """

  names: tuple[str, ...]
  ids: pa.Array

  def find(self, ratings: pa.Table, users: UserColumns) -> pa.Table:
    """Returns events with the rows of their texts in the table.

    Args:
      ratings: [n] events as `shuffle.unpack` returns them; `text` is a row of
        `event_ids`.
      users: columns of their users.

    Raises:
      JobError: a text is not in the table.
    """
    if not ratings.num_rows:
      return ratings
    user, text = (ratings[name].combine_chunks() for name in ('user', 'text'))
    of_users = users.rows(user.dictionary, self.names)
    hashes = pa.array([hash_texts([*row.values()]) for row in of_users], pa.string())
    said = event_ids(self.ids).take(text)
    ids = pc.binary_join_element_wise(said, hashes.take(user.indices), '')
    found = check_found(pc.index_in(ids, value_set=self.ids))
    place = ratings.schema.get_field_index('text')
    return ratings.set_column(place, RATINGS_AND_TEXTS.field('text'), found)
