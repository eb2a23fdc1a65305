"""Reads what a dataset file asks: its questions, and where their examples come from."""

import dataclasses
import difflib
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from pipelines.dataset.answer_part import KINDS, read_answers
from pipelines.dataset.asked_questions import (
  AskedExamples,
  ExampleFiles,
  ListsQuestion,
  UserFiles,
)
from pipelines.dataset.dataset import EventFiles
from pipelines.dataset.example_part import read_example_files, read_held_out
from pipelines.dataset.table_files import ItemFiles
from pipelines.dataset.yaml_parts import Part
from pipelines.events.rating_scale import RatingScale
from pipelines.examples.example_plan import ExamplePlan, ExampleSplit
from pipelines.histories.cutoff import Cutoff
from tasks.answers.number import Number
from tasks.answers.rank import CANDIDATES, Rank
from tasks.interaction_texts import VALUE
from tasks.labels import LabelRule
from tasks.questions import Question, from_words
from tasks.text_templates import TextTemplate, read_template

_ANSWERS = (Question.KIND, *KINDS)
_NAME = r'\w+_v\d+'


class KnownTables(NamedTuple):
  """Holds what a dataset file says of the tables that questions name.

  Attributes:
    events: the first source of events.
    items: files of the items; None if there are none.
    of_items: names of the items' columns; None if they are not known.
    users: files of the users; None if there are none.
  """

  events: EventFiles
  items: ItemFiles | None
  of_items: Collection[str] | None
  users: UserFiles | None


def read_questions(
  root: Part, known: KnownTables, split: ExampleSplit, folder: str
) -> tuple[ListsQuestion | AskedExamples, ...]:
  """Reads the questions of a dataset file.

  Args:
    root: the file.
    known: what it says of events, items and users.
    split: division of the examples.
    folder: folder or address that paths start at.

  Raises:
    JobError: a key or value is wrong.
  """
  parts = root.need('questions', 'a list of questions').items()
  if not parts:
    root.get('questions').refuse('an empty list; expected a question or more')
  asked: dict[str, ListsQuestion | AskedExamples] = {}
  for part in parts:
    answer = part.need('answer', f'one of {list(_ANSWERS)}')
    answer.expect(*_ANSWERS)
    if len(answer.names()) != 1:
      answer.refuse(f'{answer.names()}; expected one of {list(_ANSWERS)}')
    if answer.get('lists'):
      found = _read_lists(part, known.items, known.events)
      if any(isinstance(x, ListsQuestion) for x in asked.values()):
        part.refuse('a second question with lists; expected one')
      if split.by != 'user':
        root.get('split').refuse(
          f'by {split.by} divides examples, and {found.name} is asked about users; '
          'expected by: user'
        )
    else:
      found = _read_about_examples(part, known, split, folder)
    if len(parts) > 1 and isinstance(found, ListsQuestion) and found.after:
      part.get('answer').get('lists').get('rule').get('after').refuse(
        'the histories of users end there, and other questions ask about later events; '
        'expected a file for each'
      )
    if found.name in asked:
      part.get('name').refuse(f'{found.name!r} stands twice')
    asked[found.name] = found
  return tuple(asked.values())


def _read_lists(
  part: Part, items: ItemFiles | None, events: EventFiles
) -> ListsQuestion:
  """Reads a question about users."""
  part.expect('name', 'prompt', 'answer')
  if not (items and events.has_value):
    part.get('answer').get('lists').refuse(
      'lists name categories of items, and a rule on values chooses them: expected '
      'items, and a value of the events'
    )
  lists = part.get('answer').need('lists', 'of, likes, dislikes, none, most and rule')
  lists.expect('of', 'likes', 'dislikes', 'none', 'most', 'rule')
  of = lists.text('of', expected='a column that items.lists names')
  if of not in items.lists:
    lists.get('of').refuse(f'{of!r}; expected one of items.lists: {list(items.lists)}')
  if of != (items.categories or of):
    lists.get('of').refuse(f'{of!r}; expected items.categories: {items.categories!r}')
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
  rule = _read_rule(lists, events, question.most)
  return ListsQuestion(question, of, rule, _read_cutoff(lists.get('rule'), events))


def _read_rule(lists: Part, events: EventFiles, most: int) -> LabelRule:
  part = lists.need('rule', 'least, liked_above and disliked_below')
  part.expect('least', 'liked_above', 'disliked_below', 'after')
  numbers = {key: part.number(key) for key in ('liked_above', 'disliked_below')}
  make = lambda least: LabelRule(least, **numbers, top=most)
  rule = part.make(make, part.whole('least', 3))
  scale = RatingScale.parse(events.scale)
  for key, value in numbers.items():
    if not scale.low <= value <= scale.high:
      part.get(key).refuse(f'{value:g}; expected a mean of values from {scale}')
  return rule


def _read_cutoff(rule: Part, events: EventFiles) -> str:
  """Reads the time behind which events make the labels; '' for all events."""
  if not (after := rule.get('after')):
    return ''
  if not events.has_time:
    after.refuse('the events have no time')
  after.make(Cutoff.parse, after.word())
  return after.word()


