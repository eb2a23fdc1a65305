"""The T5X model in one process, against the native trainer and `generate.greedy`."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from persoma_tf import decoders, losses
from persoma_tf.inference import generate
from persoma_tf.model import Prompts
from persoma_tf.parameters import freezing
from persoma_tf.training.stages import Stage
from tests import tiny
from tests.persoma_tf import small_model
from tests.t5x import installed

pytestmark = [pytest.mark.t5x, pytest.mark.assets]
installed.require()

from persoma_tf import t5x_model  # noqa: E402

TINY_T5 = pathlib.Path(__file__).parents[1] / 'persoma_tf/decoders/tiny_t5/v1_1'
TASK = 'movielens_genre_prediction_v1'
DECODERS = {
  'llama': lambda: None,
  'gemma': lambda: tiny.random_gemma(small_model.V),
  't5': lambda: decoders.load_decoder(str(TINY_T5)),
  'llama in a chat': lambda: None,
}
CHAT = ((3, 9), 'USER', 'DRAFT', 'PROMPT', (4, 1))


def make(module, **settings) -> t5x_model.PersomaModel:
  stage = Stage(name='s', steps=4, batch_size=3, learning_rate=1e-2, warmup_steps=1)
  return t5x_model.PersomaModel(module, TASK, stage, **settings)


@pytest.fixture(scope='module', params=DECODERS)
def case(request, assets):
  """(module, params, batch, T5X's model)."""
  import tasks.genre_prediction  # noqa: F401  registers the task

  assets('smollm2-135m-instruct')  # the task's vocabulary
  module, params, batch = small_model.make(3, DECODERS[request.param]())
  params = jax.tree.map(jnp.asarray, params)
  if 'chat' in request.param:
    module = module.clone(parts=CHAT)
  return module, params, batch, make(module)


def test_soft_targets_are_refused(case):
  stage = Stage('s', steps=4, batch_size=3, learning_rate=1e-2, soft_targets=0.5)
  with pytest.raises(ValueError, match='T5X has answers as targets'):
    t5x_model.PersomaModel(case[0], TASK, stage)


def test_greedy_answers_are_ours(case):
  module, params, batch, model = case
  eos_id, size = model.output_vocabulary.eos_id, batch['decoder_input_tokens'].shape[1]
  history = batch['history_embeddings'], batch['history_mask']
  soft = generate.soft_prompt(module, params, *history)
  task, prompt = generate.Task(eos_id, size), Prompts.of(batch)
  ours = generate.greedy(module, params, soft, prompt, task)
  tokens, aux = jax.jit(model.predict_batch_with_aux)(params, batch)
  ended = np.cumsum(ours.tokens == eos_id, axis=1) - (ours.tokens == eos_id) > 0
  np.testing.assert_array_equal(tokens, np.where(ended, 0, ours.tokens))
  np.testing.assert_allclose(aux['scores'], ours.log_prob, rtol=1e-5)


def test_beams_are_those_of_a_search_without_a_cache(case):
  """The same answers and scores, so the cache follows the beams when they change place.

  That four beams find no less than greedy search is true of no search in general: they
  drop the greedy answer where four other beginnings are likelier, and may end lower.
  """
  module, params, batch, _ = case
  model = make(module, beams=4)
  found = jax.jit(
    lambda p, b: model.predict_batch_with_aux(p, b, return_all_decodes=True)
  )
  tokens, aux = found(params, batch)
  assert tokens.shape == (3, 4, batch['decoder_input_tokens'].shape[1])
  for user in range(3):
    alone = {key: x[user : user + 1] for key, x in batch.items()}
    expected = search(case, alone, 4)
    scores = [score for score, _ in expected]
    np.testing.assert_allclose(aux['scores'][user, -len(scores) :], scores, rtol=1e-5)
    for row, (_, answer) in zip(tokens[user, -len(scores) :], expected, strict=True):
      assert row.tolist() == [*answer, *[0] * (len(row) - len(answer))]
  best, aux_of_best = jax.jit(model.predict_batch_with_aux)(params, batch)
  np.testing.assert_array_equal(best, tokens[:, -1])
  np.testing.assert_array_equal(aux_of_best['scores'], aux['scores'][:, -1])


def search(case, user, beams: int) -> list[tuple[float, tuple[int, ...]]]:
  """T5X's beam search in numpy that reads each beginning anew: (score, tokens).

  The best answer comes last; one without an end counts only if none has an end.
  """
  model, begun, ended = case[-1], [(0.0, ())], []
  for _ in range(user['decoder_input_tokens'].shape[1]):
    log_probs = next_log_probs(case, user, [tokens for _, tokens in begun], beams)
    total = np.array([[score] for score, _ in begun]) + log_probs
    best = np.argsort(-total, axis=None)[: 2 * beams]
    places = zip(*np.unravel_index(best, total.shape), strict=True)
    longer = [(total[i, x], (*begun[i][1], int(x))) for i, x in places]
    is_ended = lambda answer: answer[1][-1] == model.output_vocabulary.eos_id
    ended += filter(is_ended, longer)
    begun = [answer for answer in longer if not is_ended(answer)][:beams]
  return sorted(ended or begun)[-beams:]


def next_log_probs(case, user, beginnings, rows: int) -> np.ndarray:
  """[beginnings, V], from the logits for teaching; `rows` is the size of the batch."""
  module, params, _, _ = case
  batch = {key: np.repeat(x, rows, axis=0) for key, x in user.items()}
  inputs, size = np.zeros_like(batch['decoder_input_tokens']), len(beginnings[0])
  for row, tokens in enumerate(beginnings):  # behind the start token
    inputs[row, 1 : size + 1] = tokens
  batch['decoder_input_tokens'] = inputs
  logits = module.apply({'params': params}, batch, method='target_logits')
  logits = np.asarray(logits, np.float64)[: len(beginnings), size]
  return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


@pytest.mark.parametrize('beams', [1, 4])
def test_the_score_of_an_answer_is_its_log_likelihood(case, beams):
  """Up to its end, as teaching with the answer as label has it."""
  module, params, batch, _ = case
  model = make(module, beams=beams)
  tokens, aux = jax.jit(model.predict_batch_with_aux)(params, batch)
  end = np.asarray(tokens == model.output_vocabulary.eos_id)
  taught = {
    'decoder_target_tokens': tokens,
    'decoder_input_tokens': np.pad(tokens, ((0, 0), (1, 0)))[:, :-1],
    'decoder_loss_weights': (np.cumsum(end, axis=1) - end == 0).astype(np.int32),
  }
  scores = model.score_batch(params, {**batch, **taught})
  np.testing.assert_allclose(aux['scores'], scores, rtol=1e-5)


def test_loss_and_scores_are_ours(case):
  module, params, batch, model = case
  expected = losses.loss_sums(module, params, batch, history=False)['lm_loss']
  count = losses.loss_counts(batch)['lm_loss']
  loss, _ = model.loss_fn(params, batch, None)
  np.testing.assert_allclose(loss, expected / count, rtol=1e-5)
  scores = model.score_batch(params, batch)
  np.testing.assert_allclose(-scores.sum(), expected, rtol=1e-5)


def test_parameters_that_are_restored_in_bfloat16(case):
  """`RestoreCheckpointConfig.dtype` rounds all of them, the adapter's too."""
  _, params, batch, model = case
  rounded = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), params)
  expected = model.score_batch(params, batch)
  found = model.score_batch(rounded, batch)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, expected, rtol=0.03)
  assert not np.array_equal(found, expected)
  _, aux = jax.jit(model.predict_batch_with_aux)(rounded, batch)
  _, exact = jax.jit(model.predict_batch_with_aux)(params, batch)
  np.testing.assert_allclose(aux['scores'], exact['scores'], rtol=0.03)


