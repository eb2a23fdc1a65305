"""Reads a dataset file, which says what the files of a data set are and what is asked.

docs/own_data.md describes the keys. All of them are checked before any other file is
read.
"""

import difflib
import os
import re

from apache_beam.io.filesystems import FileSystems

from persoma_tf import addresses
from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.dataset.dataset import Dataset, EventFiles, HistoryChoice, ItemFiles
from pipelines.dataset.table_part import (
  ITEM_BLOCKS,
  KEYS,
  check_header,
  join_place,
  read_layout,
  read_separator,
  read_table,
)
from pipelines.dataset.yaml_parts import Part, read_yaml
from pipelines.events import column_values
from pipelines.events.rating_scale import RatingScale
from pipelines.histories.samplers import SAMPLERS
from pipelines.histories.split import Split
from tasks.interaction_texts import VALUE
from tasks.labels import LabelRule
from tasks.questions import Question
from tasks.text_templates import TextTemplate, read_template

_KEYS = ('name', 'license', 'folder', 'events', 'items', 'texts', 'history')
_KEYS += ('questions', 'split')
_ANSWERS = ('lists',)


def read_dataset(path: str) -> Dataset:
  """Reads and checks a dataset file.

  Args:
    path: path or address of a YAML file. The paths in it start at its own folder, or
      at the one that its key `folder` names.

  Raises:
    JobError: the file cannot be read, or a key or value is wrong.
  """
  path = addresses.local_path(path)
  with storage.explained(f'--dataset: {path}'), FileSystems.open(path) as file:
    data = file.read()
  try:
    root = read_yaml(path, data.decode('utf-8-sig'))
  except UnicodeDecodeError as error:
    raise JobError(
      f'{path} is not UTF-8 ({error.reason} at byte {error.start})'
    ) from None
  root.expect(*_KEYS)
  name = root.text('name', expected='a short name of the data set')
  folder = join_place(os.path.dirname(path), root.text('folder', '.'))
  events = _sources(root.need('events', 'the files with one event a row'), folder)
  items = _items(root.need('items', 'the files with one item a row'), folder)
  question, categories, rule = _question(root, items, events[0])
  dataset = Dataset(
    path,
    name,
    events,
    items,
    _texts(root, items),
    _history(root),
    question,
    categories,
    rule,
    _split(root),
    root.text('license', ''),
  )
  _check_names(root, dataset)
  return dataset


def _sources(part: Part, folder: str) -> tuple[EventFiles, ...]:
  """Reads the sources of events: one, or a list of them."""
  parts = part.items() if isinstance(part.value, list) else [part]
  sources = tuple(_events(source, folder) for source in parts)
  if not sources:
    part.refuse('an empty list; expected the files with one event a row')
  first = sources[0]
  for source, of_source in zip(sources, parts, strict=True):
    if source.scale != first.scale:
      of_source.get('scale').refuse(
        f'{source.scale!r}; expected {first.scale!r}, as in the first source'
      )
    if source.has_time != first.has_time:
      of_source.refuse('some sources have a time; expected it in all, or in none')
  return sources


def _events(part: Part, folder: str) -> EventFiles:
  roles = {
    'user': 'the column with the id of the user',
    'item': 'the column with the id of the item',
    'value': 'the column with the rating or another value',
  }
  part.expect(*KEYS, *roles, 'time', 'time_unit', 'scale', 'layout')
  layout = read_layout(part)
  if layout == ITEM_BLOCKS:
    del roles['item']
  table = read_table(part, folder, roles, ['time'])
  unit = part.text('time_unit', 's')
  units = (*column_values.TIME_UNITS, column_values.ISO)
  if unit not in units:
    part.get('time_unit').refuse(f'{unit!r}; expected one of {list(units)}')
  if part.get('time_unit') and not part.get('time'):
    part.get('time_unit').refuse(
      'there is no time: expected a column of events as time'
    )
  scale = part.text('scale', expected='low:high:step of the values, such as 1:5:1')
  _of_value(part.get('scale'), RatingScale.parse, scale)
  return EventFiles(**table, scale=scale, time_unit=unit, layout=layout)


def _items(part: Part, folder: str) -> ItemFiles:
  roles = {'item': 'the column with the id of the item'}
  part.expect(*KEYS, *roles, 'title', 'lists', 'no_name')
  table = read_table(part, folder, roles, ['title'])
  lists, found = {}, part.get('lists')
  for name in found.names() if found else ():
    lists[name] = read_separator(found, name)
    if table['header']:
      check_header(table['header'], {name: table['columns'].get(name, name)}, found.get)
  for text in part.texts('no_name'):
    if '|' in text.value:
      text.refuse(f'{text.value!r}; expected a text without |')
  no_name = tuple(text.value for text in part.texts('no_name'))
  return ItemFiles(**table, lists=lists, no_name=no_name)


def _check_names(root: Part, dataset: Dataset) -> None:
  """Checks that something uses each of the names under `columns`."""
  events, of_items = root.get('events'), {*dataset.item_columns(), *dataset.items.lists}
  sources = events.value if isinstance(events.value, list) else [events]
  tables = [(source, set()) for source in sources]
  for part, used in (*tables, (root.get('items'), {*of_items, 'title'})):
    values = (part.get(role).value for role in part.names() if role not in KEYS)
    used |= {value for value in values if isinstance(value, str)}
    found = part.get('columns')
    for name in found.names() if found else ():
      if name not in used:
        near = difflib.get_close_matches(name, used, n=1)
        hint = f'; did you mean {near[0]}?' if near else ''
        found.get(name).refuse(f'nothing uses this name{hint}')


