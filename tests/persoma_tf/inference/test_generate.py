"""Answers against all answers there are, scored one by one, and against each other."""

import copy
import functools
import itertools
import pathlib

import jax
import numpy as np
import pytest

from persoma_tf import decoders, operand_types
from persoma_tf.decoders import stack
from persoma_tf.inference import answer_rows, generate, grammar
from persoma_tf.inference.decoding_settings import WEIGHTS
from persoma_tf.model import Persoma, Prompts
from persoma_tf.parameters import quantization
from persoma_tf.prompt_parts import ORDERS
from tests import tiny
from tests.persoma_tf import small_model

EOS, L = 7, 4
T5_FOLDER = pathlib.Path(__file__).parents[1] / 'decoders/tiny_t5/v1_1'
DECODERS = {
  'llama': lambda: None,
  'gemma': lambda: tiny.random_gemma(small_model.V, num_local=1),  # compiles sooner
  't5': lambda: decoders.load_decoder(str(T5_FOLDER)),
}
# One or two of three names, not the same ones, behind a token that all have.
NAMES = (3, 4, 8)
GRAMMAR = grammar.compiled(
  [
    *(grammar.Phrase(f'{name},', (name, 5), ',', name) for name in NAMES),
    *(grammar.Phrase(f'{name}', (name,), '.', name) for name in NAMES),
  ],
  [
    grammar.FormPlace({',': 1, '.': grammar.END}),
    grammar.FormPlace({'.': grammar.END}, 1),
  ],
  EOS,
  (11,),
)
WITHIN = [(11, name) for name in NAMES]
WITHIN += [(11, x, 5, y) for x, y in itertools.permutations(NAMES, 2)]
FREE, KEPT = generate.Task(EOS, L), generate.Task(EOS, L, GRAMMAR)


class Case:
  """A small model with the soft prompts of some users."""

  def __init__(self, decoder, rows=3, unrolled=True):
    model, params, batch = small_model.make(rows, decoder)
    if unrolled:
      module, tuned = stack.unrolled(model.decoder, params['decoder'])
      model, params = model.clone(decoder=module), {**params, 'decoder': tuned}
    self.model, self.params = model, params
    history = batch['history_embeddings'], batch['history_mask']
    soft = jax.jit(generate.soft_prompt, static_argnums=0)
    self.soft = soft(model, params, *history)
    self.prompt = Prompts.of(batch)

  def run(self, search, *args, task=FREE, rows=slice(None)):
    soft, prompt = jax.tree.map(lambda x: x[rows], (self.soft, self.prompt))
    call = jax.jit(lambda p, s, t: search(self.model, p, s, t, task, *args))
    return jax.device_get(call(self.params, soft, prompt))

  @functools.cached_property
  def free(self):
    """The greedy answers."""
    return self.run(generate.greedy)

  @functools.cached_property
  def kept(self):
    """The greedy answers of the grammar."""
    return self.run(generate.greedy, task=KEPT)

  def log_probs(self, row, answers):
    """log-probabilities [answers, L, V], each answer read as a whole."""
    inputs = np.pad(np.array(answers), ((0, 0), (1, 0)))[:, :-1]
    repeat = lambda x: np.repeat(np.asarray(x)[row : row + 1], len(inputs), 0)
    rows = jax.tree.map(repeat, (*self.soft[:2], self.prompt))
    return np.asarray(self._read(self.params, *rows, inputs))

  @functools.cached_property
  def _read(self):
    def read(params, tokens, mask, prompt, inputs):
      call = lambda model, params, method, *args: model.apply(
        {'params': params}, *args, method=method
      )
      soft = self.soft._replace(tokens=tokens, mask=mask)
      prefix = call(self.model, params, Persoma.prefix, soft, prompt)
      decoder, params = self.model.decoder, params['decoder']
      hidden = call(decoder, params, 'target_hidden', *prefix, inputs)
      return jax.nn.log_softmax(call(decoder, params, 'logits', hidden))

    return jax.jit(read)


@functools.cache
def shared_case(name='llama', rows=3):
  """One for all tests that change nothing of it."""
  return Case(DECODERS[name](), rows)


@pytest.fixture(scope='module', params=DECODERS)
def case(request):
  return shared_case(request.param)


