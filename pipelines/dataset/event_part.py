"""Reads what a dataset file says of events, and of the texts that are made of them."""

import logging
from collections.abc import Sequence

from pipelines.dataset.dataset import EventFiles, ItemFiles, texts_of_items
from pipelines.dataset.table_files import ITEM_BLOCKS
from pipelines.dataset.table_part import (
  KEYS,
  check_header,
  read_layout,
  read_table,
  read_time_unit,
)
from pipelines.dataset.yaml_parts import Part
from pipelines.events.rating_scale import RatingScale
from tasks.interaction_texts import VALUE
from tasks.text_templates import TextTemplate, read_template

_LOGGER = logging.getLogger(__name__)
_SAME = ('time', 'value')  # what all sources have, or none


def source_parts(root: Part) -> Sequence[Part]:
  """Returns the parts of the sources of events: one, or a list of them."""
  part = root.need('events', 'the files with one event a row')
  return part.items() if isinstance(part.value, list) else [part]


def read_sources(
  root: Part, items: ItemFiles | None, folder: str
) -> tuple[EventFiles, ...]:
  """Reads the sources of events.

  Args:
    root: the dataset file.
    items: what it says of items; None if texts of events stand for them.
    folder: folder or address that paths start at.

  Raises:
    JobError: a key or value is wrong.
  """
  parts = source_parts(root)
  if not parts:
    root.get('events').refuse('an empty list; expected the files with one event a row')
  sources = tuple(_read_source(root, part, items, folder) for part in parts)
  first = sources[0]
  for source, part in zip(sources, parts, strict=True):
    for role in _SAME:
      if (role in source.columns) != (role in first.columns):
        part.refuse(f'some sources have a {role}; expected it in all, or in none')
    if source.scale != first.scale:
      part.get('scale').refuse(
        f'{source.scale!r}; expected {first.scale!r}, as in the first source'
      )
    if len(source.texts) != len(first.texts):
      (part.get('texts') or part).refuse(
        f'{len(source.texts)} texts; expected {len(first.texts)}, as in the first '
        'source: their vectors stand side by side'
      )
  if len(sources) > 1 and not first.has_time:
    _LOGGER.warning(
      '%s: %d sources of events without a time: all events of a source count as newer '
      'than those of the sources before it',
      root.file,
      len(sources),
    )
  return sources


def _read_source(
  root: Part, part: Part, items: ItemFiles | None, folder: str
) -> EventFiles:
  roles = {'user': 'the column with the id of the user'}
  layout = read_layout(part)
  if items and layout != ITEM_BLOCKS:
    roles['item'] = 'the column with the id of the item'
  keys = 'user', 'item', 'value', 'scale', 'time', 'time_unit', 'layout'
  part.expect(*KEYS, *keys, *(() if items else ('texts',)))
  if not items and (part.get('item') or layout == ITEM_BLOCKS):
    (part.get('item') or part.get('layout')).refuse(
      'there are no items; expected items: with their files, or events without an '
      'item, whose texts stand for it'
    )
  table = read_table(part, folder, roles, ['value', 'time'])
  scale = ''
  if part.get('value'):
    scale = part.text('scale', expected='low:high:step of the values, such as 1:5:1')
    part.get('scale').make(RatingScale.parse, scale)
  elif part.get('scale'):
    part.get('scale').refuse('there is no value: expected a column of events as value')
  texts = () if items else _read_event_texts(root, part)
  about = {'scale': scale, 'time_unit': read_time_unit(part), 'layout': layout}
  source = EventFiles(**table, **about, texts=texts)
  for text in texts:
    if source.header:
      columns = {name: source.column(name) for name in text.fields}
      check_header(source.header, columns, lambda _: part.get('texts') or part)
  return source


def _read_event_texts(root: Part, part: Part) -> tuple[TextTemplate, ...]:
  """Reads the texts of a source: its own, or those of the file but for values."""
  own = part.texts('texts')
  made = [_read_text(text) for text in own or root.texts('texts')]
  texts = tuple(text for text in made if VALUE not in text.fields)
  if len(texts) < len(made) and own:
    part.get('texts').refuse('{value} is a text of all events; expected it in texts')
  if not texts:
    part.refuse('no text of the event; expected texts such as "{review}"')
  return texts


def read_texts(
  root: Part, items: ItemFiles | None, sources: Sequence[EventFiles]
) -> tuple[TextTemplate, ...]:
  """Reads the templates of what the encoder reads of an event.

  Args:
    root: the dataset file.
    items: what it says of items; None if texts of events stand for them.
    sources: the sources of events.

  Raises:
    JobError: a text is wrong, or there is none of the item or of the value.
  """
  found = root.texts('texts')
  has_value = sources[0].has_value
  if not found and (items or has_value):
    root.refuse('no key texts; expected templates such as "The movie {title}"')
  templates = []
  for part in found:
    template = _read_text(part)
    if VALUE in template.fields and not has_value:
      part.refuse('the events have no value; expected a text without {value}')
    if items and VALUE not in template.fields and items.header:
      columns = {name: items.column(name) for name in template.fields}
      check_header(items.header, columns, lambda _, part=part: part)
    _try_template(part, template, items)
    templates.append(template)
  of_values = [text for text in templates if VALUE in text.fields]
  of_items = [text for text in templates if VALUE not in text.fields]
  if items and not of_items:
    root.get('texts').refuse(
      'no text with a column of the item; expected one or more of each'
    )
  if has_value and not of_values:
    root.get('texts').refuse('no text with {value}; expected one or more of each')
  if items:
    return tuple(templates)
  return (*texts_of_items(len(sources[0].texts)), *of_values)


def _read_text(part: Part) -> TextTemplate:
  """Reads a template; a text has columns of the item or event, or the value."""
  template = part.make(read_template, part.value)
  if not template.fields:
    part.refuse(f'{part.value!r} has no field in braces, such as {{title}}')
  if VALUE in template.fields and len(template.fields) > 1:
    others = [name for name in template.fields if name != VALUE]
    part.refuse(
      f'{{value}} beside {others}: a text is of the item or of the value; expected '
      'two texts, whose vectors stand side by side'
    )
  return template


def _try_template(part: Part, template: TextTemplate, items: ItemFiles | None) -> None:
  """Checks that the formats of a template fit the kinds of its columns."""
  lists = items.lists if items else ()
  kinds = {name: ['x'] if name in lists else 'x' for name in template.fields}
  try:
    template.write({**kinds, VALUE: 1.5})
  except (ValueError, TypeError) as error:
    part.refuse(f'{template.source!r}: {error}')
