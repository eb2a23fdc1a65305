"""Every answer of the grammar is read back; every answer of the task is in it."""

import dataclasses
import itertools

import numpy as np
import pytest

from benchmarks.subset_construction import lists_automaton
from tasks import questions, vocabularies
from tasks.answer_grammar import answer_grammar
from tests.grammar_walks import Walks

# MovieLens has one whose end is a token with the comma behind it.
GENRES = (
  'Action',
  'Sci',
  'Children',
  "Children's",
  'Drama',
  'Film-Noir',
  'Sci-Fi',
  'War',
)
GENRES += ('(no genres listed)',)
QUESTION, ROWS = questions.MOVIELENS, 200


@pytest.fixture(params=['smollm2', 't5'])
def vocabulary(request):
  if request.param == 't5':
    return vocabularies.load_vocabulary(str(request.getfixturevalue('t5_pieces')))
  request.getfixturevalue('assets')('smollm2-135m-instruct')
  return vocabularies.load_vocabulary('smollm2-135m-instruct')


def test_the_tokens_that_subset_construction_allows(vocabulary):
  """In the same columns, so that also draws are the same."""
  for most, names in itertools.product((1, 2, 3), (GENRES, GENRES[:1])):
    question = dataclasses.replace(QUESTION, most=most)
    automaton = lists_automaton(names, vocabulary, question)
    walks = Walks(answer_grammar(names, vocabulary, question))
    rng = np.random.default_rng(most)
    reached, states = walks.begin(ROWS), np.zeros(ROWS, int)
    for _ in range(45):
      tokens = automaton.rows[states]
      np.testing.assert_array_equal(walks.tokens(reached), tokens)
      columns = rng.integers((tokens >= 0).sum(1))
      reached, states = walks.take(reached, columns), automaton.next[states, columns]
    assert (tokens[:, 0] == vocabulary.eos_id).all(), 'all have ended'


def test_random_walks_are_read_back(vocabulary):
  walks, seen = Walks(answer_grammar(GENRES, vocabulary, QUESTION)), set()
  for row in walks.random(300, 45, seed=0).tolist():
    tokens = row[: row.index(vocabulary.eos_id) + 1]
    answer = QUESTION.parse(vocabulary.decode(tokens), GENRES)
    assert answer.ok
    assert max(len(answer.liked), len(answer.disliked)) <= QUESTION.most
    text = QUESTION.answer(answer.liked, answer.disliked)
    assert [*vocabulary.encode(text), vocabulary.eos_id] == tokens, 'nothing twice'
    seen.add(len(answer.liked))
  assert seen == {0, 1, 2, 3}


def test_the_answers_of_the_task_are_in_it(vocabulary):
  walks = Walks(answer_grammar(GENRES, vocabulary, QUESTION))
  rng = np.random.default_rng(1)
  sides = lambda: list(rng.permutation(GENRES)[: rng.integers(QUESTION.most + 1)])
  for _ in range(200):
    tokens = vocabulary.encode(QUESTION.answer(sides(), sides()))
    assert vocabulary.eos_id in walks.after(tokens)


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
  walks = Walks(answer_grammar(GENRES, vocabulary, QUESTION))
  assert walks.after([*vocabulary.encode(text), vocabulary.eos_id]) is None


def test_all_begin_alike(vocabulary):
  tokens, _ = answer_grammar(GENRES, vocabulary, QUESTION).forced()
  assert vocabulary.decode(tokens) == 'The user likes'


@pytest.mark.parametrize('vocabulary', ['t5'], indirect=True)
def test_a_vocabulary_without_the_words(vocabulary):
  """SmolLM2's has a token for every byte."""
  with pytest.raises(ValueError, match='has no separate tokens'):
    answer_grammar((*GENRES, '電影'), vocabulary, QUESTION)


@pytest.mark.parametrize('vocabulary', ['t5'], indirect=True)
def test_names_with_the_same_tokens(vocabulary):
  """SentencePiece writes ligatures as letters."""
  with pytest.raises(ValueError, match=r"'ﬁlm.*begins with the tokens of 'film"):
    answer_grammar(('film', 'ﬁlm'), vocabulary, QUESTION)


def test_fewer_genres_than_places(vocabulary):
  """Behind the last genre there is nothing more to list."""
  walks = Walks(answer_grammar(('Drama', 'War'), vocabulary, QUESTION))
  for text in (
    "The user likes War, Drama and doesn't like War",
    QUESTION.answer([], []),
  ):
    assert vocabulary.eos_id in walks.after(vocabulary.encode(text))
  assert walks.after(vocabulary.encode('The user likes War, Drama, ')) is None


def test_no_genres(vocabulary):
  walks = Walks(answer_grammar((), vocabulary, QUESTION))
  assert walks.after(vocabulary.encode(QUESTION.answer([], []))) == {vocabulary.eos_id}
