"""Names are drawn anew; the old construction writes the answers of the new one."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from benchmarks import grammars
from benchmarks.subset_construction import lists_automaton
from persoma_tf.inference import generate
from persoma_tf.model import Prompts
from tasks import questions
from tasks.answer_grammar import answer_grammar
from tests.persoma_tf import small_model

_WORDS = ('amber', 'basil', 'cedar', 'delta', 'ember', 'fable', 'grove', 'hazel')
_QUESTION = dataclasses.replace(questions.MOVIELENS, likes='A', dislikes=' B', most=2)


class _Letters:
  """A vocabulary of a few signs, of ids of the small model."""

  signs, eos_id, unk_id = '$ ABxyz,noe', 0, None
  vocab_size = len(signs)

  def encode(self, text):
    return [self.signs.index(sign) for sign in text]

  def decode(self, ids):
    return ''.join(self.signs[token] for token in ids)


def test_names_are_different_and_the_same_again():
  draw = lambda: grammars.make_names(_WORDS, 30, np.random.default_rng(0))
  names = draw()
  assert names == draw()
  assert len(set(names)) == 30
  assert {word for name in names for word in name.split()} <= {*_WORDS}


def test_too_few_words():
  with pytest.raises(ValueError, match='there are 8'):
    grammars.make_names(_WORDS, 100, np.random.default_rng(0))


def test_words_that_are_one_token():
  texts = ['', ' amber', 'basil', ' no', ' cedar', ' Delta']
  vocabulary = SimpleNamespace(vocab_size=len(texts), decode=lambda ids: texts[ids[0]])
  assert grammars.single_words(vocabulary) == ['amber', 'cedar']


def test_lists_that_can_go_on():
  assert grammars.lists_so_far(18, 3) == 1 + 18 + 153
  assert grammars.lists_so_far(2, 3) == 1 + 2
  rows = grammars.wanted_rows()
  assert ('trie', 10_000, 6) in rows
  assert ('subsets', 100, 3) in rows
  assert ('subsets', 100, 6) not in rows


def test_the_longest_answer():
  names, letters = ('x', 'yy', 'zz z'), _Letters()
  listed = ', '.join(['zz z'] * 2)
  assert (
    grammars.longest_answer(names, letters, _QUESTION)
    == len(f'A {listed} B {listed}') + 1
  )


@pytest.fixture(scope='module')
def users():
  """(model, arguments) of what writes answers."""
  model, params, batch = small_model.make(4)
  shown = batch['history_embeddings'], batch['history_mask']
  soft = generate.soft_prompt(model, params, *shown)
  return model, (params, soft, Prompts.of(batch))


@pytest.mark.parametrize('search', ['greedy', 'beams', 'drawn'])
def test_both_constructions_write_the_same(users, search):
  """To the last bit."""
  names, letters = ('x', 'xy', 'yx', 'zz z'), _Letters()
  model, arguments = users
  more = {'greedy': (), 'beams': (3,)}
  more['drawn'] = jax.random.split(jax.random.key(0), 4), 1.5
  write = {'greedy': generate.greedy, 'beams': generate.beam_search}
  write = write.get(search, generate.sample)

  def written(make):
    grammar = make(names, letters, _QUESTION)
    assert grammars.size_of(grammar)['widest'] == 4
    task = generate.Task(letters.eos_id, 24, grammar)
    made = jax.jit(lambda *args: write(model, *args, task, *more[search]))(*arguments)
    return jax.device_get(made)

  new, old = written(answer_grammar), written(lists_automaton)
  np.testing.assert_array_equal(new.tokens, old.tokens)
  np.testing.assert_array_equal(new.log_prob, old.log_prob)
  texts = {letters.decode(row[: row.tolist().index(0)]) for row in new.tokens}
  assert all(_QUESTION.parse(text, names).ok for text in texts)
