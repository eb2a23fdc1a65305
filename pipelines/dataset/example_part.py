"""Reads where a dataset file says that the examples of a question come from."""

from pipelines.dataset.answer_part import Answers
from pipelines.dataset.asked_questions import ExampleFiles, UserFiles
from pipelines.dataset.dataset import EventFiles
from pipelines.dataset.table_part import (
  KEYS,
  check_header,
  read_separator,
  read_table,
  read_time_unit,
)
from pipelines.dataset.yaml_parts import Part
from pipelines.events.rating_scale import RatingScale
from pipelines.examples.answer_rule import AnswerRule
from pipelines.examples.example_plan import (
  CANDIDATES,
  ExamplePlan,
  ExampleSplit,
  Negatives,
  Ranking,
)
from tasks.answers.number import Number
from tasks.answers.rank import Rank
from tasks.answers.text import Text
from tasks.interaction_texts import VALUE

_DRAWN_BY = ('uniform', 'popularity')
_OF_FILES = (*KEYS, 'user', 'item', 'time', 'id', 'time_unit', 'fields', CANDIDATES)


def read_held_out(
  part: Part, name: str, answers: Answers, events: EventFiles
) -> ExamplePlan:
  """Reads how users' own events are examples.

  Args:
    part: part `examples` of a question.
    name: name of the question.
    answers: what its answers are.
    events: the first source of events.

  Raises:
    JobError: a key or value is wrong.
  """
  for key in part.names():
    if key in _OF_FILES:
      part.get(key).refuse(
        'of examples from files; beside holdout the own events of users are asked about'
      )
  part.expect('holdout', 'answer', 'negatives')
  holdout, options = part.get('holdout'), answers.options
  if answers.kind == Text.KIND:
    holdout.refuse('the value of an event is no text; expected files with the answers')
  if not isinstance(holdout.value, dict):
    holdout.refuse('expected {last: 5} or {after: 2015-01-31}')
  holdout.expect('last', 'after')
  if len(holdout.names()) != 1:
    holdout.refuse('expected last: a number of events, or after: a time')
  last, after = holdout.whole('last', 0), None
  if holdout.get('last') and last < 1:
    holdout.get('last').refuse(f'{last}; expected at least 1')
  if holdout.get('after'):
    after = holdout.time('after')
    if not events.has_time:
      holdout.get('after').refuse('the events have no time; expected last')
  drawn, answer, ranking = part.get('negatives'), None, None
  if answers.kind == Rank.KIND:
    ranking, negatives = Ranking(), _read_drawn(part, events, len(options))
  elif drawn:
    if part.get('answer'):
      part.get('answer').refuse('beside negatives; events have the first option')
    if len(options) != 2:
      drawn.refuse(f'needs two options; found {list(options)}')
    negatives = _read_negatives(drawn, events)
  else:
    negatives = None
    if not events.has_value:
      part.refuse(
        'the events have no value that could answer; expected negatives: {each: 1}'
      )
    answer = _read_own_answer(part, answers, events)
  own = {'last': last, 'after': after, 'negatives': negatives, 'ranking': ranking}
  return ExamplePlan(name, answer, options, **own)


def _read_drawn(part: Part, events: EventFiles, most: int) -> Negatives:
  """Reads how candidates are drawn beside the user's own event."""
  if part.get('answer'):
    part.get('answer').refuse('of a ranking; the item of the event is the right one')
  drawn = part.need('negatives', 'how other candidates are drawn, such as {each: 19}')
  negatives = _read_negatives(drawn, events)
  if negatives.each >= most:
    drawn.refuse(
      f'{negatives.each} items and that of the event are {negatives.each + 1} '
      f'candidates; expected at most {most}, or a larger rank.most'
    )
  return negatives


def _read_own_answer(part: Part, answers: Answers, events: EventFiles) -> AnswerRule:
  """Reads how the value of the user's own event answers."""
  default = VALUE if answers.kind == Number.KIND else None
  answer = _read_answer(part, answers, default)
  if answer.column != VALUE:
    part.get('answer').refuse(
      f"{answer.column!r}; expected value, the value of the user's own event"
    )
  scale = RatingScale.parse(events.scale)
  if answer.sign and not scale.low <= answer.number <= scale.high:
    part.get('answer').refuse(
      f'{answer.number:g} is no value; expected one from {scale}'
    )
  return answer


