"""Describes where the examples of a question come from."""

import dataclasses

import numpy as np

from pipelines.examples.answer_rule import AnswerRule
from tasks import schema
from tasks.schema import FIELD, SPLITS

ANSWER_TEXT, CANDIDATES = 'answer_text', 'candidates'  # names of columns of rows
USERS = 'users'  # in the place of a question's name: the files with a row a user


@dataclasses.dataclass(frozen=True)
class Negatives:
  """Describes examples with items that a user had no event with.

  Attributes:
    each: number of such examples for each event.
    by: 'uniform': every item is as likely as any other; 'popularity': in proportion to
      its number of events.
  """

  each: int
  by: str = 'uniform'


@dataclasses.dataclass(frozen=True)
class Ranking:
  """Describes how files name candidates; where events are examples, they are drawn.

  Attributes:
    separator: text between two ids in the column with candidates.
    answer: column with the id of the right candidate; '' for none.
  """

  separator: str = '|'
  answer: str = ''


@dataclasses.dataclass(frozen=True)
class ExamplePlan:
  """Describes the examples of a question: rows of files, or users' own events.

  Attributes:
    question: name of the question.
    answer: which option an example has; None if the files tell no answer, if events
      stand for the first option and drawn items for the second, or for `text_answer`.
    options: the options; of a question that is answered in free words, its kind.
    fields: columns of the examples' files that the prompt names.
    user_fields: columns of the users' files that the prompt names.
    from_files: whether the examples are rows of files.
    last: number of each user's newest events that are examples.
    after: time from which on events are examples, seconds since 1970; None for `last`.
    negatives: drawn examples beside the events; None for none.
    text_answer: column of the examples' files whose text is the answer; '' for none.
    ranking: candidates of the examples; None if they have none. The options are then
      the numbers of candidates.
  """

  question: str
  answer: AnswerRule | None
  options: tuple[str, ...]
  fields: tuple[str, ...] = ()
  user_fields: tuple[str, ...] = ()
  from_files: bool = False
  last: int = 0
  after: int | None = None
  negatives: Negatives | None = None
  text_answer: str = ''
  ranking: Ranking | None = None

  @property
  def answer_column(self) -> str:
    """Returns the column of the examples' files with the answer; '' without one."""
    if self.ranking:
      return self.ranking.answer
    return self.answer.column if self.answer else self.text_answer

  @property
  def row_columns(self) -> tuple[str, ...]:
    """Returns the names of the texts that rows of the examples' files have."""
    more = (ANSWER_TEXT,) * bool(self.text_answer) + (CANDIDATES,) * bool(self.ranking)
    return (*(f'{FIELD}{name}' for name in self.fields), *more)

  @property
  def features(self) -> tuple[str, ...]:
    """Returns the fields that an example's record has."""
    return (*self.fields, *self.user_fields)

  @property
  def record_kinds(self) -> dict[str, str]:
    """Returns the kind of each feature of an example's record."""
    more = schema.CANDIDATES if self.ranking else {}
    return schema.example_kinds(self.features) | more


@dataclasses.dataclass(frozen=True)
class ExampleSplit:
  """Divides examples among the splits.

  Attributes:
    by: 'user': an example is in the split of its user; 'time': see `times`; 'column': a
      column of the examples' files has the split's name.
    times: first times of validation and test, seconds since 1970.
    column: the column.
  """

  by: str = 'user'
  times: tuple[int, int] = (0, 0)
  column: str = ''

  def of_times(self, times: np.ndarray) -> np.ndarray:
    """Returns the split of each time [n], as positions in `schema.SPLITS`."""
    return np.searchsorted(np.array(self.times), times, 'right').astype(np.int8)


@dataclasses.dataclass(frozen=True)
class Examples:
  """Describes all examples of a data set.

  Attributes:
    plans: plan of each question that examples ask.
    split: division of the examples.
    users: whether a question is asked about users, not examples: then their histories
      are written, too.
    ranks: whether events have no times: the order of their rows stands for them.
    user_fields: columns of the users' files that prompts name.
  """

  plans: tuple[ExamplePlan, ...] = ()
  split: ExampleSplit = ExampleSplit()
  users: bool = True
  ranks: bool = False
  user_fields: tuple[str, ...] = ()

  @property
  def of_files(self) -> tuple[ExamplePlan, ...]:
    """Returns the plans whose rows files have; that of users is called USERS."""
    users = ExamplePlan(USERS, None, (), self.user_fields, from_files=True)
    asked = tuple(plan for plan in self.plans if plan.from_files)
    return (*asked, users) if self.user_fields else asked

  @property
  def by_popularity(self) -> bool:
    """Returns whether items are drawn by their number of events."""
    return any(x.negatives and x.negatives.by == 'popularity' for x in self.plans)

  def file_names(self, shard: str) -> dict[str, str]:
    """Returns the file that a shard's examples of each split are in.

    Args:
      shard: name of a shard of users, such as 'train-00000-of-00002'.
    """
    users_split, rest = shard.split('-', 1)
    if self.split.by == 'user':
      return {users_split: shard}
    # All users are training users; the other splits have no shards of theirs.
    train = users_split == 'train'
    return {split: f'{split}-{rest}' for split in SPLITS} if train else {}
