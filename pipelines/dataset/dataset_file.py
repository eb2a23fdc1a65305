"""Reads a dataset file, which says what the files of a data set are and what is asked.

docs/own_data.md describes the keys. All of them are checked before any other file is
read.
"""

import difflib
import os
import re
from collections.abc import Mapping
from typing import Any

from apache_beam.io.filesystems import FileSystems

from persoma_tf import addresses
from pipelines.common import storage
from pipelines.dataset.dataset import Dataset, EventFiles, HistoryChoice, ItemFiles
from pipelines.dataset.yaml_parts import Part, read_yaml
from pipelines.events import column_values, text_encodings
from pipelines.events.rating_scale import RatingScale
from pipelines.histories.samplers import SAMPLERS
from pipelines.histories.split import Split
from tasks.interaction_texts import VALUE
from tasks.labels import LabelRule
from tasks.questions import Question
from tasks.text_templates import TextTemplate, read_template

_DELIMITERS = {'tab': '\t', r'\t': '\t'}
_QUOTES = ('none', 'double')
_ANSWERS = ('lists',)


def read_dataset(path: str) -> Dataset:
  """Reads and checks a dataset file.

  Args:
    path: path or address of a YAML file. The paths in it start at its own folder, or
      at the one that its key `folder` names.

  Raises:
    JobError: the file cannot be read, or a key or value is wrong.
  """
  with storage.explained(f'--dataset: {path}'), FileSystems.open(path) as file:
    text = file.read().decode('utf-8-sig')
  root = read_yaml(path, text)
  name = root.text('name', expected='a short name of the data set')
  folder = os.path.join(os.path.dirname(path), root.text('folder', ''))
  events = _events(root.need('events', 'the files with one event a row'), folder)
  items = _items(root.need('items', 'the files with one item a row'), folder)
  question, categories, rule = _question(root, items, events)
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
  root.finish()
  return dataset


def _table(part: Part, folder: str, roles: Mapping[str, str]) -> dict[str, Any]:
  """Returns the fields of TableFiles; `roles` are the columns that there must be."""
  files = part.text('files', expected='a path or glob')
  if not addresses.scheme_of(files):
    files = os.path.normpath(os.path.join(folder, files))
  columns = {
    role: part.text(role, expected=expected) for role, expected in roles.items()
  }
  if (more := part.get('columns')) is not None:
    columns |= {name: more.text(name) for name in more.names()}
  quotes = part.get('quotes')
  if quotes is not None and quotes.value not in _QUOTES:
    quotes.refuse(f'{quotes.value!r}; expected one of {list(_QUOTES)}')
  delimiter = part.text('delimiter', ',')
  delimiter = _DELIMITERS.get(delimiter, delimiter)
  if delimiter in ('', '"', '\n', '\r'):
    part.get('delimiter').refuse(f'{delimiter!r}; expected a sign such as ; or tab')
  encoding = part.text('encoding', 'utf-8')
  if not text_encodings.find_encoding(encoding):
    part.get('encoding').refuse(
      f'{encoding!r}; expected an encoding that extends ASCII, such as utf-8 or cp1252'
    )
  header = tuple(column.value for column in part.texts('header'))
  if header:
    named = lambda name: part.get(name) or part.get('columns')
    _check_header(header, columns, named)
  return {
    'files': files,
    'columns': columns,
    'delimiter': delimiter,
    'quotes': quotes.value if quotes else '',
    'encoding': text_encodings.find_encoding(encoding),
    'header': header,
  }


def _check_header(header, columns, part_of) -> None:
  """Checks that columns are in a header.

  Args:
    header: names of the columns of the files.
    columns: name -> name in the files.
    part_of: function from a name to the part that names it.
  """
  for name, column in columns.items():
    if column not in header:
      near = difflib.get_close_matches(column, header, n=1)
      hint = f'; did you mean {near[0]}?' if near else ''
      part_of(name).refuse(f'{column!r} is no column of header {list(header)}{hint}')


