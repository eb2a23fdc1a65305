"""Finds out whose the columns are that texts name: those of items, events or users.

A name that the items have is theirs; one that the events have is theirs, else it is one
of users.fields.
"""

import dataclasses
import difflib
import logging
from collections.abc import Collection, Mapping, Sequence

from pipelines.common.job import JobError
from pipelines.dataset.dataset import EventFiles, ItemFiles
from pipelines.dataset.table_files import TableFiles, table_format
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


def find_user_columns(
  root: Part, texts: Mapping[Part, TextTemplate], source: EventFiles, has_items: bool
) -> EventFiles:
  """Returns a source of events with the columns of users that its texts name.

  Args:
    root: the dataset file.
    texts: part of each text of the source -> the text.
    source: the source, which knows what its texts name of items.
    has_items: whether events have items; else their texts stand for these.

  Raises:
    JobError: a text that stands for an item names a column of users.
  """
  users, others = root.get('users'), {*source.of_items, *source.columns}
  fields = {x.value for x in users.texts('fields')} if users else set()
  named = {name for text in source.texts for name in text.fields} & fields - others
  named -= _names(root, 'ratings', source) if named else set()
  for part, text in texts.items() if named and not has_items else ():
    for name in named & {*text.fields}:
      part.refuse(
        f'{{{name}}} is a column of users, and the text stands for an item, which is '
        'the same for all users; expected it in a prompt, or items: with their files'
      )
  return dataclasses.replace(source, of_users=tuple(sorted(named)))


def check_event_columns(
  root: Part,
  parts: Sequence[Part],
  source: EventFiles,
  of_items: Collection[str],
) -> None:
  """Checks that items, events or users have each column that texts of events name.

  Args:
    root: the dataset file.
    parts: parts with the texts of the source.
    source: source of events with `texts`.
    of_items: names of the items' columns.

  Raises:
    JobError: none has a column, or no file of the source can be read.
  """
  of_events = _names(root, 'ratings', source)
  users = root.get('users')
  of_users = {x.value for x in users.texts('fields')} if users else set()
  known = {*of_items, *of_events, *of_users}
  for part, text in zip(parts, source.texts, strict=True):
    for name in text.fields:
      if name not in known:
        near = difflib.get_close_matches(name, sorted(known), n=1)
        whose = 'items or events' if of_items else 'the events'
        whose += ', nor in users.fields' if of_users else ''
        others = f'expected one of {sorted(known)}'
        hint = f'did you mean {{{near[0]}}}?' if near else others
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
  with table.explained():
    header = table.header or read_columns(table.files, fmt)
  return frozenset({*header, *table.columns})
