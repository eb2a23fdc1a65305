"""Recognizes the files of a table: `<table>-<number>-of-<total><ending>`.

Numbers have five digits, or more where a table has more files. Only the whole name of a
file within its folder decides: a folder may be called `predictions-v1`, and a temporary
file, or a copy in a folder within, is no part of the table.
"""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

_NAME = re.compile(r'(.+)-(\d{5,})-of-(\d{5,})((?:\.\w+)*)')
HISTORY_ENDINGS = ('.tfrecord', '.tfrecord.gz')


class ShardFile(NamedTuple):
  """Holds the parts of a name; files sort by table, then by number.

  Attributes:
    table: text before the numbers, such as 'train' or 'predictions'.
    number: number of the file, counted from 0.
    total: number of files of the table.
    ending: '' or a text such as '.tfrecord.gz'.
  """

  table: str
  number: int
  total: int
  ending: str


def parse_shard(name: str) -> ShardFile | None:
  """Returns the parts of a file name; None if it is not the name of a table's file."""
  match = _NAME.fullmatch(name)
  return match and ShardFile(match[1], int(match[2]), int(match[3]), match[4])


def shard_files(
  names: Iterable[str], tables: Collection[str], endings: Collection[str]
) -> list[str]:
  """Returns the names of the files of some tables, in the order of their numbers.

  Args:
    names: paths of files within their folder.
    tables: names of the tables.
    endings: endings that the files may have.
  """
  found = {name: shard for name in names if (shard := parse_shard(name))}
  return sorted(
    (name for name, x in found.items() if x.table in tables and x.ending in endings),
    key=found.get,
  )
