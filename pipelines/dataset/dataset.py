"""Defines what a dataset file says, and gives it to the jobs that know the flags."""

import dataclasses
import json
from typing import Any

from pipelines.dataset.asked_questions import AskedExamples, ListsQuestion, UserFiles
from pipelines.dataset.table_files import (
  LAYOUTS,
  ItemFiles,
  TableFiles,
  table_format,
)
from pipelines.events.event_texts import FIELD
from pipelines.events.formats import REQUIRED, Format
from pipelines.events.input_files import InputFile, find_files
from pipelines.events.rating_scale import RatingScale
from pipelines.examples.check_examples import FIELDS, OWN
from pipelines.examples.example_plan import USERS, ExamplePlan, Examples, ExampleSplit
from pipelines.histories.split import Split
from tasks.interaction_texts import VALUE
from tasks.text_templates import TextTemplate

_NOT_TOLD = ('files', 'place', 'texts', 'of_items', 'of_users', 'categories')
NO_VALUES = '0:1:1'  # scale of events without values: each counts as 1


@dataclasses.dataclass(frozen=True)
class EventFiles(TableFiles):
  """Describes events, one a row; `columns` has user, and may have item, value, time.

  Without a time, the order of the rows is their order in time. `columns` lacks the
  item where lines of their own name the items, and where texts stand for items.

  Attributes:
    texts: templates of the texts of its events; without items they stand for those.
    of_items: columns of items that these texts name.
    of_users: columns of users that these texts name.
    scale: lowest value, highest value and step, with colons.
    time_unit: unit of the times: s, ms, us, ns, or iso for dates as text.
    layout: one of `table_files.LAYOUTS`.
  """

  scale: str = ''
  time_unit: str = 's'
  layout: str = 'rows'
  texts: tuple[TextTemplate, ...] = ()
  of_items: tuple[str, ...] = ()
  of_users: tuple[str, ...] = ()

  @property
  def has_value(self) -> bool:
    """Returns whether the events have a value; else each counts as 1."""
    return 'value' in self.columns

  @property
  def has_time(self) -> bool:
    """Returns whether the events have a time."""
    return 'time' in self.columns