@pytest.mark.parametrize('task', [FREE, KEPT], ids=['free', 'kept'])
@pytest.mark.parametrize('name', ['llama', 'gemma'])
def test_drafts_change_no_answer(name, task):
  case, rows = shared_case(name, 8), np.arange(40) % 8  # halves of 40 go on alone
  plain = case.run(generate.greedy, task=task, rows=rows)
  begun = len(GRAMMAR.forced()[0]) if task.grammar else 0
  right = plain.tokens[:, begun:]
  rng = np.random.default_rng(0)
  wrong = np.where(rng.random(right.shape) < 0.3, 9, right)
  for drafts in (right, wrong, wrong[:, :1]):
    search = lambda *args, drafts=drafts: generate.greedy(*args, drafts)
    made = case.run(search, task=task, rows=rows)
    np.testing.assert_array_equal(made.tokens, plain.tokens)
    np.testing.assert_allclose(made.log_prob, plain.log_prob, atol=1e-5)


def ended(answer):
  return (*answer, *[EOS] * (L - len(answer)))


def test_greedy_is_the_best_next_token(case):
  made = case.free
  for row, tokens in enumerate(made.tokens):
    log_probs = case.log_probs(row, [tokens])[0]
    size = list(tokens).index(EOS) + 1 if EOS in tokens else L
    np.testing.assert_array_equal(log_probs.argmax(-1)[:size], tokens[:size])
    assert (tokens[size:] == EOS).all()
    best = log_probs.max(-1)[:size].sum()
    np.testing.assert_allclose(made.log_prob[row], best, rtol=1e-4)


def within(case, row):
  """{answer: log-probability among what the grammar allows}, one by one."""
  found, every = {}, [ended(answer) for answer in WITHIN]
  for answer, log_probs in zip(every, case.log_probs(row, every), strict=True):
    total = 0.0
    for place in range(answer.index(EOS) + 1 if EOS in answer else L):
      allowed = sorted({x[place] for x in every if x[:place] == answer[:place]})
      total += log_probs[place, answer[place]]
      total -= np.logaddexp.reduce(log_probs[place][allowed])
    found[answer] = total
  return found


def test_within_a_grammar(case):
  made = case.kept
  for row, tokens in enumerate(made.tokens):
    known = within(case, row)
    assert sum(np.exp(list(known.values()))) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(made.log_prob[row], known[tuple(tokens)], atol=1e-4)


def test_logits_of_all_tokens_at_once(monkeypatch):
  """As with many names, where rows have tokens in common."""
  case = shared_case()
  apart = case.kept
  monkeypatch.setattr(answer_rows, '_FEW_TOKENS', 0)
  together = case.run(generate.greedy, task=KEPT)
  np.testing.assert_array_equal(apart.tokens, together.tokens)
  np.testing.assert_allclose(apart.log_prob, together.log_prob, rtol=1e-5)


def test_enough_beams_find_the_best_answer(case):
  made = case.run(generate.beam_search, 8, task=KEPT)
  for row, tokens in enumerate(made.tokens):
    known = within(case, row)
    assert tuple(tokens) == max(known, key=known.get)
    np.testing.assert_allclose(made.log_prob[row], known[tuple(tokens)], atol=1e-4)


def test_beams_of_a_free_answer():
  """All answers of two tokens, in a vocabulary of thirty."""
  case = shared_case()
  task = generate.Task(EOS, 2)
  made = case.run(generate.beam_search, small_model.V, task=task)
  every = list(itertools.product(range(small_model.V), repeat=2))
  for row, tokens in enumerate(made.tokens):
    log_probs = case.log_probs(row, every)
    rows = np.arange(len(every))
    first, second = np.array(every).T
    total = log_probs[rows, 0, first]
    total = total + np.where(first == EOS, 0, log_probs[rows, 1, second])
    best = np.array(every)[total.argmax()]
    assert tokens[0] == best[0]
    assert tokens[1] == (EOS if best[0] == EOS else best[1])
    np.testing.assert_allclose(made.log_prob[row], total.max(), rtol=1e-4)


def test_one_beam_is_greedy(case):
  one, greedy = case.run(generate.beam_search, 1), case.free
  np.testing.assert_array_equal(one.tokens, greedy.tokens)
  np.testing.assert_allclose(one.log_prob, greedy.log_prob, rtol=1e-5)


