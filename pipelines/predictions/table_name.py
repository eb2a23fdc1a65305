"""The name of a table in BigQuery."""

from __future__ import annotations

import re
from typing import NamedTuple

# As BigQuery allows them. No decorator such as $20260101: a row's day decides.
_TABLE = re.compile(
  r'((?:[a-z0-9-]+\.[a-z0-9.-]+:)?[a-z][a-z0-9-]*)[:.]'
  r'([A-Za-z0-9_]{1,1024})\.([\w -]{1,1024})'
)


class TableName(NamedTuple):
  """Names a table by project, dataset and table."""

  project: str
  dataset: str
  table: str

  @classmethod
  def parse(cls, text: str) -> TableName:
    """Reads `project:dataset.table` or `project.dataset.table`.

    Raises:
      ValueError: the text names no table.
    """
    found = _TABLE.fullmatch(text)
    if not found:
      raise ValueError(
        f'--bigquery_table={text!r}: expected project:dataset.table or '
        'project.dataset.table'
      )
    return cls(*found.groups())
