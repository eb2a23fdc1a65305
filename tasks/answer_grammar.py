"""The answers that can be read back, as an automaton over a vocabulary's tokens.

Its parts are names with what follows them: ")," may be one token.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import seqio

from persoma_tf.inference import grammar
from tasks.questions import Question


class _Side(NamedTuple):
  """Where an answer stands: one of two sides, and the genres it names there so far.

  Attributes:
    disliked: whether it is the second side.
    named: genres of this side, in whatever order they came; behind some another comes.
  """

  disliked: bool
  named: frozenset[str] = frozenset()


def answer_grammar(
  genres: tuple[str, ...], vocabulary: seqio.Vocabulary, question: Question
) -> grammar.Grammar:
  """The answers to a question: on each side genres, none of them twice, or none.

  Args:
    genres: all names that an answer may have.
    vocabulary: of the tokens.
    question: the form of the answers.

  Raises:
    ValueError: the vocabulary cannot write a genre, or in several ways, depending on
      what stands before it or behind its separator.
  """
  most = min(question.most, len(genres))
  words = {
    (name, follows): _behind(vocabulary, question.likes, f' {name}{follows}')
    for name in (*genres, question.none)
    for follows in (_COMMA, question.dislikes, _NOTHING)
  }
  for name in genres:
    _check(vocabulary, question, name, genres, words)

  def choices(state) -> Iterable[tuple[Sequence[int], _Side | None]]:
    if state is _START:
      return [(vocabulary.encode(question.likes), _Side(False))]
    follows, behind = question.dislikes, _Side(True)
    if state.disliked:
      follows, behind = _NOTHING, grammar.END
    found = [] if state.named else [(words[question.none, follows], behind)]
    for name in genres:
      if name not in state.named:
        named = state.named | {name}
        found.append((words[name, follows], behind))
        if len(named) < most:
          found.append((words[name, _COMMA], state._replace(named=named)))
    return found

  return grammar.compiled(_START, choices, vocabulary.eos_id)


_START = 'start'
_COMMA, _NOTHING = ',', ''


def _behind(vocabulary: seqio.Vocabulary, before: str, text: str) -> tuple[int, ...]:
  """The tokens of a text behind another one."""
  head, whole = vocabulary.encode(before), vocabulary.encode(before + text)
  if list(whole[: len(head)]) != list(head) or vocabulary.unk_id in whole:
    raise ValueError(
      f'grammar: the vocabulary has no separate tokens for {text!r} after {before!r}: '
      'constrained answers are impossible; set constrained=False'
    )
  return tuple(whole[len(head) :])


def _check(vocabulary, question, name, genres, words) -> None:
  """An answer that is put together from parts is what the task would write."""
  others = [x for x in genres if x != name][: min(question.most, 2) - 1]
  for liked in ([name], [name, *others]):
    *listed, last = liked
    parts = [
      vocabulary.encode(question.likes),
      *(words[x, _COMMA] for x in listed),
      words[last, question.dislikes],
      words[name, _NOTHING],
    ]
    text = question.answer(liked, [name])
    if [token for part in parts for token in part] != list(vocabulary.encode(text)):
      raise ValueError(
        f'grammar: {text!r} as a whole has other tokens than its parts: constrained '
        'answers are impossible; set constrained=False'
      )