def test_draws_follow_the_distribution(monkeypatch):
  monkeypatch.setattr(generate, '_MIN_ROWS', 10_000)  # one shape to compile
  case, draws = shared_case(), 700
  rows = np.repeat(np.arange(3), draws)
  keys = jax.random.split(jax.random.key(0), len(rows))
  search = lambda *args: generate.sample(*args, 1.0)
  made = case.run(search, keys, task=generate.Task(EOS, 3, GRAMMAR), rows=rows)
  for row, tokens in enumerate(np.split(made.tokens, 3)):
    threes = np.mean(tokens[:, 1] == 3)
    known = within(case, row)
    wanted = sum(np.exp(x) for answer, x in known.items() if answer[1] == 3)
    assert threes == pytest.approx(wanted, abs=0.06)


def test_a_draw_depends_on_its_own_key_alone():
  case = shared_case(rows=8)
  keys = jax.random.split(jax.random.key(1), 8)
  order = np.array([5, 0, 7, 2, 3, 1, 6, 4])
  search = lambda *args: generate.sample(*args, 0.7)
  whole = case.run(search, keys)
  turned = case.run(search, keys[order], rows=order)
  np.testing.assert_array_equal(whole.tokens[order], turned.tokens)


@pytest.mark.parametrize('name', ['llama', 'gemma'])
def test_unrolled_layers_are_the_same_model(name):
  every = shared_case(name), Case(DECODERS[name](), unrolled=False)
  for unrolled, scanned in zip(*((x.free, x.kept) for x in every), strict=True):
    np.testing.assert_array_equal(scanned.tokens, unrolled.tokens)
    np.testing.assert_allclose(scanned.log_prob, unrolled.log_prob, rtol=1e-5)


def test_rows_that_go_on_alone(monkeypatch):
  """Half of the rows end early; what the others say does not change."""
  case = shared_case(rows=8)
  endless = case.run(generate.greedy, task=generate.Task(-1, L))
  task = generate.Task(int(endless.tokens[0, 1]), L)
  monkeypatch.setattr(generate, '_MIN_ROWS', 100)
  whole = case.run(generate.greedy, task=task)
  monkeypatch.setattr(generate, '_MIN_ROWS', 1)
  halved = case.run(generate.greedy, task=task)
  ended = (whole.tokens == task.eos_id).any(1)
  assert 0 < ended.sum() < len(ended)
  np.testing.assert_array_equal(whole.tokens, halved.tokens)
  np.testing.assert_allclose(whole.log_prob, halved.log_prob, rtol=1e-5)


@pytest.mark.parametrize('weights', [x for x in WEIGHTS if x != operand_types.AUTO])
def test_weights_of_other_types(weights):
  case = copy.copy(shared_case())
  params = quantization.converted(case.params['decoder'], weights)
  kernel = params['layers_0']['gate']['kernel']
  assert kernel.dtype == weights
  before = case.kept
  case.params = {**case.params, 'decoder': params}
  after = case.run(generate.greedy, task=KEPT)
  assert after.log_prob == pytest.approx(before.log_prob, abs=0.05)


@pytest.mark.parametrize('name', ['llama', 'gemma'])
@pytest.mark.parametrize('order', ORDERS)
def test_what_all_users_have_in_common_is_read_once(name, order, monkeypatch):
  """The prompt, one for each row or one for all, and the template's first token."""
  case = copy.copy(shared_case(name))
  other = case.kept
  case.model = case.model.clone(parts=((9, 4), *ORDERS[order]))
  first = jax.tree.map(lambda x: x[0], case.prompt)
  assert first.mask.all()
  prompts = first.for_all(3), first
  found, once = [], []
  split, pieces = Persoma._split_prefix, Persoma._pieces

  def count(*args):
    shared, own = split(*args)
    once.append(sum(mask.shape[1] for _, mask in shared))
    return shared, own

  monkeypatch.setattr(Persoma, '_split_prefix', count)
  for case.prompt in prompts:
    found.append(case.run(generate.greedy, task=KEPT))
    with monkeypatch.context() as patch:
      alone = lambda *args: (x._replace(num_shared=0) for x in pieces(*args))
      patch.setattr(Persoma, '_pieces', alone)
      found.append(case.run(generate.greedy, task=KEPT))
  # The text, the first token of the answer's form and, if it is before, the prompt.
  assert once == ([3, 0, 3, 0] if order == 'soft_first' else [2, 0, 5, 0])
  for made in found[1:]:
    np.testing.assert_array_equal(found[0].tokens, made.tokens)
    np.testing.assert_allclose(found[0].log_prob, made.log_prob, rtol=1e-5)
  assert not np.allclose(found[0].log_prob, other.log_prob), 'the text is read'
