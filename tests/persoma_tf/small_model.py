"""A whole model of a few thousand parameters, and a batch for it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from persoma_tf import decoders
from persoma_tf.adapters.perceiver import Perceiver
from persoma_tf.model import Persoma
from persoma_tf.soft_prompt import SLOT, SoftPrompt, TemplateReadout
from persoma_tf.training.initial_adapter import init_adapter
from tests.causal_configs import CausalLm, llama

N, H, T, L, V = 6, 5, 2, 4, 30
CONFIG = llama(2, 12, 2, vocab_size=V, num_kv_heads=1, d_ff=20)
LENGTHS = np.array([4, 2, 3, 1] * 2)  # target tokens of each row
ITEMS = np.array([6, 3, 1, 0] * 2)  # of each history


def make_batch(batch_size: int) -> dict[str, np.ndarray]:
  """As HistoryFeatureConverter gives it, with words among the padding and of id 0."""
  rng = np.random.default_rng(0)
  weights = (np.arange(L) < LENGTHS[:batch_size, None]).astype(np.int32)
  targets = rng.integers(V, size=weights.shape).astype(np.int32)
  prompts = rng.integers(V, size=(batch_size, T)).astype(np.int32)
  prompts[0, 0] = targets[0, 1] = 0
  asked = np.ones_like(prompts)
  asked[1, 1:] = 0  # prompts differ in length
  statistics = rng.normal(size=(batch_size, 4)).astype(np.float32)
  statistics[0, 1] = np.nan
  return {
    'encoder_input_tokens': prompts,
    'encoder_input_mask': asked,
    'decoder_target_tokens': targets,
    'decoder_input_tokens': np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
    'decoder_loss_weights': weights,
    'history_embeddings': rng.normal(size=(batch_size, N, H)).astype(np.float32),
    'history_mask': (np.arange(N) < ITEMS[:batch_size, None]).astype(np.int32),
    'answer_slots': rng.integers(0, 3, (batch_size, 2)).astype(np.int32),
    'history_statistics': statistics,
  }


def make(
  batch_size: int = 3, decoder: decoders.LoadedDecoder | None = None
) -> tuple[Persoma, dict, dict[str, np.ndarray]]:
  """(model, params, batch); with a Llama of random weights, or another decoder."""
  if decoder is None:
    model, params = _with_llama(batch_size)
    # A training step may take over the arrays it is given: each caller has its own.
    return model, jax.tree.map(lambda x: x.copy(), params), make_batch(batch_size)
  return *_with(decoder, batch_size), make_batch(batch_size)


@functools.cache
def _with_llama(batch_size):
  module = CausalLm(CONFIG)
  params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))
  decoder = decoders.LoadedDecoder('tiny', module, params['params'], CONFIG.d_model, V)
  return _with(decoder, batch_size)


def _with(decoder, batch_size):
  adapter = SoftPrompt(
    Perceiver(num_tokens=2, width=8, num_heads=2),
    TemplateReadout(layout=(5, SLOT, 6, SLOT), num_words=3, hidden=8),
    width=decoder.width,
    num_statistics=4,
  )
  model = Persoma(adapter, decoder.module)
  batch = make_batch(batch_size)
  made = init_adapter(model, decoder, batch, words=[[1], [2, 3], [4]], seed=0)
  return model, {'decoder': decoder.params, 'adapter': made}
