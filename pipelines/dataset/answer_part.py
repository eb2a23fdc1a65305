"""Reads what a dataset file says of the answers to a question about examples."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pipelines.dataset.yaml_parts import Part
from tasks.answers.choice import Choice
from tasks.answers.number import MOST_NUMBERS, Number, write_numbers
from tasks.answers.rank import Rank
from tasks.answers.text import Text
from tasks.text_templates import read_template

MOST_CANDIDATES = 20


class Answers(NamedTuple):
  """Holds what a dataset file says of answers.

  Attributes:
    kind: kind of the answers, such as 'choice'.
    words: words of the question that are those of its kind, such as `options`.
    values: text of a column -> the option that it names; none for free words.
    options: the options; of a ranking, numbers of candidates; of free words, the kind.
    rounds: whether a number in the data has the nearest option.
  """

  kind: str
  words: Mapping[str, Any]
  values: Mapping[str, str]
  options: tuple[str, ...]
  rounds: bool = False


def read_answers(part: Part) -> Answers:
  """Reads the part `answer` of a question about examples; it has one key, the kind.

  Raises:
    JobError: a key or value is wrong.
  """
  (kind,) = part.names()
  return _KINDS[kind](kind, part.get(kind))


def _read_choice(kind: str, part: Part) -> Answers:
  if isinstance(part.value, dict):
    values = {part.get(option).word(): option for option in part.names()}
    twice = 'two options have the same text in the data'
  else:
    values = {option.word(): option.word() for option in part.items()}
    twice = 'an option stands twice'
  if len(values) < len(part.value):
    part.refuse(twice)
  options = tuple(dict.fromkeys(values.values()))
  if len(options) < 2:
    part.refuse(f'{list(options)}; expected two options or more, such as [Yes, No]')
  for option in options:
    if not option or option != option.strip():
      part.refuse(f'{option!r}; expected an option without outer spaces')
  return Answers(kind, {'options': options}, values, options)


def _read_number(kind: str, part: Part) -> Answers:
  part.expect('from', 'to', 'step', 'round')
  low, high, step = part.number('from'), part.number('to'), part.number('step', 1.0)
  options = part.make(lambda _: write_numbers(low, high, step), None)
  own = {'options': options}, {x: x for x in options}, options
  return Answers(kind, *own, part.switch('round', False))


def _read_text(kind: str, part: Part) -> Answers:
  part.expect('max_tokens')
  words = {'max_tokens': part.whole('max_tokens', Text.max_tokens)}
  if words['max_tokens'] < 2:
    part.get('max_tokens').refuse(f'{words["max_tokens"]}; expected at least 2')
  return Answers(kind, words, {}, (kind,))


def _read_rank(kind: str, part: Part) -> Answers:
  part.expect('most', 'candidate')
  most = part.whole('most', MOST_CANDIDATES)
  if not 2 <= most <= MOST_NUMBERS:
    part.get('most').refuse(f'{most}; expected 2 to {MOST_NUMBERS:,}')
  options = write_numbers(1, most, 1)
  words = {'options': options}
  if text := part.text('candidate', ''):
    part.get('candidate').make(read_template, text)
    words['candidate'] = text
  return Answers(kind, words, {}, options)


_KINDS = {
  Choice.KIND: _read_choice,
  Number.KIND: _read_number,
  Rank.KIND: _read_rank,
  Text.KIND: _read_text,
}
KINDS = (*_KINDS,)
