"""LoRA: no effect at the start, the formula, merging, and what is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from persoma_tf.decoders.t5 import T5
from persoma_tf.decoders.t5_layers import T5Config
from persoma_tf.parameters import freezing, lora
from tests.causal_configs import CausalLm, llama

CONFIG = llama(3, 12, 2, vocab_size=30, num_kv_heads=1, d_ff=20)
TOKENS = np.array([[1, 4, 9, 2], [3, 3, 7, 8]], np.int32)
EVERY_MATRIX = (r'layers/.*/kernel',)


@pytest.fixture(scope='module')
def base():
  """(logits of parameters, parameters)."""
  module = CausalLm(CONFIG)
  params = module.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))['params']
  logits = jax.jit(lambda params: module.apply({'params': params}, TOKENS))
  return logits, jax.tree.map(np.asarray, params)


def moved(params, seed=1):
  """The same tree with random `lora_b`."""
  rng = np.random.default_rng(seed)
  draw = lambda path, x: (
    rng.normal(size=x.shape).astype(np.float32) if path[-1].key == 'lora_b' else x
  )
  return jax.tree_util.tree_map_with_path(draw, params)


def test_at_the_start_it_is_the_base_model(base):
  logits, params = base
  added = lora.add_lora(params, seed=0, targets=EVERY_MATRIX)
  np.testing.assert_array_equal(logits(added), logits(params))


@pytest.mark.parametrize('targets', ['query_value', EVERY_MATRIX])
def test_merged_weights_give_the_same_logits(base, targets):
  logits, params = base
  tuned = moved(lora.add_lora(params, seed=0, rank=4, alpha=2.0, targets=targets))
  merged = lora.merge_lora(tuned)
  same = jax.tree.map(np.shape, merged) == jax.tree.map(np.shape, params)
  assert same, 'merging leaves the base tree'
  np.testing.assert_allclose(logits(merged), logits(tuned), rtol=1e-4, atol=1e-4)
  assert np.abs(logits(merged) - logits(params)).max() > 1e-2


def test_merging_is_the_formula(base):
  _, params = base
  tuned = moved(lora.add_lora(params, seed=0, rank=4, alpha=2.0))
  query = tuned['layers']['attention']['query']
  merged = lora.merge_lora(tuned)['layers']['attention']['query']['kernel']
  for layer in range(3):
    update = query['lora_a'][layer] @ query['lora_b'][layer] * (2.0 / 4)
    expected = query['kernel'][layer] + update
    np.testing.assert_allclose(merged[layer], expected, atol=1e-6)


def test_the_patterns_that_train(base):
  _, params = base
  added = {'decoder': lora.add_lora(params, seed=0)}
  trainable, frozen = freezing.split_params(added, freezing.tuned('lora'))
  names = {path.rsplit('/', 1)[1] for path in trainable}
  assert names == {'lora_a', 'lora_b'}
  assert len(trainable) == 4
  assert not {path for path in frozen if path.endswith(('lora_a', 'lora_b'))}


MATRICES = {'query', 'key', 'value', 'out', 'gate', 'up', 'down'}
OF_T5 = {'query', 'key', 'value', 'out', 'wi', 'wo'}


@pytest.mark.parametrize(
  ('name', 'found', 'of_t5'),
  [
    ('query_value', {'query', 'value'}, {'query', 'value'}),
    ('attention', MATRICES - {'gate', 'up', 'down'}, OF_T5 - {'wi', 'wo'}),
    ('mlp', {'gate', 'up', 'down'}, {'wi', 'wo'}),
    ('all', MATRICES, OF_T5),
  ],
)
def test_names_of_targets(base, name, found, of_t5):
  t5 = T5(T5Config(9, 4, 1, 4, 2, 1, 1, gated=False))
  tokens = np.ones((1, 2), np.int32)
  shapes = jax.eval_shape(t5.init, jax.random.key(0), tokens, tokens)['params']
  for params, expected in ((base[1], found), (shapes, of_t5)):
    flat = traverse_util.flatten_dict(lora.add_lora(params, seed=0, targets=name))
    assert {path[-2] for path in flat if path[-1] == 'lora_a'} == expected


def test_patterns_that_match_nothing_or_no_matrix(base):
  _, params = base
  with pytest.raises(ValueError, match=r"'q_proj' is none of .* and matches none of"):
    lora.add_lora(params, seed=0, targets=('q_proj',))
  with pytest.raises(ValueError, match='final_norm/scale, not a matrix'):
    lora.add_lora(params, seed=0, targets=('final_norm/scale',))
