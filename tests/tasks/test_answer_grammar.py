"""Every answer of the automaton is read back; every answer of the task is in it."""

import numpy as np
import pytest

from tasks import questions, vocabularies
from tasks.answer_grammar import answer_grammar

# MovieLens has one whose end is a token with the comma behind it.
GENRES = ('Action', 'Children', "Children's", 'Drama', 'Film-Noir', 'Sci-Fi', 'War')
GENRES += ('(no genres listed)',)
QUESTION = questions.MOVIELENS


@pytest.fixture(params=['smollm2', 't5'])
def vocabulary(request):
  if request.param == 't5':
    return vocabularies.load_vocabulary(str(request.getfixturevalue('t5_pieces')))
  request.getfixturevalue('assets')('smollm2-135m-instruct')
  return vocabularies.load_vocabulary('smollm2-135m-instruct')


def walk(grammar, tokens) -> bool:
  state = 0
  for token in tokens:
    places = np.flatnonzero(grammar.tokens[state] == token)
    if not len(places):
      return False
    state = grammar.next[state, places[0]]
  return True


def test_random_walks_are_read_back(vocabulary):
  grammar = answer_grammar(GENRES, vocabulary, QUESTION)
  rng, seen = np.random.default_rng(0), set()
  for _ in range(300):
    tokens, state = [], 0
    while vocabulary.eos_id not in tokens:
      place = rng.integers((grammar.tokens[state] >= 0).sum())
      tokens.append(int(grammar.tokens[state, place]))
      state = grammar.next[state, place]
    answer = QUESTION.parse(vocabulary.decode(tokens), GENRES)
    assert answer.ok
    assert max(len(answer.liked), len(answer.disliked)) <= QUESTION.most
    text = QUESTION.answer(answer.liked, answer.disliked)
    assert [*vocabulary.encode(text), vocabulary.eos_id] == tokens, 'nothing twice'
    seen.add(len(answer.liked))
  assert seen == {0, 1, 2, 3}


def test_the_answers_of_the_task_are_in_it(vocabulary):
  grammar = answer_grammar(GENRES, vocabulary, QUESTION)
  rng = np.random.default_rng(1)
  sides = lambda: list(rng.permutation(GENRES)[: rng.integers(QUESTION.most + 1)])
  for _ in range(200):
    tokens = vocabulary.encode(QUESTION.answer(sides(), sides()))
    assert walk(grammar, [*tokens, vocabulary.eos_id])


@pytest.mark.parametrize(
  'text',
  [
    "The user likes Drama, Drama and doesn't like War",
    "The user likes Comedy and doesn't like War",
    "The user likes none, War and doesn't like none",
    "The user likes Action, Drama, War, Sci-Fi and doesn't like none",
    'The user likes Action',
    'Yes',
  ],
)
def test_others_are_not(vocabulary, text):
  grammar = answer_grammar(GENRES, vocabulary, QUESTION)
  assert not walk(grammar, [*vocabulary.encode(text), vocabulary.eos_id])


def test_all_begin_alike(vocabulary):
  tokens, _ = answer_grammar(GENRES, vocabulary, QUESTION).forced()
  assert vocabulary.decode(tokens) == 'The user likes'


@pytest.mark.parametrize('vocabulary', ['t5'], indirect=True)
def test_a_vocabulary_without_the_words(vocabulary):
  """SmolLM2's has a token for every byte."""
  with pytest.raises(ValueError, match='has no separate tokens'):
    answer_grammar((*GENRES, '電影'), vocabulary, QUESTION)


def test_fewer_genres_than_places(vocabulary):
  """Behind the last genre there is nothing more to list."""
  grammar = answer_grammar(('Drama', 'War'), vocabulary, QUESTION)
  end = vocabulary.eos_id
  for text in (
    "The user likes War, Drama and doesn't like War",
    QUESTION.answer([], []),
  ):
    assert walk(grammar, [*vocabulary.encode(text), end])
  assert not walk(grammar, vocabulary.encode('The user likes War, Drama, '))
