"""Names are drawn anew, and the automaton has their answers."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import many_options_answers as answers
from tasks import questions

_WORDS = ('amber', 'basil', 'cedar', 'delta', 'ember', 'fable', 'grove', 'hazel')
_QUESTION = dataclasses.replace(questions.MOVIELENS, most=2)


class _Letters:
  """A vocabulary of bytes."""

  eos_id = 1
  vocab_size = 256

  def encode(self, text):
    return list(text.encode())

  def decode(self, ids):
    return bytes(ids).decode('latin-1')


def _accepted(automaton, tokens):
  state = 0
  for token in tokens:
    (place,) = np.nonzero(automaton.tokens[state] == token)
    if not len(place):
      return False
    state = automaton.next[state, place[0]]
  return True


def test_names_are_different_and_the_same_again():
  draw = lambda: answers.make_names(_WORDS, 7, np.random.default_rng(0))
  names = draw()
  assert names == draw()
  assert len(set(names)) == 7
  assert {word for name in names for word in name.split()} <= {*_WORDS}


def test_too_few_words():
  with pytest.raises(ValueError, match='there are 8'):
    answers.make_names(_WORDS, 100, np.random.default_rng(0))


def test_words_that_are_one_token():
  texts = ['', ' amber', 'basil', ' no', ' cedar', ' Delta']
  vocabulary = SimpleNamespace(vocab_size=len(texts), decode=lambda ids: texts[ids[0]])
  assert answers.single_words(vocabulary) == ['amber', 'cedar']


def test_lists_that_can_go_on():
  assert answers.remembered_lists(18, 3) == 1 + 18 + 153
  assert answers.remembered_lists(2, 3) == 1 + 2


def test_the_automaton_has_the_answers_and_no_others():
  names, letters = ('amber hazel', 'amber grove', 'cedar fable'), _Letters()
  automaton = answers.list_grammar(names, letters, _QUESTION)
  write = lambda *sides: [*letters.encode(_QUESTION.answer(*sides)), letters.eos_id]
  assert _accepted(automaton, write(names[:2], names[2:]))
  assert _accepted(automaton, write((), names[:1]))
  assert _accepted(automaton, write(names[:1] * 2, ()))  # twice the same one
  assert not _accepted(automaton, write(names, ()))  # more than fit
  assert not _accepted(automaton, write(['amber fable'], ()))
  longest = answers.longest_answer(names, letters, _QUESTION)
  assert longest == max(
    len(write(x, y))
    for x in (names[:2], [names[0]] * 2)
    for y in (names[:2], names[1:])
  )
  size = answers.size_of(automaton, 2.0)
  assert size['grammar_states'] == len(automaton.next)
  assert size['grammar_mb'] == automaton.tokens.size * 8 / 1e6
