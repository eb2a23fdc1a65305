"""Trains and drafts with generated options, for `benchmarks.many_options`."""

import pathlib
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn
import gin
import jax
import jax.numpy as jnp
import numpy as np
import optax
import psutil
from jax import Array

from benchmarks.decoding import peak_memory_gb
from persoma_tf.adapters.option_queries import OptionQueries
from persoma_tf.inference import generate
from persoma_tf.model import Persoma
from persoma_tf.parameters import freezing
from persoma_tf.soft_prompt import SLOT, SoftPrompt
from persoma_tf.training.stages import Stage, make_optimizer, make_steps

_LIST = (SLOT, 1, SLOT, 1, SLOT)
_LAYOUT = (1,) * 3 + _LIST + (1,) * 4 + _LIST  # 17 tokens, as of the quickstart
SLOTS, KNOWN = _LAYOUT.count(SLOT), 8
_DECODER_WIDTH = 576  # of SmolLM2
_FEWEST, _SECONDS = 3, 30.0  # steps that are run in any case; no new one after it


def make_batch(
  rng: np.random.Generator, options: int, size: int, items: int, width: int
) -> dict[str, np.ndarray]:
  """Generates examples of full histories, each slot with one of its options."""
  normal = lambda *shape: rng.standard_normal(shape, np.float32)
  first = np.repeat([0, options], SLOTS // 2)
  slots = rng.integers(options, size=(size, SLOTS)) + first
  known = np.zeros((size, KNOWN, options), np.float32)
  kinds = rng.integers(options, size=(size, KNOWN, 1))
  np.put_along_axis(known, kinds, 1, axis=2)
  return {
    'history_embeddings': normal(size, items, width),
    'history_mask': np.ones((size, items), np.int32),
    'known_embeddings': normal(size, KNOWN, width),
    'known_categories': known,
    'known_values': normal(size, KNOWN),
    'answer_slots': slots.astype(np.int32),
    'history_statistics': np.zeros((size, 2 * options), np.float32),
    'decoder_loss_weights': np.ones((size, 1), np.int32),
  }


class Measured(NamedTuple):
  """Holds what is measured.

  Attributes:
    update: compiled on its first call: (trained, state, batch) -> (trained, state,
      metrics); the first two are donated.
    draft: function (trained, history, mask) -> what a user is told.
    trained: flat dict of parameters.
    state: state of the optimizer.
    counted: parameters that count, by their paths.
  """

  update: Callable
  draft: Callable
  trained: Mapping[str, Array]
  state: tuple
  counted: Mapping[str, Array]


def _stage() -> Stage:
  """Returns the first stage of the recipe that gin has read."""
  return gin.query_parameter('train.stages')[0].scoped_configurable_fn()


def option_queries(batch: Mapping[str, np.ndarray]) -> Measured:
  """Builds the draft of the recipe that gin has read, for the options of a batch."""
  options = batch['known_categories'].shape[-1]
  first = np.repeat([0, options], SLOTS // 2).tolist()
  made = OptionQueries(
    layout=_LAYOUT,
    num_words=2 * options + 1,
    num_options=options,
    first_words=tuple(first),
  )
  # No decoder: the stage does not run it.
  model = Persoma(SoftPrompt(None, None, _DECODER_WIDTH, draft=made), None)
  shown = batch['history_embeddings'][:1], batch['history_mask'][:1]
  adapter = jax.jit(model.adapter.init)(jax.random.key(0), *shown)['params']
  stage = _stage()
  trained, _ = freezing.split_params({'adapter': adapter}, stage.trainable)
  steps = make_steps(model, stage)

  def update(trained, state, batch):
    return steps.update(trained, state, {}, batch)

  def draft(trained, history, mask):
    params = freezing.join_params(trained, {})
    soft = generate.soft_prompt(model, params, history, mask)
    return soft.tokens, soft.slot_logits

  counted = {path: x for path, x in trained.items() if '/draft/' in path}
  return Measured(update, draft, trained, steps.optimizer.init(trained), counted)


class MeanClassifier(nn.Module):
  """Tells the logits of each slot's words from the mean vector of a history.

  Attributes:
    words: number of words that can fill a slot.
  """

  words: int

  @nn.compact
  def __call__(self, history: Array, mask: Array) -> Array:
    """Maps [B, N, H] and [B, N] to [B, slots, words]."""
    weights = mask[..., None] / jnp.maximum(mask.sum(1), 1)[:, None, None]
    mean = jnp.sum(history * weights, axis=1)
    return nn.DenseGeneral((SLOTS, self.words), name='out')(mean)


def mean_classifier(batch: Mapping[str, np.ndarray]) -> Measured:
  """Builds the dense classifier, with the optimizer of the recipe's stage."""
  options = batch['known_categories'].shape[-1]
  model, optimizer = MeanClassifier(options + 1), make_optimizer(_stage())
  shown = batch['history_embeddings'][:1], batch['history_mask'][:1]
  params = jax.jit(model.init)(jax.random.key(0), *shown)['params']
  trained, _ = freezing.split_params(params, ('.*',))
  first = np.repeat([0, options], SLOTS // 2)  # `none`, the last word, is in no label

  def draft(trained, history, mask):
    params = freezing.join_params(trained, {})
    return model.apply({'params': params}, history, mask)

  def loss(trained, batch):
    logits = draft(trained, batch['history_embeddings'], batch['history_mask'])
    own = batch['answer_slots'] - first
    return optax.softmax_cross_entropy_with_integer_labels(logits, own).mean()

  def update(trained, state, batch):
    value, gradient = jax.value_and_grad(loss)(trained, batch)
    updates, state = optimizer.update(gradient, state, trained)
    return optax.apply_updates(trained, updates), state, {'loss': value}

  return Measured(update, draft, trained, optimizer.init(trained), trained)


def measure(
  measured: Measured, batch: Mapping[str, np.ndarray], steps: int, most_gb: float
) -> dict:
  """Measures parameters, memory, and the time of a step and of a user's draft.

  Args:
    measured: what is measured.
    batch: B examples.
    steps: number of steps, of which the median counts.
    most_gb: a step that needs more is compiled and not run; 0 for most of what is free.
  """
  sizes = parameters_of(measured.counted)
  found = {'parameters': sum(sizes.values()), 'parameters_of': sizes}
  batch = jax.device_put(dict(batch))
  started = time.perf_counter()
  arguments = measured.trained, measured.state, batch
  update = jax.jit(measured.update, donate_argnums=(0, 1)).lower(*arguments).compile()
  found['compile_seconds'] = time.perf_counter() - started
  found |= memory_of(update.memory_analysis())
  free = 0.8 * psutil.virtual_memory().available / 1e9
  if found['temp_gb'] + found['output_gb'] > (most_gb or free):
    return found | {'run': False}
  # Linux forgets the peak so far: what counts is that of the steps.
  pathlib.Path('/proc/self/clear_refs').write_text('5')
  found['resident_before_gb'] = peak_memory_gb()
  carry = measured.trained, measured.state

  def step():
    nonlocal carry
    *carry, metrics = update(*carry, batch)
    return metrics

  found['seconds_a_step'] = timed(step, steps)
  found['peak_memory_gb'] = peak_memory_gb()
  return found | drafting(measured.draft, carry[0], batch, steps) | {'run': True}


def drafting(draft: Callable, trained, batch: Mapping, passes: int) -> dict:
  """Measures memory and time of a user's draft."""
  arguments = trained, batch['history_embeddings'], batch['history_mask']
  call = jax.jit(draft).lower(*arguments).compile()
  seconds = timed(lambda: call(*arguments), passes)
  return {
    'draft_temp_gb': memory_of(call.memory_analysis())['temp_gb'],
    'seconds_a_user_drafting': seconds / len(arguments[1]),
  }


def parameters_of(params: Mapping[str, Array]) -> dict[str, int]:
  """Sums the parameters of each part of a draft; the largest part first."""
  found: dict[str, int] = {}
  for path, x in params.items():
    part = path.removeprefix('adapter/draft/').split('/')[0]
    found[part] = found.get(part, 0) + int(x.size)
  return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def memory_of(analysis) -> dict[str, float]:
  """Returns what the compiler says that a call needs, in GB."""
  parts = ('temp', 'argument', 'output', 'alias')
  return {f'{x}_gb': getattr(analysis, f'{x}_size_in_bytes') / 1e9 for x in parts}


def timed(act: Callable[[], object], count: int) -> float:
  """Returns the median seconds of `count` acts after a first; fewer if they last."""
  jax.block_until_ready(act())
  times = []
  while len(times) < count and (len(times) < _FEWEST or sum(times) < _SECONDS):
    started = time.perf_counter()
    jax.block_until_ready(act())
    times.append(time.perf_counter() - started)
  return statistics.median(times)