def _read_negatives(part: Part, events: EventFiles) -> Negatives:
  part.expect('each', 'by')
  each, by = part.whole('each', 1), part.text('by', _DRAWN_BY[0])
  if each < 1:
    part.get('each').refuse(f'{each}; expected at least 1')
  if by not in _DRAWN_BY:
    part.get('by').refuse(f'{by!r}; expected one of {list(_DRAWN_BY)}')
  if by == 'popularity' and not events.has_time:
    part.get('by').refuse(
      'popularity is counted before the first example, and the events have no time; '
      'expected uniform'
    )
  return Negatives(each, by)


def _read_answer(
  part: Part, answers: Answers, default: str | None = None
) -> AnswerRule:
  expected = 'a column, or a comparison such as value > 3'
  text = part.text('answer', default, expected)
  own = answers.options, answers.values, answers.rounds
  make = lambda x: AnswerRule.parse(x, *own)
  return (part.get('answer') or part).make(make, text)


def read_example_files(
  part: Part, name: str, answers: Answers, split: ExampleSplit, folder: str
) -> tuple[ExampleFiles, ExamplePlan]:
  """Reads what files of examples are.

  Args:
    part: part `examples` of a question.
    name: name of the question.
    answers: what its answers are.
    split: division of the examples.
    folder: folder or address that paths start at.

  Raises:
    JobError: a key or value is wrong.
  """
  roles = {'user': 'the column with the id of the user'}
  optional = ('item', 'time', 'id')
  of_kind = ()
  if ranks := answers.kind == Rank.KIND:
    roles[CANDIDATES] = 'the column with the ids of the candidates'
    optional, of_kind = ('time', 'id'), ('separator',)
  part.expect(*KEYS, *roles, *optional, *of_kind, 'time_unit', 'answer', 'fields')
  table = read_table(part, folder, roles, optional)
  files = ExampleFiles(**table, time_unit=read_time_unit(part))
  answer, text_answer, ranking = None, '', None
  if part.get('answer') and answers.kind in (Text.KIND, Rank.KIND):
    text_answer = part.text('answer', expected='a column')
  elif part.get('answer'):
    answer = _read_answer(part, answers)
  fields = tuple(field.value for field in part.texts('fields'))
  known_by = answer.column if answer else text_answer
  for field in part.texts('fields'):
    if known_by and files.column(field.value) == files.column(known_by):
      field.refuse(f'{field.value!r} is the answer, which a prompt must not tell')
  if files.header:
    named = {field: files.column(field) for field in fields}
    check_header(files.header, named, lambda _: part.get('fields'))
    if known_by:
      column = {'answer': files.column(known_by)}
      check_header(files.header, column, part.get)
    if split.by == 'column':
      column = {'split': files.column(split.column)}
      check_header(files.header, column, lambda _: part.get('header'))
  if ranks:
    separator = read_separator(part, 'separator', Ranking.separator)
    ranking, text_answer = Ranking(separator, text_answer), ''
  own = {'text_answer': text_answer, 'ranking': ranking}
  plan = ExamplePlan(name, answer, answers.options, fields, from_files=True, **own)
  return files, plan


def read_user_files(part: Part | None, folder: str) -> UserFiles | None:
  """Reads what files of users are.

  Args:
    part: part `users` of a dataset file; None without one.
    folder: folder or address that paths start at.

  Raises:
    JobError: a key or value is wrong.
  """
  if part is None:
    return None
  roles = {'user': 'the column with the id of the user'}
  part.expect(*KEYS, *roles, 'fields')
  part.need('fields', 'a list of columns that prompts name')
  fields = tuple(field.value for field in part.texts('fields'))
  users = UserFiles(**read_table(part, folder, roles, ()), fields=fields)
  if users.header:
    columns = {name: users.column(name) for name in fields}
    check_header(users.header, columns, lambda _: part.get('fields'))
  return users


def read_example_split(part: Part | None) -> ExampleSplit:
  """Reads how examples are divided among the splits.

  Args:
    part: part `split` of a dataset file; None without one.

  Raises:
    JobError: a key or value is wrong.
  """
  by = part.text('by', 'user') if part else 'user'
  if by == 'user':
    return ExampleSplit()
  if by == 'column':
    part.expect('by', 'column', 'seed')
    return ExampleSplit(by, column=part.text('column', expected='a column of examples'))
  if by != 'time':
    part.get('by').refuse(f"{by!r}; expected one of ['user', 'time', 'column']")
  part.expect('by', 'validation', 'test', 'seed')
  times = part.time('validation'), part.time('test')
  if times[0] > times[1]:
    part.get('test').refuse('is before validation; expected its first time')
  return ExampleSplit(by, times)
