"""Finds out whose the columns are that texts name: those of items, or of events.

A name that the items have is theirs, any other is the event's.
"""

import difflib
import logging
from collections.abc import Collection, Sequence

from pipelines.common.job import JobError
from pipelines.dataset.dataset import EventFiles, ItemFiles, table_format
from pipelines.dataset.table_files import TableFiles
from pipelines.dataset.yaml_parts import Part
from pipelines.events.input_files import read_columns
from tasks.interaction_texts import VALUE
from tasks.text_templates import TextTemplate

_LOGGER = logging.getLogger(__name__)


def names_of_items(root: Part, items: ItemFiles | None) -> Collection[str] | None:
  """Returns the names of the items' columns, none without items.

  It is None if their files cannot be read, which is told where all files are found.
  """
  try:
    return _names(root, 'movies', items) if items else frozenset()
  except JobError:
    return None


def is_of_event(text: TextTemplate, of_items: Collection[str] | None) -> bool:
  """Tells whether a text is written for each event, and not for an item or a value."""
  of_item = of_items is None or {*text.fields} <= {*of_items}
  return VALUE not in text.fields and not of_item


def check_event_columns(
  root: Part,
  parts: Sequence[Part],
  source: EventFiles,
  of_items: Collection[str],
) -> None:
  """Checks that items or events have each column that texts of events name.

  Args:
    root: the dataset file.
    parts: parts with the texts of the source.
    source: source of events with `texts`.
    of_items: names of the items' columns.

  Raises:
    JobError: neither has a column, or no file of the source can be read.
  """
  of_events = _names(root, 'ratings', source)
  users = root.get('users')
  of_users = {x.value for x in users.texts('fields')} if users else ()
  for part, text in zip(parts, source.texts, strict=True):
    for name in text.fields:
      if name in of_users and name not in (*of_items, *of_events):
        part.refuse(f'{{{name}}} is a column of users, which only prompts can name')
      if name not in of_items and name not in of_events:
        near = difflib.get_close_matches(name, [*of_items, *of_events], n=1)
        whose = 'items or events' if of_items else 'the events'
        known = f'expected one of {sorted({*of_items, *of_events})}'
        hint = f'did you mean {{{near[0]}}}?' if near else known
        part.refuse(f'{{{name}}} is no column of {whose}; {hint}')
      if name in of_items and name in of_events and name not in source.columns:
        _LOGGER.info(
          '%s: {%s} is the column of the items; columns, under events, can give '
          'another name to that of the events',
          root.file,
          name,
        )


def _names(root, kind: str, table: TableFiles) -> frozenset[str]:
  """Returns the names that templates can use; reads the first file's header."""
  fmt = table_format(root.file, kind, table, {})
  header = table.header or read_columns(table.files, fmt)
  return frozenset({*header, *table.columns})