def test_frozen_parameters_get_no_gradient_and_no_update(case):
  _, params, batch, model = case
  gradient = jax.grad(lambda p: model.loss_fn(p, batch, None)[0])(params)
  assert all(not np.any(x) for x in jax.tree.leaves(gradient['decoder']))
  assert any(np.any(x) for x in jax.tree.leaves(gradient['adapter']))
  chain = model.optimizer_def.optax_optimizer
  state = chain.init(params)
  trained, _ = freezing.split_params(params, ('adapter/.*',))
  moments = sum(np.size(x) for x in jax.tree.leaves(state)) / 2
  assert moments < 1.1 * sum(np.size(x) for x in trained.values())
  updates, _ = chain.update(gradient, state, params)
  assert all(not np.any(x) for x in jax.tree.leaves(updates['decoder']))


@pytest.mark.parametrize('tuning', ['frozen', 'lora'])
def test_every_parameter_has_named_axes_with_rules(case, tuning):
  module, params, batch, _ = case
  targets = () if tuning == 'frozen' else ('lora_a', 'lora_b')
  model = make(module, tuning=tuning)
  shapes = {key: x.shape for key, x in batch.items()}
  types = {key: x.dtype for key, x in batch.items()}
  made = model.get_initial_variables(jax.random.key(0), shapes, types)
  flat = traverse_util.flatten_dict(made['params'], sep='/')
  axes = traverse_util.flatten_dict(made['params_axes'], sep='/')
  assert {f'{path}_axes' for path in flat} == axes.keys()
  known = {name for name, _ in t5x_model.axis_rules()}
  for path, x in flat.items():
    names = axes[f'{path}_axes'].names
    assert len(names) == len(set(names)) == x.ndim, path
    assert known.issuperset(names), path
  queries = [x for x in flat if x.startswith('decoder/') and '/query/kernel' in x]
  kernels = [axes[f'{path}_axes'].names for path in queries]
  assert kernels
  assert all(names[-2:] == ('embed', 'joined_kv') for names in kernels)
  assert all(any(path.endswith(x) for path in flat) for x in targets)
  if tuning == 'frozen':
    expected = traverse_util.flatten_dict(params, sep='/')
    assert {p: x.shape for p, x in flat.items()} == {
      p: x.shape for p, x in expected.items()
    }


def test_the_first_stage_needs_no_decoder(case):
  module, params, batch, _ = case
  stage = Stage(
    name='h',
    steps=4,
    batch_size=3,
    learning_rate=1e-2,
    lm_weight=0.0,
    slot_weight=1.0,
    statistics_weight=2.0,
  )
  model = t5x_model.PersomaModel(module, TASK, stage)
  loss, metrics = model.loss_fn(params, batch, None)
  ours = losses.mean_losses(module, params, batch, lm=False)
  expected = ours['slot_loss'] + 2 * ours['statistics_loss']
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  assert set(metrics) == {'slot_loss', 'statistics_loss'}


def test_a_checkpoint_must_fit():
  wanted = {'target': {'a': {'b': 1}}, 'state': {'step': 0}}
  stored = {'target': {'a': {'b': 1}}, 'state': {'step': 9}}
  expected = {'target': stored['target'], 'state': {}}
  assert t5x_model.target_only(stored, wanted) == expected
  assert t5x_model.target_only(stored, wanted, is_resuming=True) is stored
  with pytest.raises(ValueError, match=r"missing \['a/b'\], unknown \['a/c'\]"):
    t5x_model.target_only({'target': {'a': {'c': 1}}, 'state': {}}, wanted)
