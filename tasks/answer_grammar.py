"""Builds the automaton of all answers that the parser can read, over token ids.

A phrase of the automaton is a genre name together with the separator after it, since
a tokenizer may join both: ")," may be one token.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import seqio

from persoma_tf.inference import grammar
from persoma_tf.tokenizers.plain_text import encode_after
from tasks.questions import Question


class _Side(NamedTuple):
  """Describes a state: the side that is being written, and its genres so far.

  Attributes:
    disliked: False on the side of the liked genres, True on the second side.
    named: genres that this side has so far, in any order; if not empty, a comma was
      written last and another genre must follow.
  """

  disliked: bool
  named: frozenset[str] = frozenset()


def answer_grammar(
  genres: tuple[str, ...], vocabulary: seqio.Vocabulary, question: Question
) -> grammar.Grammar:
  """Returns the automaton of the answers to a question.

  Each side of an answer names genres, none of them twice, or has the word for none.

  Args:
    genres: all genre names that an answer may have.
    vocabulary: vocabulary of the decoder.
    question: question with the form of the answers.

  Raises:
    ValueError: the vocabulary cannot write a genre, or writes it with different tokens
      in different contexts.
  """
  most = min(question.most, len(genres))
  words = {
    (name, follows): _tokens_after(vocabulary, question.likes, f' {name}{follows}')
    for name in (*genres, question.none)
    for follows in (_COMMA, question.dislikes, _NOTHING)
  }
  for name in genres:
    _check(vocabulary, question, name, genres, words)

  def choices(state) -> Iterable[tuple[Sequence[int], _Side | None]]:
    if state is _START:
      return [(vocabulary.encode(question.likes), _Side(False))]
    follows, after = question.dislikes, _Side(True)
    if state.disliked:
      follows, after = _NOTHING, grammar.END
    phrases = [] if state.named else [(words[question.none, follows], after)]
    for name in genres:
      if name not in state.named:
        named = state.named | {name}
        phrases.append((words[name, follows], after))
        if len(named) < most:
          phrases.append((words[name, _COMMA], state._replace(named=named)))
    return phrases

  return grammar.compiled(_START, choices, vocabulary.eos_id)


_START = 'start'
_COMMA, _NOTHING = ',', ''


def _tokens_after(
  vocabulary: seqio.Vocabulary, before: str, text: str
) -> tuple[int, ...]:
  """Returns the tokens of a text that follows another text."""
  tokens = encode_after(vocabulary.encode, before, text)
  if tokens is None or vocabulary.unk_id in tokens:
    raise ValueError(
      f'grammar: the vocabulary has no separate tokens for {text!r} after {before!r}: '
      'constrained answers are impossible; set constrained=False'
    )
  return tuple(tokens)


def _check(vocabulary, question, name, genres, words) -> None:
  """Checks that the joined phrases of an answer are the tokens of its whole text."""
  others = [genre for genre in genres if genre != name][: min(question.most, 2) - 1]
  for liked in ([name], [name, *others]):
    *listed, last = liked
    parts = [
      vocabulary.encode(question.likes),
      *(words[genre, _COMMA] for genre in listed),
      words[last, question.dislikes],
      words[name, _NOTHING],
    ]
    text = question.answer(liked, [name])
    if [token for part in parts for token in part] != list(vocabulary.encode(text)):
      raise ValueError(
        f'grammar: {text!r} as a whole has other tokens than its parts: constrained '
        'answers are impossible; set constrained=False'
      )
