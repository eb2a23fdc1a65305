"""Reads what a dataset file says of events, and of the texts that are made of them."""

import logging
from collections.abc import Collection, Sequence

from pipelines.dataset.dataset import EventFiles
from pipelines.dataset.table_files import ITEM_BLOCKS, ItemFiles
from pipelines.dataset.table_part import (
  KEYS,
  read_layout,
  read_table,
  read_time_unit,
)
from pipelines.dataset.text_columns import (
  check_event_columns,
  find_user_columns,
  is_of_event,
)
from pipelines.dataset.yaml_parts import Part
from pipelines.events.event_texts import text_name
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
  root: Part,
  items: ItemFiles | None,
  of_items: Collection[str] | None,
  folder: str,
) -> tuple[EventFiles, ...]:
  """Reads the sources of events.

  Args:
    root: the dataset file.
    items: what it says of items; None if texts of events stand for them.
    of_items: names of the items' columns; None if they are not known.
    folder: folder or address that paths start at.

  Raises:
    JobError: a key or value is wrong.
  """
  parts = source_parts(root)
  if not parts:
    root.get('events').refuse('an empty list; expected the files with one event a row')
  about = items, of_items, folder
  sources = tuple(_read_source(root, part, *about) for part in parts)
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
  root: Part,
  part: Part,
  items: ItemFiles | None,
  of_items: Collection[str] | None,
  folder: str,
) -> EventFiles:
  roles = {'user': 'the column with the id of the user'}
  layout = read_layout(part)
  if items and layout != ITEM_BLOCKS:
    roles['item'] = 'the column with the id of the item'
  keys = 'user', 'item', 'value', 'scale', 'time', 'time_unit', 'layout', 'texts'
  part.expect(*KEYS, *keys)
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
  about = {'scale': scale, 'time_unit': read_time_unit(part), 'layout': layout}
  if of_items:  # a name that the source gives itself is that of the event
    of_items = frozenset(of_items) - table['columns'].keys()
  made = _read_event_texts(root, part, items, of_items)
  texts = tuple(made.values())
  named = {name: None for text in texts for name in text.fields if name in of_items}
  source = EventFiles(**table, **about, texts=texts, of_items=tuple(named))
  source = find_user_columns(root, made, source, bool(items))
  if texts and (items or source.header):  # else told where files are found
    check_event_columns(root, [*made], source, of_items)
  if not (texts or items):
    part.refuse('no text of the event; expected texts such as "{review}"')
  return source


def _read_event_texts(
  root: Part, part: Part, items: ItemFiles | None, of_items: Collection[str] | None
) -> dict[Part, TextTemplate]:
  """Reads the texts of a source: its own, or those of the file that are of events."""
  own = part.texts('texts')
  made = {text: _read_text(text, items) for text in own or root.texts('texts')}
  for text, template in made.items() if own else ():
    if VALUE in template.fields:
      text.refuse('{value} is a text of all events; expected it in texts')
    if of_items is not None and not is_of_event(template, of_items):
      text.refuse('no column of these events; expected a text of items in texts')
  return {part: text for part, text in made.items() if is_of_event(text, of_items)}


def read_texts(
  root: Part,
  items: ItemFiles | None,
  of_items: Collection[str] | None,
  sources: Sequence[EventFiles],
) -> tuple[TextTemplate, ...]:
  """Reads the templates of what the encoder reads of an item, and of a value.

  Args:
    root: the dataset file.
    items: what it says of items; None if texts of events stand for them.
    of_items: names of the items' columns; None if they are not known.
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
    template = _read_text(part, items)
    if VALUE in template.fields and not has_value:
      part.refuse('the events have no value; expected a text without {value}')
    templates.append(template)
  of_values = [text for text in templates if VALUE in text.fields]
  of_events = [text for text in templates if is_of_event(text, of_items)]
  if items and len(of_values) + len(of_events) == len(templates):
    root.get('texts').refuse(
      'no text with a column of the item; expected one or more of each'
    )
  if has_value and not of_values:
    root.get('texts').refuse('no text with {value}; expected one or more of each')
  if items:
    return tuple(text for text in templates if text not in of_events)
  names = map(text_name, range(len(sources[0].texts)))
  return (*(read_template(f'{{{name}}}') for name in names), *of_values)


def _read_text(part: Part, items: ItemFiles | None) -> TextTemplate:
  """Reads a template, over columns of the item and event, or over the value."""
  template = part.make(read_template, part.value)
  if not template.fields:
    part.refuse(f'{part.value!r} has no field in braces, such as {{title}}')
  if VALUE in template.fields and len(template.fields) > 1:
    others = [name for name in template.fields if name != VALUE]
    part.refuse(
      f'{{value}} beside {others}: a text is of the item or event, or of the value; '
      "expected two texts, whose vectors stand side by side, or the value's own column"
    )
  lists = items.lists if items else ()
  kinds = {name: ['x'] if name in lists else 'x' for name in template.fields}
  try:
    template.write({**kinds, VALUE: 1.5})
  except (ValueError, TypeError) as error:  # a format that does not fit
    part.refuse(f'{template.source!r}: {error}')
  return template