@dataclasses.dataclass(frozen=True)
class HistoryChoice:
  """Says which interactions make a history.

  Attributes:
    sampler: a name in `samplers.SAMPLERS`.
    most: largest number of interactions.
    least: smallest number; users with fewer are dropped.
    query: words for the sampler `sparse_retrieval`.
  """

  sampler: str = 'recency'
  most: int = 50
  least: int = 1
  query: str = ''


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Holds a dataset file.

  Attributes:
    file: its path.
    name: name of the data set.
    events: sources of the events; all have a time, or none, and one scale.
    items: files of the items; None where texts of events stand for them.
    texts: templates of what the history encoder reads of an item, and of a value.
    history: which interactions make a history.
    questions: what is asked; at most one asks for lists.
    split: division of the users.
    example_split: division of the examples.
    license: licence of the data; '' if not stated.
    users: files of the users; None if there are none.
  """

  file: str
  name: str
  events: tuple[EventFiles, ...]
  items: ItemFiles | None
  texts: tuple[TextTemplate, ...]
  history: HistoryChoice
  questions: tuple[ListsQuestion | AskedExamples, ...]
  split: Split
  example_split: ExampleSplit
  license: str = ''
  users: UserFiles | None = None

  @property
  def lists(self) -> ListsQuestion | None:
    """Returns the question about users; None if all are about examples."""
    found = (x for x in self.questions if isinstance(x, ListsQuestion))
    return next(found, None)

  @property
  def about_examples(self) -> tuple[AskedExamples, ...]:
    """Returns the questions about examples."""
    return tuple(x for x in self.questions if isinstance(x, AskedExamples))

  @property
  def categories(self) -> str:
    """Returns the column of the items' categories; '' without one."""
    return getattr(self.lists or self.items, 'categories', '')

  @property
  def ranks(self) -> bool:
    """Returns whether the order of the events' rows stands for times."""
    return not self.events[0].has_time

  def examples(self) -> Examples:
    """Returns the examples of all questions."""
    plans = tuple(asked.plan for asked in self.about_examples)
    of_users = self.users.fields if self.users else ()
    return Examples(plans, self.example_split, bool(self.lists), self.ranks, of_users)

  @property
  def scale(self) -> RatingScale:
    """Returns the scale of the events' values."""
    return RatingScale.parse(self.events[0].scale or NO_VALUES)

  def about(self) -> dict[str, Any]:
    """Returns what decides the folder, as JSON types, for `dataset_info.json`.

    Paths, the licence and comments do not; other flags have what the job's flags say.
    """
    about = {
      'events': [_about_events(source) for source in self.events],
      'items': self.items and _about_table(self.items),
    }
    if self.users:
      about['users'] = _about_table(self.users)
    if self.about_examples:
      about['example_split'] = dataclasses.asdict(self.example_split)
      about['examples'] = {
        each.name: _about_plan(each.plan)
        | ({'files': _about_table(each.files)} if each.files else {})
        for each in self.about_examples
      }
    return {
      **json.loads(json.dumps(about)),
      'name': self.name,
      'texts': [text.source for text in self.texts],
      'questions': {each.name: each.words() for each in self.questions},
      'categories': self.categories or None,
      'times': 'order of the rows' if self.ranks else 'seconds',
    }

  def find_files(self) -> dict[str, list[InputFile]]:
    """Finds the files, as the flags `ratings` and `movies` do.

    Raises:
      JobError: a file cannot be read, or lacks a column.
    """

    def find(table: TableFiles, fmt: Format) -> list[InputFile]:
      with table.explained():
        return find_files(table.files, [fmt], 'dataset')

    found = {
      'ratings': [
        x for each in self.events for x in find(each, self.event_format(each))
      ]
    }
    if self.items:
      found['movies'] = find(self.items, self.item_format())
    if self.users:
      found[f'examples.{USERS}'] = find(self.users, self.user_format())
    for asked in self.about_examples:
      if asked.files:
        found[f'examples.{asked.name}'] = find(asked.files, self.example_format(asked))
    return found

  def event_format(self, source: EventFiles) -> Format:
    """Returns the format of a source of events."""
    of, roles = source.columns, ('user', 'item', 'value', 'time')
    fields = dict(zip(REQUIRED['ratings'], roles, strict=True))
    columns = {field: of[role] for field, role in fields.items() if role in of}
    named = [
      name
      for text in source.texts
      for name in text.fields
      if name not in (*source.of_items, *source.of_users)
    ]
    columns |= {f'{FIELD}{name}': source.column(name) for name in named}
    return dataclasses.replace(
      table_format(self.file, 'ratings', source, columns),
      required=tuple(f'{FIELD}{name}' for name in named),
      texts=source.texts,
      texts_are_items=not self.items,
      of_users=tuple(dict.fromkeys(x for each in self.events for x in each.of_users)),
      time_unit=source.time_unit,
      absent=tuple(field for field, role in fields.items() if role not in of),
    )

  def user_format(self) -> Format:
    """Returns the format of the users."""
    users = self.users
    columns = {'user': users.columns['user']}
    columns |= {f'{OWN}{name}': users.column(name) for name in users.fields}
    found = table_format(self.file, 'examples', users, columns)
    return dataclasses.replace(found, required=tuple(columns))

  def example_format(self, asked: AskedExamples) -> Format:
    """Returns the format of the examples of a question."""
    files, plan = asked.files, asked.plan
    columns = {FIELDS[role]: x for role, x in files.columns.items() if role in FIELDS}
    columns |= {f'{OWN}{name}': files.column(name) for name in plan.fields}
    if plan.answer_column:
      columns['answer'] = files.column(plan.answer_column)
    if self.example_split.by == 'column':
      columns['split'] = files.column(self.example_split.column)
    return dataclasses.replace(
      table_format(self.file, 'examples', files, columns),
      time_unit=files.time_unit,
      required=tuple(columns),
    )

  def item_format(self) -> Format:
    """Returns the format of the items."""
    items, named = self.items, self.item_columns()
    fields = {f'{FIELD}{name}': items.column(name) for name in named}
    titled = 'title' in (*items.columns, *named)
    columns = {
      'item': items.columns['item'],
      'title': items.column('title') if titled else items.columns['item'],
    }
    options = {'absent': ('genres',)}
    if self.categories:
      columns['genres'] = items.column(self.categories)
      options = {'genre_separator': items.lists[self.categories]}
    return dataclasses.replace(
      table_format(self.file, 'movies', items, {**columns, **fields}),
      **options,
      required=tuple(fields),
      lists={f'{FIELD}{name}': text for name, text in items.lists.items()},
    )

  def item_columns(self) -> tuple[str, ...]:
    """Returns the columns of items that texts and prompts name, each once."""
    named = [name for text in self.texts for name in text.fields if name != VALUE]
    named += (name for source in self.events for name in source.of_items)
    named += (x for asked in self.about_examples for x in asked.question.item_fields)
    return tuple(dict.fromkeys(named))


def _about_table(table: TableFiles) -> dict[str, Any]:
  return {
    field.name: getattr(table, field.name)
    for field in dataclasses.fields(table)
    if field.name not in _NOT_TOLD
  }


def _about_plan(plan: ExamplePlan) -> dict[str, Any]:
  about = dataclasses.asdict(plan)
  if not about['text_answer']:  # which older folders do not have
    del about['text_answer']
  return about


def _about_events(source: EventFiles) -> dict[str, Any]:
  about = _about_table(source) | {'texts': [text.source for text in source.texts]}
  # What older files do not have changes no fingerprint where it is not used.
  unused = {'texts': [], 'layout': LAYOUTS[0]}
  return {key: x for key, x in about.items() if x != unused.get(key)}
