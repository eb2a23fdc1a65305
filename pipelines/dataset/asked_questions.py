"""Defines what a dataset file asks."""

import dataclasses
import functools
from typing import Any

from pipelines.dataset.table_files import TableFiles
from pipelines.examples.example_plan import ExamplePlan
from tasks.labels import LabelRule
from tasks.questions import Question
from tasks.text_templates import TextTemplate


@dataclasses.dataclass(frozen=True)
class ExampleFiles(TableFiles):
  """Describes the examples of a question, one a row; `columns` has user.

  It may have item, time, id, answer and split.

  Attributes:
    time_unit: unit of the times: s, ms, us, ns, or iso for dates as text.
  """

  time_unit: str = 's'


@dataclasses.dataclass(frozen=True)
class UserFiles(TableFiles):
  """Describes the users, one a row; `columns` has user.

  Attributes:
    fields: columns that prompts name.
  """

  fields: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ListsQuestion:
  """Asks which categories a user likes and dislikes; a rule on the events answers.

  Attributes:
    question: its words.
    categories: name of the items' column that answers name.
    rule: rule that makes labels.
  """

  question: Question
  categories: str
  rule: LabelRule

  @property
  def name(self) -> str:
    """Returns the name of the question."""
    return self.question.name

  def words(self) -> dict[str, Any]:
    """Returns what a model needs to ask it, as JSON types."""
    words = dataclasses.asdict(self.question)
    return {key: value for key, value in words.items() if key != 'name'}


@dataclasses.dataclass(frozen=True)
class ChoiceQuestion:
  """Asks for one of several options about an example.

  Attributes:
    kind: 'choice', or 'number' if the options are numbers.
    prompt: template of the prompt.
    plan: where its examples come from.
    files: files with its examples; None if they are users' own events.
  """

  kind: str
  prompt: TextTemplate
  plan: ExamplePlan
  files: ExampleFiles | None = None

  @property
  def name(self) -> str:
    """Returns the name of the question."""
    return self.plan.question

  @property
  def asks_item(self) -> bool:
    """Returns whether an example is about an item."""
    return not self.files or 'item' in self.files.columns

  @functools.cached_property
  def item_columns(self) -> tuple[str, ...]:
    """Returns the columns of items that the prompt names."""
    return tuple(x for x in self.prompt.fields if x not in self.plan.features)

  def words(self) -> dict[str, Any]:
    """Returns what a model needs to ask it, as JSON types."""
    return {
      'kind': self.kind,
      'prompt': self.prompt.source,
      'options': list(self.plan.options),
      'fields': list(self.plan.features),
      'asks_item': self.asks_item,
    }
