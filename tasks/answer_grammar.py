"""The answers that can be read back, as an automaton over a vocabulary's tokens."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import seqio

from persoma_tf import grammar
from tasks.prompts import Question


class _Side(NamedTuple):
  """Where an answer stands: one of two sides, and the genres it names there so far.

  Attributes:
    disliked: whether it is the second side.
    named: genres of this side, in whatever order they came.
    listed: whether another genre may only follow behind a comma.
  """

  disliked: bool
  named: frozenset[str] = frozenset()
  listed: bool = False


def answer_grammar(
  genres: tuple[str, ...], vocabulary: seqio.Vocabulary, question: Question
) -> grammar.Grammar:
  """The answers to a question: on each side genres, none of them twice, or none.

  Args:
    genres: all names that an answer may have.
    vocabulary: of the tokens.
    question: the form of the answers.

  Raises:
    ValueError: the vocabulary writes a genre or a separator in several ways, depending
      on what stands beside it, or not at all.
  """
  likes, dislikes, most = question.likes, question.dislikes, question.most
  some = f'{likes} {genres[0]}'
  words = {
    name: _behind(vocabulary, likes, f' {name}') for name in (*genres, question.none)
  }
  comma = _behind(vocabulary, some, ',')
  second = _behind(vocabulary, some, dislikes)
  for name in genres:
    _check(vocabulary, question, name, genres, words, comma, second)

  def choices(state) -> Iterable[tuple[Sequence[int], _Side | None]]:
    if state is _START:
      return [(vocabulary.encode(likes), _Side(False))]
    end = ((), grammar.END) if state.disliked else (second, _Side(True))
    if state.listed:
      more = state._replace(listed=False)
      return [end] + [(comma, more)] * (len(state.named) < most)
    named = [
      (words[name], _Side(state.disliked, state.named | {name}, True))
      for name in genres
      if name not in state.named
    ]
    if state.named:
      return named
    nothing = _Side(state.disliked, frozenset(genres), True)  # no room for more
    return [*named, (words[question.none], nothing)]

  return grammar.compiled(_START, choices, vocabulary.eos_id)


_START = 'start'


def _behind(vocabulary: seqio.Vocabulary, before: str, text: str) -> tuple[int, ...]:
  """The tokens of a text behind another one."""
  head, whole = vocabulary.encode(before), vocabulary.encode(before + text)
  if list(whole[: len(head)]) != list(head) or vocabulary.unk_id in whole:
    raise ValueError(
      f'grammar: the vocabulary does not write {text!r} as tokens of its own behind '
      f'{before!r}: answers cannot be kept to their form (constrained=False)'
    )
  return tuple(whole[len(head) :])


def _check(vocabulary, question, name, genres, words, comma, second) -> None:
  """An answer that is put together from parts is what the task would write."""
  liked = [name, *(x for x in genres if x != name)][: min(question.most, 2)]
  text = question.answer(liked, [name])
  first = vocabulary.encode(question.likes)
  parts = [first, words[liked[0]], *(x for y in liked[1:] for x in (comma, words[y]))]
  tokens = [token for part in (*parts, second, words[name]) for token in part]
  if tokens != list(vocabulary.encode(text)):
    raise ValueError(
      f'grammar: the tokens of {text!r} are not those of its parts: answers cannot be '
      'kept to their form (constrained=False)'
    )