def _events(part: Part, folder: str) -> EventFiles:
  table = _table(
    part,
    folder,
    {
      'user': 'the column with the id of the user',
      'item': 'the column with the id of the item',
      'value': 'the column with the rating or another value',
    },
  )
  if time := part.text('time', ''):
    table['columns']['time'] = time
  unit = part.text('time_unit', 's')
  units = (*column_values.TIME_UNITS, column_values.ISO)
  if unit not in units:
    part.get('time_unit').refuse(f'{unit!r}; expected one of {list(units)}')
  scale = part.text('scale', expected='low:high:step of the values, such as 1:5:1')
  _of_value(part.get('scale'), RatingScale.parse, scale)
  part.finish()
  return EventFiles(**table, scale=scale, time_unit=unit)


def _items(part: Part, folder: str) -> ItemFiles:
  table = _table(part, folder, {'item': 'the column with the id of the item'})
  if title := part.text('title', ''):
    table['columns']['title'] = title
  lists = {}
  if (found := part.get('lists')) is not None:
    lists = {name: found.text(name) for name in found.names()}
    for name, separator in lists.items():
      if separator in ('', '"', '\n', '\r'):
        found.get(name).refuse(f'{separator!r}; expected the text between two names')
  no_name = tuple(text.value for text in part.texts('no_name'))
  part.finish()
  return ItemFiles(**table, lists=lists, no_name=no_name)


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
      _check_header(items.header, columns, lambda _, part=part: part)
    templates.append(template)
  return tuple(templates)


def _question(root: Part, items: ItemFiles, events: EventFiles):
  """Returns the question, the column of its categories, and the rule of its labels."""
  several = root.need('questions', 'a list with one question').items()
  if len(several) != 1:
    root.get('questions').refuse(f'{len(several)} questions; expected one')
  part = several[0]
  answer = part.need('answer', f'one of {list(_ANSWERS)}')
  for kind in answer.names():
    if kind not in _ANSWERS:
      answer.get(kind).refuse(f'unknown key; expected one of {list(_ANSWERS)}')
  lists = answer.need('lists', 'of, likes, dislikes, none, most and rule')
  of = lists.text('of', expected='a column that items.lists names')
  if of not in items.lists:
    lists.get('of').refuse(f'{of!r}; expected one of items.lists: {list(items.lists)}')
  words = {key: lists.text(key) for key in ('likes', 'dislikes')}
  words |= {'none': lists.text('none', 'none'), 'most': lists.whole('most', 3)}
  name = part.text('name', expected='such as book_subjects_v1')
  prompt = part.text('prompt', expected='the text before the answer')
  try:
    question = Question(name, prompt, **words)
  except ValueError as error:  # "Question 'x_v1': most=0: expected at least 1"
    key, reason = re.fullmatch(r"Question '.*': ((\w+)=.*)", str(error)).group(2, 1)
    (part.get(key) or lists.get(key)).refuse(reason)
  rule = _rule(lists, events, question.most)
  lists.finish()
  part.finish()
  return question, of, rule


def _rule(lists: Part, events: EventFiles, most: int) -> LabelRule:
  part = lists.need('rule', 'least, liked_above and disliked_below')
  numbers = {key: part.number(key) for key in ('liked_above', 'disliked_below')}
  make = lambda least: LabelRule(least, **numbers, top=most)
  rule = _of_value(part, make, part.whole('least', 3))
  scale = RatingScale.parse(events.scale)
  for key, value in numbers.items():
    if not scale.low <= value <= scale.high:
      part.get(key).refuse(f'{value:g}; expected a mean of values from {scale}')
  part.finish()
  return rule


def _history(root: Part) -> HistoryChoice:
  part = root.get('history')
  if part is None:
    return HistoryChoice()
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
  part.finish()
  return choice


def _split(root: Part) -> Split:
  part = root.get('split')
  if part is None:
    return Split(0.8, 0.1, 1, 0)
  if (by := part.text('by', 'user')) != 'user':
    part.get('by').refuse(f'{by!r}; expected user')
  shares = [part.number(key, 0.0) for key in ('train', 'validation', 'test')]
  if abs(sum(shares) - 1) > 1e-9:
    part.refuse(f'train, validation and test add up to {sum(shares):g}; expected 1')
  make = lambda seed: Split(shares[0], shares[1], 1, seed)
  split = _of_value(part, make, part.whole('seed', 0))
  part.finish()
  return split


def _of_value(part: Part, make, value):
  """Returns what is made of a value; a ValueError becomes the part's own message."""
  try:
    return make(value)
  except ValueError as error:
    part.refuse(str(error))
