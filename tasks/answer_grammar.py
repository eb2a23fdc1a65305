"""Describes all answers that the parser can read, as a grammar over token ids.

A phrase of the grammar is a genre name together with the separator after it, since a
tokenizer may join both: ")," may be one token.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence

import seqio

from persoma_tf.inference import grammar
from persoma_tf.inference.grammar import FormPlace, Phrase
from persoma_tf.tokenizers.plain_text import Encode, encode_after
from tasks.questions import Question

_COMMA, _NOTHING = ',', ''


def answer_grammar(
  genres: Sequence[str], vocabulary: seqio.Vocabulary, question: Question
) -> grammar.Grammar:
  """Returns the grammar of the answers to a question.

  Each side of an answer names genres, none of them twice, or has the word for none.

  Args:
    genres: all genre names that an answer may have.
    vocabulary: vocabulary of the decoder.
    question: question with the form of the answers.

  Raises:
    ValueError: the vocabulary cannot write a genre, or writes it with different tokens
      in different contexts, or with those that another one begins with.
  """
  encode = functools.cache(vocabulary.encode)
  words = {
    (name, follows): _tokens_after(encode, vocabulary.unk_id, question.likes, text)
    for name in (*genres, question.none)
    for follows in (_COMMA, question.dislikes, _NOTHING)
    if (name, follows) != (question.none, _COMMA)  # none stands alone
    for text in [f' {name}{follows}']
  }
  for name in genres:
    _check(encode, question, name, genres, words)
  numbers = {name: number for number, name in enumerate(genres)}
  phrases = []
  for (name, follows), tokens in words.items():
    number = numbers.get(name, -1)
    kind = follows if number >= 0 else (question.none, follows)
    phrases.append(Phrase(name + follows, tokens, kind, number))
  most = max(1, min(question.most, len(genres)))
  places = [*_side(question, question.dislikes, 0, most, most)]
  places += _side(question, _NOTHING, most, most, grammar.END)
  return grammar.compiled(phrases, places, vocabulary.eos_id, encode(question.likes))


def _side(
  question: Question, follows: str, first: int, most: int, after: int | None
) -> Iterator[FormPlace]:
  """Yields the places of a side, which has up to `most` genres.

  Args:
    question: question with the form of the answers.
    follows: text behind the side.
    first: number of the first place.
    most: number of places.
    after: place behind the side.
  """
  for named in range(most):
    kinds = {follows: after}
    if not named:
      kinds[question.none, follows] = after
    if named + 1 < most:
      kinds[_COMMA] = first + named + 1
    yield FormPlace(kinds, named)


def _tokens_after(
  encode: Encode, unk_id: int | None, before: str, text: str
) -> tuple[int, ...]:
  """Returns the tokens of a text that follows another text."""
  tokens = encode_after(encode, before, text)
  if tokens is None or unk_id in tokens:
    raise ValueError(
      f'grammar: the vocabulary has no separate tokens for {text!r} after {before!r}: '
      'constrained answers are impossible; set constrained=False'
    )
  return tuple(tokens)


def _check(encode, question, name, genres, words) -> None:
  """Checks that the joined phrases of an answer are the tokens of its whole text."""
  others = (genre for genre in genres if genre != name)
  for liked in ([name], [name, *itertools.islice(others, min(question.most, 2) - 1)]):
    *listed, last = liked
    parts = [
      encode(question.likes),
      *(words[genre, _COMMA] for genre in listed),
      words[last, question.dislikes],
      words[name, _NOTHING],
    ]
    text = question.answer(liked, [name])
    if [token for part in parts for token in part] != list(encode(text)):
      raise ValueError(
        f'grammar: {text!r} as a whole has other tokens than its parts: constrained '
        'answers are impossible; set constrained=False'
      )
