"""Defines what a dataset file asks."""

import dataclasses
from typing import Any

from pipelines.dataset.table_files import TableFiles
from pipelines.examples.example_plan import ExamplePlan
from tasks.answers.example_question import ExampleQuestion
from tasks.labels import LabelRule
from tasks.questions import Question


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
    after: what `Cutoff.parse` reads: later events make the labels, and earlier ones the
      histories; '' if all make both.
  """

  question: Question
  categories: str
  rule: LabelRule
  after: str = ''

  @property
  def name(self) -> str:
    """Returns the name of the question."""
    return self.question.name

  def words(self) -> dict[str, Any]:
    """Returns what a model needs to ask it, as JSON types."""
    words = dataclasses.asdict(self.question)
    return {key: value for key, value in words.items() if key != 'name'}


@dataclasses.dataclass(frozen=True)
class AskedExamples:
  """Asks about examples.

  Attributes:
    question: its words.
    plan: where its examples come from.
    files: files with its examples; None if they are users' own events.
  """

  question: ExampleQuestion
  plan: ExamplePlan
  files: ExampleFiles | None = None

  @property
  def name(self) -> str:
    """Returns the name of the question."""
    return self.question.name

  def words(self) -> dict[str, Any]:
    """Returns what a model needs to ask it, as JSON types."""
    words = {'kind': self.question.KIND, **vars(self.question)}
    del words['name']
    told = {key: x for key, x in words.items() if x != ''}  # no `candidate`, say
    return {key: [*x] if isinstance(x, tuple) else x for key, x in told.items()}