def _read_about_examples(
  part: Part, known: KnownTables, split: ExampleSplit, folder: str
) -> AskedExamples:
  """Reads a question about examples."""
  events, items = known.events, known.items
  part.expect('name', 'prompt', 'answer', 'examples')
  name = part.text('name', expected='a name such as book_like_v1')
  if not re.fullmatch(_NAME, name):
    part.get('name').refuse(
      f'{name!r}; expected a name with a version, such as book_like_v1'
    )
  answers = read_answers(part.get('answer'))
  source = part.need('examples', 'files, or holdout, with the examples')
  for key in ('holdout', 'item') if items is None else ():
    if source.get(key):
      source.get(key).refuse('there are no items that an example could be about')
  if source.get('holdout'):
    files, plan = None, read_held_out(source, name, answers, events)
  else:
    files, plan = read_example_files(source, name, answers, split, folder)
    if files and not events.has_time and 'time' in files.columns:
      source.get('time').refuse('the events have no time that it could be compared to')
  _check_truth(part.get('answer').get(answers.kind), answers.kind, plan)
  if split.by == 'column' and plan and not plan.from_files:
    source.refuse('split by: column needs files with this column; expected by: user')
  if split.by == 'time' and not _has_time(files, events):
    source.refuse('split by: time needs a time of events and examples')
  text = part.text('prompt', expected='the text before the answer')
  prompt = part.get('prompt').make(read_template, text)
  of_users = known.users.fields if known.users else ()
  named = tuple(x for x in of_users if x in prompt.fields and x not in plan.fields)
  plan = dataclasses.replace(plan, user_fields=named)
  asks_item = answers.kind != Rank.KIND and (not files or 'item' in files.columns)
  _check_prompt(part, prompt, plan, asks_item, known)
  words = {'kind': answers.kind, 'prompt': text, **answers.words}
  words |= {'fields': plan.features, 'asks_item': asks_item}
  return AskedExamples(part.make(lambda x: from_words(name, x), words), plan, files)


def _check_truth(options: Part, kind: str, plan: ExamplePlan) -> None:
  """Checks that what is true or false is answered with two options in order."""
  if kind == Rank.KIND:  # has no options to name
    return
  is_truth = bool(plan.negatives or (plan.answer and plan.answer.sign))
  if is_truth and kind == Number.KIND:
    options.refuse(
      'a number beside a comparison or negatives, which are true or false; expected '
      'choice, or the column with the number as answer'
    )
  if isinstance(options.value, dict) and is_truth:
    options.refuse(
      'texts of the options beside a comparison or negatives; expected a list of two '
      'options, the first for what is true'
    )


def _has_time(files: ExampleFiles | None, events: EventFiles) -> bool:
  return events.has_time and (files is None or 'time' in files.columns)


def _check_prompt(
  part: Part,
  template: TextTemplate,
  plan: ExamplePlan,
  asks_item: bool,
  known: KnownTables,
) -> None:
  """Checks that something fills each field of a prompt."""
  prompt = part.get('prompt')
  named = [x for x in template.fields if x not in plan.features]
  if not template.source:
    prompt.refuse('an empty text; expected the text before the answer')
  if VALUE in named:
    prompt.refuse('{value} is of an event, which is not known yet; expected a column')
  if rank := part.get('answer').get(Rank.KIND):
    _check_candidate(rank, prompt, CANDIDATES in named, plan, known)
    named = [x for x in named if x != CANDIDATES]
  if named and not asks_item:
    hint = difflib.get_close_matches(named[0], plan.fields, n=1)
    prompt.refuse(
      f'{{{named[0]}}} is no field of the examples, and they have no item; '
      + (f'did you mean {{{hint[0]}}}?' if hint else 'expected it in examples.fields')
    )
  for field in plan.fields:
    if field not in template.fields:
      near = difflib.get_close_matches(field, template.fields, n=1)
      hint = f'; did you mean {near[0]}?' if near else ''
      part.get('examples').get('fields').refuse(f'{field!r} is not in the prompt{hint}')
  _check_columns(prompt, template, named, plan, known)


def _check_candidate(
  rank: Part, prompt: Part, listed: bool, plan: ExamplePlan, known: KnownTables
) -> None:
  """Checks that candidates have a text if, and only if, the prompt lists them."""
  text = read_template(rank.text('candidate', ''))
  if listed and not text.source:
    prompt.refuse(
      f'{{{CANDIDATES}}} needs the text of a candidate; expected answer: '
      '{rank: {candidate: "{title}"}}, say'
    )
  if text.source and not listed:
    where = rank.get('candidate')
    where.refuse(f'no prompt shows it; expected {{{CANDIDATES}}} in the prompt')
  if text.source:
    _check_columns(rank.get('candidate'), text, text.fields, plan, known)


def _check_columns(
  part: Part,
  template: TextTemplate,
  named: Sequence[str],
  plan: ExamplePlan,
  known: KnownTables,
) -> None:
  """Checks that the items have the columns that a text names, in its formats."""
  for name in named if known.of_items is not None else ():
    if name not in known.of_items:
      others = [*plan.fields, *(known.users.fields if known.users else ())]
      near = difflib.get_close_matches(name, [*known.of_items, *others], n=1)
      columns = f'expected one of {sorted({*known.of_items, *others})}'
      part.refuse(
        f'{{{name}}} is no column of items, and not in examples.fields or '
        f'users.fields; {f"did you mean {{{near[0]}}}?" if near else columns}'
      )
  lists = known.items.lists if known.items else ()
  kinds = {name: ['x'] if name in lists else 'x' for name in template.fields}
  part.make(template.write, kinds)
