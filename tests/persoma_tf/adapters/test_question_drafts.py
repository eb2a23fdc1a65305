"""Drafts of several questions against models of one with the same parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from persoma_tf import losses
from persoma_tf.adapters.asked_item import AskedItem
from persoma_tf.adapters.option_queries import OptionQueries
from persoma_tf.adapters.perceiver import Perceiver
from persoma_tf.adapters.question_drafts import QuestionDrafts
from persoma_tf.answer_template import SLOT
from persoma_tf.model import Persoma, adapter_inputs
from persoma_tf.soft_prompt import LinearReadout, SoftPrompt
from persoma_tf.training.stages import Stage, make_steps
from tests.persoma_tf import small_model

B, G, TOKENS, WIDTH = 6, 3, 2, small_model.CONFIG.d_model
QUESTION = np.array([0, 1, 2, 1, 0, 2])  # lists, a choice about items, none
LISTS, CHOICE, FREE = 'lists_v1', 'choice_v1', 'free_v1'
LAYOUTS = {LISTS: (5, SLOT, 6, SLOT), CHOICE: (7, SLOT)}
SIZES = {LISTS: (4, 2, 2 * G + 1), CHOICE: (2, 1, 2)}  # tokens, slots, words


def drafts():
  lists = OptionQueries(
    layout=LAYOUTS[LISTS],
    num_words=2 * G + 1,
    num_options=G,
    first_words=(0, G),
    hidden=8,
    width=8,
    num_heads=2,
    name=LISTS,
  )
  choice = AskedItem(
    layout=LAYOUTS[CHOICE],
    num_words=2,
    num_categories=G,
    num_heads=2,
    head_width=3,
    hidden=8,
    width=8,
    hard=True,
    name=CHOICE,
  )
  return {LISTS: lists, CHOICE: choice, FREE: None}


def adapter(draft):
  resampler = Perceiver(num_tokens=TOKENS, width=8, num_heads=2)
  return SoftPrompt(resampler, LinearReadout(), WIDTH, draft=draft)


@pytest.fixture(scope='module')
def case():
  """(model, params, batch) of three questions, which a batch mixes."""
  model, params, batch = small_model.make(B)
  rng = np.random.default_rng(1)
  normal = lambda *shape: rng.normal(size=(B, *shape)).astype(np.float32)
  batch['asked_embeddings'], batch['question'] = normal(1, 4), QUESTION[:, None]
  batch['known_embeddings'], batch['known_values'] = normal(4, small_model.H), normal(4)
  batch['known_categories'] = rng.integers(0, 2, (B, 4, G)).astype(np.float32)
  batch['answer_slots'] = np.array(
    [[0, 4], [1, -1], [-1, -1], [0, -1], [6, 5], [-1, -1]], np.int32
  )
  made = drafts()
  several = adapter(QuestionDrafts(tuple(made), tuple(made.values()), (1.0, 3.0, 0.5)))
  init = jax.jit(several.init)(jax.random.key(0), **adapter_inputs(batch))['params']
  return Persoma(several, model.decoder), {**params, 'adapter': init}, batch


@functools.cache
def of(method):
  """One program, instead of one for each operation."""
  apply = lambda model, params, batch: model.apply(
    {'params': params}, batch, method=method
  )
  return jax.jit(apply, static_argnums=0)


def alone(case, name):
  """(model, params, rows of the batch) of one question, with its parameters."""
  model, params, batch = case
  (rows,) = np.nonzero([LISTS, CHOICE, FREE].index(name) == QUESTION)
  part = {key: values[rows] for key, values in batch.items() if key != 'question'}
  part['answer_slots'] = part['answer_slots'][:, : SIZES.get(name, (0, 0))[1]]
  shared = {k: v for k, v in params['adapter'].items() if k != 'draft'}
  draft = drafts()[name]
  if draft:
    draft = draft.clone(name=None)
    shared['draft'] = params['adapter']['draft'][name]
  one = model.clone(adapter=adapter(draft))
  return one, {**params, 'adapter': shared}, part, rows


def test_parameters_have_the_names_of_the_questions(case):
  assert case[1]['adapter']['draft'].keys() == {LISTS, CHOICE}


@pytest.mark.parametrize('name', [LISTS, CHOICE, FREE])
def test_each_row_has_what_a_model_of_its_question_gives(case, name):
  model, params, batch = case
  found = of(Persoma.soft_prompt_of)(model, params, batch)
  one, own, part, rows = alone(case, name)
  expected = of(Persoma.soft_prompt_of)(one, own, part)
  tokens, slots, words = SIZES.get(name, (0, 0, 0))
  size = TOKENS + tokens
  assert found.tokens.shape == (B, TOKENS + 4, WIDTH)
  np.testing.assert_allclose(found.tokens[rows, :size], expected.tokens, atol=1e-6)
  assert found.mask[rows, :size].all()
  assert not found.mask[rows, size:].any()
  if slots:
    logits = found.slot_logits[rows, :slots, :words]
    np.testing.assert_allclose(logits, expected.slot_logits, atol=1e-6)
  barred = np.asarray(found.slot_logits[rows]).copy()
  barred[:, :slots, :words] = -1e9
  assert (barred == -1e9).all()


@pytest.mark.parametrize('name', [LISTS, CHOICE, FREE])
def test_the_decoder_reads_a_mixed_batch_as_those_of_each_question(case, name):
  """What pads a shorter draft changes nothing."""
  model, params, batch = case
  logits = of(Persoma.target_logits)(model, params, batch)
  one, own, part, rows = alone(case, name)
  expected = of(Persoma.target_logits)(one, own, part)
  np.testing.assert_allclose(logits[rows], expected, atol=1e-5)


def test_user_tokens_do_not_depend_on_the_question(case):
  model, params, batch = case
  tell = of(Persoma.soft_prompt_of)
  found = tell(model, params, batch).tokens[:, :TOKENS]
  other = {**batch, 'question': (QUESTION[:, None] + 1) % 3}
  other['asked_embeddings'] = batch['asked_embeddings'] + 1
  np.testing.assert_array_equal(found, tell(model, params, other).tokens[:, :TOKENS])


def test_a_taught_draft_has_the_words_of_the_label(case):
  model, params, batch = case
  words = jnp.array(batch['answer_slots'])
  apply = jax.jit(model.adapter.apply)
  soft = apply({'params': params['adapter']}, **adapter_inputs(batch), words=words)
  rms = params['adapter']['token_rms']
  for row, name, places in ((0, LISTS, (1, 3)), (1, CHOICE, (1,))):
    of_words = np.asarray(params['adapter']['draft'][name]['words'])
    for place, word in zip(places, words[row], strict=False):
      vector = of_words[word]
      expected = vector / np.sqrt(np.mean(vector**2)) * rms
      found = soft.tokens[row, TOKENS + place]
      np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_losses_of_each_question_equal_those_of_its_own_model(case):
  model, params, batch = case
  tell = lambda model, params, batch, **which: jax.jit(
    lambda p: losses.mean_losses(model, p, batch, **which)
  )(params)
  found = tell(model, params, batch)
  own = {}
  for name in (LISTS, CHOICE, FREE):
    one, parts, rows, _ = alone(case, name)
    rows = {key: x for key, x in rows.items() if not key.startswith('known')}
    kept = tell(one, parts, rows)
    own |= {f'{loss}/{name}': value for loss, value in kept.items()}
  own['slot_loss/free_v1'] = 0.0  # it has no slots
  assert found.keys() == {*own, 'category_loss', 'value_loss'}
  for name, value in own.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_losses_and_their_sums_equal_numpy(case):
  model, params, batch = case
  sums = jax.jit(lambda p: losses.loss_sums(model, p, batch, lm=False))(params)
  counts = losses.loss_counts(batch, model.adapter.questions)
  soft = of(Persoma.soft_prompt_of)(model, params, batch)
  logits = np.asarray(soft.slot_logits, np.float64)
  for number, (name, (_, slots, _)) in enumerate(SIZES.items()):
    total, rows = 0.0, np.flatnonzero(number == QUESTION)
    for row, slot in np.ndindex(len(rows), slots):
      of_slot = logits[rows[row], slot]
      label = batch['answer_slots'][rows[row], slot]
      total += np.log(np.exp(of_slot - of_slot.max()).sum()) + of_slot.max()
      total -= of_slot[label]
    np.testing.assert_allclose(sums[f'slot_loss/{name}'], total, rtol=1e-5)
    assert counts[f'slot_loss/{name}'] == len(rows) * slots


def test_weights_of_questions_weigh_their_losses(case):
  model, params, batch = case
  stage = Stage(
    'x', 1, B, 1e-3, lm_weight=2.0, slot_weight=0.5, category_weight=0.1, value_weight=1
  )
  evaluate = make_steps(model, stage).evaluate
  found = jax.device_get(
    evaluate({}, traverse_util.flatten_dict(params, sep='/'), batch)
  )
  total = sum(
    of_question * (2.0 * found[f'lm_loss/{name}'] + 0.5 * found[f'slot_loss/{name}'])
    for name, of_question in ((LISTS, 1.0), (CHOICE, 3.0), (FREE, 0.5))
  )
  total += 0.1 * found['category_loss'] + found['value_loss']
  np.testing.assert_allclose(found['loss'], total, rtol=1e-6)


def test_a_batch_without_question_numbers_is_refused(case):
  model, params, batch = case
  plain = {name: x for name, x in batch.items() if name != 'question'}
  with pytest.raises(ValueError, match=r"questions \['lists_v1', 'choice_v1', 'free_v"):
    of(Persoma.soft_prompt_of)(model, params, plain)


def test_only_answers_in_free_words_have_no_draft(case):
  model, params, batch = case
  free = model.clone(adapter=adapter(QuestionDrafts((FREE,), (None,), (1.0,))))
  shared = {k: v for k, v in params['adapter'].items() if k != 'draft'}
  batch = {**batch, 'question': np.zeros((B, 1), np.int32)}
  soft = of(Persoma.soft_prompt_of)(free, {**params, 'adapter': shared}, batch)
  assert soft.tokens.shape == (B, TOKENS, WIDTH)
  assert soft.slot_logits is None
