"""Defines what a dataset file says, and gives it to the jobs that know the flags."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from pipelines.events import mapping
from pipelines.events.formats import REQUIRED, Format
from pipelines.events.input_files import InputFile, find_files
from pipelines.events.rating_scale import RatingScale
from pipelines.histories.split import Split
from tasks.interaction_texts import VALUE
from tasks.labels import LabelRule
from tasks.questions import Question
from tasks.text_templates import TextTemplate

FIELD = 'field:'  # before the name of a column that only templates know


@dataclasses.dataclass(frozen=True)
class TableFiles:
  """Describes files with one table.

  Attributes:
    files: path or glob.
    columns: name in this dataset file -> name of the column in the files.
    delimiter: text between two values.
    quotes: 'double' or 'none': what quotes are; '' if the files must tell.
    encoding: encoding of the text.
    header: names of the columns if the files have no header line.
  """

  files: str
  columns: Mapping[str, str]
  delimiter: str = ','
  quotes: str = ''
  encoding: str = 'utf-8'
  header: tuple[str, ...] = ()

  def column(self, name: str) -> str:
    """Returns the name in the files of a column that a template names."""
    return self.columns.get(name, name)


@dataclasses.dataclass(frozen=True)
class EventFiles(TableFiles):
  """Describes the events, one a row; `columns` has user, item, value and maybe time.

  Without a time, the order of the rows is their order in time. `columns` lacks the
  item where lines of their own name the items.

  Attributes:
    scale: lowest value, highest value and step, with colons.
    time_unit: unit of the times: s, ms, us, ns, or iso for dates as text.
    layout: one of `table_part.LAYOUTS`.
  """

  scale: str = ''
  time_unit: str = 's'
  layout: str = 'rows'

  @property
  def has_time(self) -> bool:
    """Returns whether the events have a time."""
    return 'time' in self.columns


@dataclasses.dataclass(frozen=True)
class ItemFiles(TableFiles):
  """Describes the items, one a row; `columns` has item, and may have title.

  Attributes:
    lists: name of a column with several names -> text between two of them.
    no_name: texts in these columns that mean none.
  """

  lists: Mapping[str, str] = dataclasses.field(default_factory=dict)
  no_name: tuple[str, ...] = ()


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
    items: files of the items.
    texts: templates of the texts that the history encoder reads of an interaction.
    history: which interactions make a history.
    question: what is asked.
    categories: name of the items' column that answers name.
    rule: rule that makes labels.
    split: division of the users.
    license: licence of the data; '' if not stated.
  """

  file: str
  name: str
  events: tuple[EventFiles, ...]
  items: ItemFiles
  texts: tuple[TextTemplate, ...]
  history: HistoryChoice
  question: Question
  categories: str
  rule: LabelRule
  split: Split
  license: str = ''

  @property
  def scale(self) -> RatingScale:
    """Returns the scale of the events' values."""
    return RatingScale.parse(self.events[0].scale)

  def about(self) -> dict[str, Any]:
    """Returns what decides the folder, as JSON types, for `dataset_info.json`.

    Paths, the licence and comments do not; other flags have what the job's flags say.
    """
    words = dataclasses.asdict(self.question)
    about = {
      'events': [_about_table(source) for source in self.events],
      'items': _about_table(self.items),
    }
    return {
      **json.loads(json.dumps(about)),
      'name': self.name,
      'texts': [text.source for text in self.texts],
      'questions': {words.pop('name'): words},
      'categories': self.categories,
      'times': 'seconds' if self.events[0].has_time else 'order of the rows',
    }

  def find_files(self) -> dict[str, list[InputFile]]:
    """Finds the files, as the flags `ratings` and `movies` do.

    Raises:
      JobError: a file cannot be read, or lacks a column.
    """
    return {
      'ratings': [
        file
        for source in self.events
        for file in find_files(source.files, [self.event_format(source)], 'dataset')
      ],
      'movies': find_files(self.items.files, [self.item_format()], 'dataset'),
    }

  def event_format(self, source: EventFiles) -> Format:
    """Returns the format of a source of events."""
    of, roles = source.columns, ('user', 'item', 'value', 'time')
    fields = dict(zip(REQUIRED['ratings'], roles, strict=True))
    columns = {field: of[role] for field, role in fields.items() if role in of}
    return dataclasses.replace(
      _format(self, 'ratings', source, columns),
      time_unit=source.time_unit,
      absent=tuple(field for field, role in fields.items() if role not in of),
    )

  def item_format(self) -> Format:
    """Returns the format of the items."""
    items, named = self.items, self.item_columns()
    fields = {f'{FIELD}{name}': items.column(name) for name in named}
    titled = 'title' in (*items.columns, *named)
    columns = {
      'item': items.columns['item'],
      'title': items.column('title') if titled else items.columns['item'],
      'genres': items.column(self.categories),
    }
    return dataclasses.replace(
      _format(self, 'movies', items, {**columns, **fields}),
      genre_separator=items.lists[self.categories],
      required=tuple(fields),
      lists={f'{FIELD}{name}': text for name, text in items.lists.items()},
    )

  def item_columns(self) -> tuple[str, ...]:
    """Returns the columns of items that texts name, each once."""
    named = (name for text in self.texts for name in text.fields if name != VALUE)
    return tuple(dict.fromkeys(named))


def _about_table(table: TableFiles) -> dict[str, Any]:
  return {name: x for name, x in dataclasses.asdict(table).items() if name != 'files'}


def _format(dataset: Dataset, kind: str, table: TableFiles, columns) -> Format:
  options = {'delimiter': table.delimiter, 'encoding': table.encoding}
  options |= {'quotes': table.quotes} if table.quotes else {}
  found = Format(
    dataset.file,
    kind,
    columns,
    header=table.header,
    first_line='.' if table.header else '',
  )
  return mapping.apply_options(found, options)
