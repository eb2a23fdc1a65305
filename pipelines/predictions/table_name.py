"""Parses what names a table in BigQuery, and the rows of a run in it."""

from __future__ import annotations

import re
from typing import NamedTuple

# Names that BigQuery allows, without a decorator such as $20260101: the day of a row
# decides its partition.
_TABLE = re.compile(
  r'((?:[a-z0-9-]+\.[a-z0-9.-]+:)?[a-z][a-z0-9-]*)[:.]'
  r'([A-Za-z0-9_]{1,1024})\.([\w -]{1,1024})'
)

# Letters of every script, but no quote, backslash or control character: people paste
# the id into queries and commands.
_RUN_ID = re.compile(r'[\w.:/@+ -]{0,256}')


def check_run_id(run_id: str) -> None:
  """Checks a value of the column run_id.

  Raises:
    ValueError: the id has characters that have a meaning in queries and commands.
  """
  if not _RUN_ID.fullmatch(run_id):
    raise ValueError(
      f'run_id={run_id!r}: expected at most 256 letters, digits, blanks and characters '
      'of . : / @ + _ -'
    )


def table_of(table: str, question: str) -> str:
  """Returns the name of a question's own table.

  Kinds of answers have different columns, so each question gets a table.

  Args:
    table: name of the table, as `TableName.parse` reads it.
    question: name of the question; '' for the only one, which needs no other name.
  """
  return f'{table}_{question}' if question else table


class TableName(NamedTuple):
  """Names a table by project, dataset and table."""

  project: str
  dataset: str
  table: str

  @classmethod
  def parse(cls, text: str) -> TableName:
    """Reads `project:dataset.table` or `project.dataset.table`.

    Raises:
      ValueError: the text is not the name of a table.
    """
    match = _TABLE.fullmatch(text)
    if not match:
      raise ValueError(
        f'--bigquery_table={text!r}: expected project:dataset.table or '
        'project.dataset.table'
      )
    return cls(*match.groups())
