"""The grammar against all sentences of its form, spelled out."""

import jax
import numpy as np
import pytest

from persoma_tf.inference import grammar
from persoma_tf.inference.grammar import FormPlace, Phrase
from tests.grammar_walks import Walks

EOS = 9
# One name begins as two others, of which one is joined with what comes after it.
NAMES = {(1,): (1, 7), (1, 2): (1, 2, 7), (1, 2, 3): (1, 2, 5), (4,): (4, 7)}
PHRASES = [
  *(Phrase('listed', tokens, ',', n) for n, tokens in enumerate(NAMES.values())),
  *(Phrase('last', tokens, '.', n) for n, tokens in enumerate(NAMES)),
  Phrase('none', (6,), 'none'),
]
PLACES = [
  FormPlace({',': 1, '.': grammar.END, 'none': grammar.END}),
  FormPlace({',': 2, '.': grammar.END}, 1),
  FormPlace({'.': grammar.END}, 2),
]
OPENING = (1, 8)


def sentences(place=0, named=()) -> set[tuple[int, ...]]:
  """All answers, without the opening."""
  found = set()
  for phrase in PHRASES:
    if phrase.kind not in PLACES[place].after or phrase.name in named:
      continue
    after = PLACES[place].after[phrase.kind]
    rest = {(EOS,)} if after is None else sentences(after, (*named, phrase.name))
    found |= {(*phrase.tokens, *tokens) for tokens in rest}
  return found


def written(walks: Walks) -> set[tuple[int, ...]]:
  """All answers that a grammar allows."""
  found, todo = set(), [()]
  for tokens in todo:
    for token in walks.after(tokens):
      (found.add if token == EOS else todo.append)((*tokens, token))
  return found


@pytest.fixture(scope='module')
def made():
  return grammar.compiled(PHRASES, PLACES, EOS, OPENING)


def test_it_has_the_sentences_and_no_others(made):
  wanted = sentences()
  assert len(wanted) == 1 + 4 + 4 * 3 + 4 * 3 * 2
  assert written(Walks(made)) == {(*OPENING, *tokens) for tokens in wanted}


def test_only_what_may_come_is_counted(made):
  walks = Walks(made)
  reached = walks.begin(1)
  assert walks.tokens(reached).tolist() == [[1, -1, -1, -1]], 'the opening'
  reached = walks.take(walks.take(reached, [0]), [0])
  assert walks.tokens(reached).tolist() == [[1, 4, 6, -1]]
  four = walks.take(walks.take(reached, [1]), [0])
  assert walks.tokens(four).tolist() == [[1, -1, -1, -1]], 'no gap where 4 was'
  assert made.width == 4, 'behind 1 2 come 3, 5, 7 and the end'


def test_what_is_not_there_changes_nothing(made):
  walks = Walks(made)
  reached = walks.take(walks.begin(2), [0, 0])
  again = walks.take(reached, [0, -1])  # the last column is padding
  assert walks.tokens(again)[0].tolist() == [1, 4, 6, -1]
  for old, new in zip(reached, again, strict=True):
    np.testing.assert_array_equal(old[1], new[1])


def test_behind_the_end_comes_the_end(made):
  walks = Walks(made)
  assert walks.after((*OPENING, 6, EOS, EOS, EOS)) == {EOS}
  assert walks.after((*OPENING, 6, EOS, 1)) is None


def test_what_every_answer_begins_with(made):
  tokens, reached = made.forced()
  assert tokens == [*OPENING]
  walks = Walks(made)
  by_hand = walks.take(walks.take(walks.begin(1), [0]), [0])
  jax.tree.map(np.testing.assert_array_equal, reached, by_hand)


def test_what_options_begin_with():
  """It ends where they part, and also where the only one ends."""
  place = FormPlace({'x': grammar.END})
  options = [Phrase('', (5, 6, 1), 'x'), Phrase('', (5, 6, 2, 3), 'x')]
  assert grammar.compiled(options, [place], EOS).forced()[0] == [5, 6]
  tokens, reached = grammar.compiled(options[1:], [place], EOS, (8,)).forced()
  assert tokens == [8, 5, 6, 2, 3, EOS]
  assert (reached.state, reached.place) == (0, 1)


@pytest.mark.parametrize('tokens', [(1, 2), (1,), (1, 2, 3)])
def test_phrases_that_are_not_told_apart(tokens):
  phrases = [Phrase('a b', (1, 2), 'x'), Phrase('other', tokens, 'x')]
  place = FormPlace({'y': grammar.END, 'x': 1})
  with pytest.raises(ValueError, match='begins with the tokens of'):
    grammar.compiled(phrases, [place, place], EOS)


def test_a_place_without_phrases():
  phrases = [Phrase('a', (1,), 'x', 0), Phrase('b', (2,), 'x', 1)]
  for places in (
    [FormPlace({'x': 1}), FormPlace({'y': grammar.END})],
    [FormPlace({'x': 1}), FormPlace({'x': 2}, 1), FormPlace({'x': grammar.END}, 2)],
  ):
    with pytest.raises(ValueError, match='no phrase is left for place'):
      grammar.compiled(phrases, places, EOS)
