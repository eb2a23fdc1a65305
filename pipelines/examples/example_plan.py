"""Describes where the examples of a question come from, and how they are answered."""

import dataclasses
import math
import operator
import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.events import column_values
from tasks import schema
from tasks.schema import FIELD, SPLITS

SIGNS = {
  '>': operator.gt,
  '>=': operator.ge,
  '<': operator.lt,
  '<=': operator.le,
  '==': operator.eq,
  '!=': operator.ne,
}
_COMPARISON = re.compile(r'(.+?)\s*(>=|<=|==|!=|>|<)\s*(.+)')
_NO_SIGN = re.compile(r'.+\s(=|=>|=<|<>|=!)\s.+')
NO_ANSWER = -1
_SHOWN_VALUES = 50
ANSWER_TEXT, CANDIDATES = 'answer_text', 'candidates'  # names of columns of rows
USERS = 'users'  # in the place of a question's name: the files with a row a user


@dataclasses.dataclass(frozen=True)
class AnswerRule:
  """Tells which option of a choice a row has.

  Attributes:
    column: name of the column that decides.
    options: the options.
    values: text of the column -> option; not used with a sign.
    sign: key of SIGNS: a row has the first option if its number compares so to
      `number`, else the second; '' for a column that names the option.
    number: number that the column is compared to.
  """

  column: str
  options: tuple[str, ...]
  values: Mapping[str, str] = dataclasses.field(default_factory=dict)
  sign: str = ''
  number: float = 0.0

  @classmethod
  def parse(
    cls, text: str, options: tuple[str, ...], values: Mapping[str, str]
  ) -> 'AnswerRule':
    """Reads a column, or a comparison such as 'value > 3'.

    Args:
      text: the text.
      options: the options.
      values: text of the column -> option.

    Raises:
      ValueError: it compares to no number, or more than two options.
    """
    if wrong := _NO_SIGN.fullmatch(text):
      raise ValueError(f'{text!r} has {wrong[1]}; expected one of {list(SIGNS)}')
    found = _COMPARISON.fullmatch(text.strip())
    if not found:
      return cls(text.strip(), options, values)
    column, sign, number = found.groups()
    compared = _number(number)
    if compared is None or not math.isfinite(compared):
      raise ValueError(
        f'{text!r} compares to {number!r}; expected a number, as in value > 3'
      )
    if len(options) != 2:
      raise ValueError(
        f'{text!r} is true or false, and there are {len(options)} options; expected '
        'two, the first for true'
      )
    return cls(column, options, {}, sign, compared)

  @property
  def expected(self) -> str:
    """Returns what a value of the column should be, for rejects."""
    if self.sign:
      return 'a number'
    known = [*self.values]
    if len(known) > _SHOWN_VALUES:
      return f'one of {len(known):,} texts such as {known[0]!r} and {known[-1]!r}'
    return f'one of {sorted(known)}'

  def choose(self, column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns the options of rows.

    Args:
      column: [n] texts or numbers.

    Returns:
      [n] int32 positions in `options`, NO_ANSWER for empty values; [n] bool, whether
      the value is empty, or one that names an option.
    """
    texts = column_values.known_texts(column)
    empty = pc.equal(texts, '').to_numpy(zero_copy_only=False)
    if self.sign:
      numbers, good = column_values.numbers(texts)
      chosen = np.where(SIGNS[self.sign](numbers, self.number), 0, 1)
      return np.where(good, chosen, NO_ANSWER).astype(np.int32), good | empty
    distinct = texts.dictionary_encode()
    known = [self._option(text) for text in distinct.dictionary.to_pylist()]
    chosen = np.array(known, np.int32)[distinct.indices.to_numpy()]
    return chosen, (chosen != NO_ANSWER) | empty

  def _option(self, text: str) -> int:
    """Returns the position of the option that a text names; 1.0 is 1, True is true."""
    if text not in self.values:
      text = next((key for key in self.values if _same(key, text)), text)
    named = self.values.get(text)
    return NO_ANSWER if named is None else self.options.index(named)


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


def _same(key: str, text: str) -> bool:
  """Tells whether texts are the same number, or the same truth value."""
  if key.lower() in ('true', 'false'):
    return key.lower() == text.lower()
  return _number(key) == _number(text) is not None


def _number(text: str) -> float | None:
  try:
    return float(text)
  except ValueError:
    return None
