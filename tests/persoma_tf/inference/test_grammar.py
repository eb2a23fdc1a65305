"""The automaton against all sentences of its grammar, spelled out."""

import itertools

import numpy as np
import pytest

from persoma_tf.inference import grammar

EOS = 9
# Phrases that begin alike, and one that is the beginning of another.
PHRASES = {
  'a': [([1], 'b'), ([1, 2], 'b'), ([3], 'c')],
  'b': [([2], 'c'), ([2, 4], grammar.END)],
  'c': [([], grammar.END), ([5], 'b')],
}


def sentences(choices, start, longest) -> set[tuple[int, ...]]:
  """All token sequences with their end, of at most so many tokens."""
  found, todo = set(), [((), start)]
  while todo:
    said, state = todo.pop()
    if len(said) >= longest:
      continue
    if state is grammar.END:
      found.add((*said, EOS))
    else:
      todo += [((*said, *phrase), behind) for phrase, behind in choices[state]]
  return found


def accepts(made: grammar.Grammar, tokens) -> bool:
  state = 0
  for token in tokens:
    places = np.flatnonzero(made.tokens[state] == token)
    if not len(places):
      return False
    assert len(places) == 1, 'a deterministic automaton'
    state = made.next[state, places[0]]
  return True


@pytest.fixture(scope='module')
def made():
  return grammar.compiled('a', PHRASES.__getitem__, EOS)


def test_it_accepts_the_sentences_and_no_others(made):
  wanted = sentences(PHRASES, 'a', 5)
  assert len(wanted) == 8
  for length in range(1, 6):
    for tokens in itertools.product((1, 2, 3, 4, 5), repeat=length - 1):
      assert accepts(made, (*tokens, EOS)) == ((*tokens, EOS) in wanted)


def test_behind_the_end_comes_the_end(made):
  assert accepts(made, (3, EOS, EOS, EOS))
  assert not accepts(made, (3, EOS, 1))


def test_what_every_answer_begins_with():
  made = grammar.compiled(0, {0: [([7, 8], 1)], 1: [([5], 2)], 2: [([1], 1)]}.get, EOS)
  tokens, _ = grammar.compiled(
    0, {0: [([7, 8], 1)], 1: [([5], None), ([6], None)]}.get, EOS
  ).forced()
  assert tokens == [7, 8]
  with pytest.raises(ValueError, match='never ends'):
    made.forced()


def test_a_state_that_leads_nowhere():
  with pytest.raises(ValueError, match='no phrase follows'):
    grammar.compiled(0, {0: [([1], 1)], 1: []}.get, EOS)


def test_stable(made):
  again = grammar.compiled('a', PHRASES.__getitem__, EOS)
  assert all(np.array_equal(x, y) for x, y in zip(made, again, strict=True))