def _texts(root: Part, items: ItemFiles) -> tuple[TextTemplate, ...]:
  """Reads the templates; a text has columns of the item, or the value of the event."""
  found = root.texts('texts')
  if not found:
    root.refuse('no key texts; expected templates such as "The movie {title}"')
  templates = []
  for part in found:
    template = _of_value(part, read_template, part.value)
    if not template.fields:
      part.refuse(f'{part.value!r} has no field in braces, such as {{title}}')
    if VALUE in template.fields and len(template.fields) > 1:
      others = [name for name in template.fields if name != VALUE]
      part.refuse(
        f'{{value}} beside {others}: a text is of the item or of the value; expected '
        'two texts, whose vectors stand side by side'
      )
    if items.header and VALUE not in template.fields:
      columns = {name: items.column(name) for name in template.fields}
      check_header(items.header, columns, lambda _, part=part: part)
    _try_template(part, template, items)
    templates.append(template)
  for of_value, what in ((False, 'a column of the item'), (True, '{value}')):
    if not any((VALUE in template.fields) == of_value for template in templates):
      root.get('texts').refuse(f'no text with {what}; expected one or more of each')
  return tuple(templates)


def _try_template(part: Part, template: TextTemplate, items: ItemFiles) -> None:
  """Checks that the formats of a template fit the kinds of its columns."""
  kinds = {name: ['x'] if name in items.lists else 'x' for name in template.fields}
  try:
    template.write({**kinds, VALUE: 1.5})
  except (ValueError, TypeError) as error:
    part.refuse(f'{template.source!r}: {error}')


def _question(root: Part, items: ItemFiles, events: EventFiles):
  """Returns the question, the column of its categories, and the rule of its labels."""
  several = root.need('questions', 'a list with one question').items()
  if len(several) != 1:
    root.get('questions').refuse(f'{len(several)} questions; expected one')
  part = several[0]
  part.expect('name', 'prompt', 'answer')
  answer = part.need('answer', f'one of {list(_ANSWERS)}')
  answer.expect(*_ANSWERS)
  lists = answer.need('lists', 'of, likes, dislikes, none, most and rule')
  lists.expect('of', 'likes', 'dislikes', 'none', 'most', 'rule')
  of = lists.text('of', expected='a column that items.lists names')
  if of not in items.lists:
    lists.get('of').refuse(f'{of!r}; expected one of items.lists: {list(items.lists)}')
  words = {key: lists.text(key) for key in ('likes', 'dislikes')}
  words |= {'none': lists.text('none', 'none'), 'most': lists.whole('most', 3)}
  name = part.text('name', expected='a name such as book_subjects_v1')
  prompt = part.text('prompt', expected='the text before the answer')
  try:
    question = Question(name, prompt, **words)
  except ValueError as error:  # "Question 'x_v1': most=0: expected at least 1"
    said = re.search(r': ((name|prompt|likes|dislikes|none|most)=.*)', str(error), re.S)
    where = part.get(said[2]) or lists.get(said[2]) if said else part
    where.refuse(said[1] if said else str(error))
  return question, of, _rule(lists, events, question.most)


def _rule(lists: Part, events: EventFiles, most: int) -> LabelRule:
  part = lists.need('rule', 'least, liked_above and disliked_below')
  part.expect('least', 'liked_above', 'disliked_below')
  numbers = {key: part.number(key) for key in ('liked_above', 'disliked_below')}
  make = lambda least: LabelRule(least, **numbers, top=most)
  rule = _of_value(part, make, part.whole('least', 3))
  scale = RatingScale.parse(events.scale)
  for key, value in numbers.items():
    if not scale.low <= value <= scale.high:
      part.get(key).refuse(f'{value:g}; expected a mean of values from {scale}')
  return rule


def _history(root: Part) -> HistoryChoice:
  part = root.get('history')
  if part is None:
    return HistoryChoice()
  part.expect('sampler', 'most', 'least', 'query')
  sampler = part.text('sampler', 'recency')
  usable = [name for name, each in SAMPLERS.items() if each.needs != 'vectors']
  if sampler not in usable:
    near = difflib.get_close_matches(sampler, usable, n=1)
    hint = f'did you mean {near[0]}?' if near else f'expected one of {usable}'
    part.get('sampler').refuse(f'{sampler!r}; {hint}')
  choice = HistoryChoice(
    sampler, part.whole('most', 50), part.whole('least', 1), part.text('query', '')
  )
  for key in ('most', 'least'):
    if getattr(choice, key) < 1:
      part.get(key).refuse(f'{getattr(choice, key)}; expected at least 1')
  if choice.query and SAMPLERS[sampler].needs != 'relevance':
    part.get('query').refuse(f'the sampler {sampler} has no use for it')
  return choice


def _split(root: Part) -> Split:
  part = root.get('split')
  if part is None:
    return Split(0.8, 0.1, 1, 0)
  part.expect('by', 'train', 'validation', 'test', 'seed')
  if (by := part.text('by', 'user')) != 'user':
    part.get('by').refuse(f'{by!r}; expected user')
  shares = [part.number(key, 0.0) for key in ('train', 'validation', 'test')]
  if abs(sum(shares) - 1) > 1e-9:
    part.refuse(f'train, validation and test add up to {sum(shares):g}; expected 1')
  make = lambda seed: Split(shares[0], shares[1], 1, seed)
  return _of_value(part, make, part.whole('seed', 0))


def _of_value(part: Part, make, value):
  """Returns what is made of a value; a ValueError becomes the part's own message."""
  try:
    return make(value)
  except ValueError as error:
    part.refuse(str(error))
