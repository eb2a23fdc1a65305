"""Reads a dataset file, which says what the files of a data set are and what is asked.

docs/dataset_file.md describes the keys. All of them are checked before a row is read;
of other files only headers are read, to find the columns that texts name.
"""

import difflib
import os

from apache_beam.io.filesystems import FileSystems

from persoma_tf import addresses
from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.dataset.asked_questions import AskedExamples
from pipelines.dataset.dataset import Dataset, HistoryChoice
from pipelines.dataset.event_part import read_sources, read_texts, source_parts
from pipelines.dataset.example_part import read_example_split, read_user_files
from pipelines.dataset.question_part import KnownTables, read_questions
from pipelines.dataset.table_files import ItemFiles
from pipelines.dataset.table_part import (
  KEYS,
  check_header,
  join_place,
  read_separator,
  read_table,
)
from pipelines.dataset.text_columns import names_of_items
from pipelines.dataset.yaml_parts import Part, read_yaml
from pipelines.examples.example_plan import ExampleSplit
from pipelines.histories.samplers import SAMPLERS
from pipelines.histories.split import Split

_KEYS = ('name', 'license', 'folder', 'events', 'items', 'users', 'texts', 'history')
_KEYS += ('questions', 'split')


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
  items = _items(root.get('items'), folder) if root.get('items') else None
  of_items = names_of_items(root, items)
  events = read_sources(root, items, of_items, folder)
  example_split = read_example_split(root.get('split'))
  users = read_user_files(root.get('users'), folder)
  known = KnownTables(events[0], items, of_items, users)
  questions = read_questions(root, known, example_split, folder)
  dataset = Dataset(
    path,
    name,
    events,
    items,
    read_texts(root, items, of_items, events),
    _history(root),
    questions,
    _split(root, example_split),
    example_split,
    root.text('license', ''),
    users,
  )
  _check_names(root, dataset)
  _check_sampler(root, dataset)
  return dataset


def _items(part: Part, folder: str) -> ItemFiles:
  roles = {'item': 'the column with the id of the item'}
  part.expect(*KEYS, *roles, 'title', 'lists', 'no_name', 'categories')
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
  categories = part.text('categories', '')
  if categories and categories not in lists:
    near = difflib.get_close_matches(categories, lists, n=1)
    hint = f'; did you mean {near[0]}?' if near else ''
    part.get('categories').refuse(
      f'{categories!r}; expected one of items.lists: {list(lists)}{hint}'
    )
  about = {'lists': lists, 'no_name': no_name, 'categories': categories}
  return ItemFiles(**table, **about)


def _check_names(root: Part, dataset: Dataset) -> None:
  """Checks that something uses each of the names under `columns`."""
  tables = [
    (part, {name for text in source.texts for name in text.fields})
    for part, source in zip(source_parts(root), dataset.events, strict=True)
  ]
  if dataset.items:
    of_items = {*dataset.item_columns(), *dataset.items.lists, 'title'}
    tables.append((root.get('items'), of_items))
  if dataset.users:
    tables.append((root.get('users'), {*dataset.users.fields}))
    named = {
      name for asked in dataset.about_examples for name in asked.plan.user_fields
    }
    named |= {name for source in dataset.events for name in source.of_users}
    for field in dataset.users.fields:
      if field not in named:
        root.get('users').get('fields').refuse(f'no prompt or text names {field!r}')
  for part, asked in zip(root.get('questions').items(), dataset.questions, strict=True):
    if isinstance(asked, AskedExamples) and asked.files:
      answer = {asked.plan.answer.column} if asked.plan.answer else set()
      tables.append((part.get('examples'), {*asked.plan.fields, *answer}))
  for part, used in tables:
    values = (part.get(role).value for role in part.names() if role not in KEYS)
    used |= {value for value in values if isinstance(value, str)}
    found = part.get('columns')
    for name in found.names() if found else ():
      if name not in used:
        near = difflib.get_close_matches(name, used, n=1)
        hint = f'; did you mean {near[0]}?' if near else ''
        found.get(name).refuse(f'nothing uses this name{hint}')


def _check_sampler(root: Part, dataset: Dataset) -> None:
  """Checks that a sampler uses nothing that comes after the examples."""
  sampler = dataset.history.sampler
  if not dataset.items and SAMPLERS[sampler].needs == 'relevance':
    root.get('history').get('sampler').refuse(
      f'{sampler} compares all texts of the data set, and here these are of events, '
      'also later ones; expected another sampler'
    )
  if not dataset.lists and sampler == 'sparse_retrieval' and not dataset.history.query:
    root.get('history').refuse(
      f'no key query; expected the words that {sampler} looks for, as there is no '
      'question with lists whose categories they could be'
    )
  if dataset.about_examples and dataset.ranks and SAMPLERS[sampler].needs == 'counts':
    root.get('history').get('sampler').refuse(
      f'{sampler} counts events before the first example, and the events have no time; '
      'expected another sampler'
    )


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


def _split(root: Part, of_examples: ExampleSplit) -> Split:
  """Reads the division of users; all of them train where examples are divided."""
  part = root.get('split')
  if part is None:
    return Split(0.8, 0.1, 1, 0)
  if of_examples.by != 'user':
    return Split(1.0, 0.0, 1, part.whole('seed', 0))
  part.expect('by', 'train', 'validation', 'test', 'seed')
  shares = [part.number(key, 0.0) for key in ('train', 'validation', 'test')]
  if abs(sum(shares) - 1) > 1e-9:
    part.refuse(f'train, validation and test add up to {sum(shares):g}; expected 1')
  make = lambda seed: Split(shares[0], shares[1], 1, seed)
  return part.make(make, part.whole('seed', 0))
