"""Probabilities of options against each option read as a whole, as in the training."""

import jax
import numpy as np
import pytest

from persoma_tf.inference import generate, grammar, option_scores
from persoma_tf.inference.option_scores import OptionTokens, option_odds
from persoma_tf.model import Persoma
from tests.persoma_tf.inference.test_generate import DECODERS, EOS, Case

# Of one token and of many; some begin as others, one is the beginning of two.
OPTIONS = [[11], [11, 3], [11, 3, 4, 5], [6], [8, 9, 10, 12, 13, 14], [8, 9, 10, 12, 1]]


@pytest.fixture(scope='module', params=DECODERS)
def case(request):
  return Case(DECODERS[request.param]())


def score(case, options=OPTIONS, most=32, rows=slice(None)):
  """The probabilities behind the prompts of some rows."""
  soft, prompt = jax.tree.map(lambda x: x[rows], (case.soft, case.prompt))
  tokens = OptionTokens.of(options, EOS, most)

  def read(params, soft, prompt):
    call = lambda method, *args: case.model.apply(
      {'params': params}, *args, method=method
    )
    return option_odds(call, *call(Persoma.prefill, soft, prompt, 1), tokens, 0, soft)

  return jax.device_get(jax.jit(read)(case.params, soft, prompt))


def expected(case, row, options=OPTIONS):
  """The options one by one, with the end of the sequence."""
  size = max(map(len, OPTIONS)) + 1
  padded = [[*ids, *[EOS] * (size - len(ids))] for ids in options]
  each = case.log_probs(row, padded)
  sums = [
    each[at, np.arange(len(ids) + 1), [*ids, EOS]].sum()
    for at, ids in enumerate(options)
  ]
  return np.exp(sums) / np.exp(sums).sum()


def check(case, found, options=OPTIONS):
  assert found.shape == (3, len(options))
  for row, odds in enumerate(found):
    np.testing.assert_allclose(odds, expected(case, row, options), rtol=1e-3)


def test_each_option_as_a_whole(case):
  check(case, score(case))


def test_pieces_change_nothing(case, monkeypatch):
  """Three pieces of two options, each with logits of four positions at once."""
  monkeypatch.setattr(option_scores, '_PIECE', 13)
  monkeypatch.setattr(option_scores, '_POSITIONS', 4)
  check(case, score(case))


@pytest.mark.parametrize('search', ['greedy', 'beam_search', 'sample'])
def test_behind_a_beginning_that_the_grammar_forces(search):
  """The prompt is read with it, and one option is all of it."""
  case, options = Case(None), [[11], [11, 3], [11, 4, 5]]
  phrases = [grammar.Phrase(str(ids), ids, 'option') for ids in options]
  kept = grammar.compiled(phrases, [grammar.FormPlace({'option': grammar.END})], EOS)
  assert kept.forced()[0] == [11]
  task = generate.Task(EOS, 4, kept, (), OptionTokens.of(options, EOS, 32))
  keys = jax.random.split(jax.random.key(0), 3)
  more = {'greedy': (), 'beam_search': (2,), 'sample': (keys, 0.5)}[search]
  made = case.run(getattr(generate, search), *more, task=task)
  check(case, made.option_odds, options)


def test_scanned_layers():
  case = Case(None, unrolled=False)
  check(case, score(case))


def test_neighbours_change_nothing():
  case = Case(None)
  alone = score(case, rows=slice(1, 2))  # whose prompt is padded
  np.testing.assert_allclose(alone[0], score(case)[1], rtol=1e-4)


def test_of_too_many_options_the_draft_chooses():
  case, options = Case(None), OPTIONS[1:4]
  draft = np.array([[3.0, 1, 2], [0, 5, 1], [-1, -3, -2]], np.float32)[:, None]
  case.soft = case.soft._replace(slot_logits=draft)
  for row, odds in enumerate(score(case, options, most=2)):
    worst = draft[row, 0].argmin()
    assert odds[worst] == 0
    others = np.delete(expected(case, row, options), worst)
    np.testing.assert_allclose(np.delete(odds, worst), others / others.sum(), rtol=1e-3)
  case.soft = case.soft._replace(slot_logits=None)
  check(case, score(case, options, most=2), options)
