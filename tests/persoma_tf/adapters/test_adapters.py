"""What every adapter keeps: masks, gradients, order, shapes, parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from persoma_tf.adapters.mlp import Mlp
from persoma_tf.adapters.perceiver import Perceiver
from persoma_tf.adapters.resampling import KINDS
from persoma_tf.adapters.transformer import Transformer

B, N, H = 3, 11, 12
_SMALL = {'num_layers': 1, 'width': 16, 'num_heads': 2, 'num_tokens': 4}
ADAPTERS = {
  **{f'Mlp-{kind}': Mlp(resampling=kind, **_SMALL) for kind in KINDS},
  'Transformer-none': Transformer(resampling='none', **_SMALL),
  'Transformer-queries': Transformer(**_SMALL),
  'Perceiver': Perceiver(**_SMALL),
  'Mlp-sums-pool': Mlp(sums=True, **_SMALL),
  'Transformer-sums': Transformer(sums=True, **_SMALL),
  'Perceiver-sums': Perceiver(sums=True, **_SMALL),
}
# Of saved models: parameter -> shape.
_NORM = {'scale': (16,), 'bias': (16,)}
_ITEMS = {'in': {'kernel': (H, 16), 'bias': (16,)}, 'norm': _NORM}
_FEED_FORWARD = {
  'LayerNorm_0': _NORM,
  'up': {'kernel': (16, 64), 'bias': (64,)},
  'down': {'kernel': (64, 16), 'bias': (16,)},
}
_ATTENTION = {
  **{name: {'kernel': (16, 2, 8)} for name in ('query', 'key', 'value')},
  'out': {'kernel': (2, 8, 16), 'bias': (16,)},
}
_LAYER = {'norm_0': _NORM, 'attention_0': _ATTENTION, 'feed_forward_0': _FEED_FORWARD}
_LATENTS = {'latents': (4, 16), 'norm_out': _NORM, **_LAYER}
_POOL = {'pooled': {'kernel': (17, 16), 'bias': (16,)}, 'norm_out': _NORM}
TREES = {
  'Perceiver': {'items': _ITEMS, 'resample': _LATENTS},
  'Transformer-queries': {'items': _ITEMS, **_LAYER, 'resample': _LATENTS},
  'Mlp-pool': {'items': _ITEMS, 'feed_forward_0': _FEED_FORWARD, 'resample': _POOL},
}


@pytest.fixture(scope='module', params=ADAPTERS)
def case(request):
  """(name, apply, history [B, N, H], mask [B, N]); rows of 11, 5 and no items."""
  module = ADAPTERS[request.param]
  history = jax.random.normal(jax.random.key(0), (B, N, H))
  mask = (jnp.arange(N) < jnp.array([[N], [5], [0]])).astype(jnp.int32)
  params = jax.jit(module.init)(jax.random.key(1), history, mask)
  apply = jax.jit(lambda history, mask: module.apply(params, history, mask))
  return request.param, apply, history, mask


def read(latents, present):
  """Latents with zeros where there is none."""
  return jnp.where(present[..., None], latents, 0.0)


def test_shapes_and_empty_history(case):
  name, apply, history, mask = case
  latents, present = apply(history, mask)
  kept = N if 'none' in name else 4
  assert latents.shape == (B, kept, 16)
  assert present.dtype == bool
  assert jnp.isfinite(latents).all()
  expected = mask if 'none' in name else jnp.ones((B, 4))
  np.testing.assert_array_equal(present, expected)


@pytest.mark.parametrize('garbage', [1e6, jnp.nan, jnp.inf])
def test_padding_is_never_read(case, garbage):
  name, apply, history, mask = case
  dirty = jnp.where(mask[..., None] > 0, history, garbage)
  expected = read(*apply(history, mask))
  np.testing.assert_allclose(read(*apply(dirty, mask)), expected, atol=1e-6)
  wider = jnp.pad(dirty, ((0, 0), (0, 6), (0, 0)), constant_values=garbage)
  made = read(*apply(wider, jnp.pad(mask, ((0, 0), (0, 6)))))
  if 'none' in name:
    made = made[:, :N]
  np.testing.assert_allclose(made, expected, atol=1e-6)


def test_gradients_to_padding_are_zero(case):
  _, apply, history, mask = case
  # Squares of a normalized vector have a constant sum; powers of four have not.
  total = lambda x: jnp.sum(read(*apply(x, mask)) ** 4)
  gradient = jax.jit(jax.grad(total))(history)
  assert not jnp.any(jnp.where(mask[..., None] > 0, 0.0, gradient))
  assert jnp.all(jnp.any(gradient[0] != 0, axis=-1))


def test_order_matters_where_it_is_kept(case):
  name, apply, history, mask = case
  order = jax.random.permutation(jax.random.key(2), N)
  made, _ = apply(history[:, order], mask[:, order])
  same = np.allclose(made, apply(history, mask)[0], atol=1e-5)
  assert same != name.endswith(('none', 'pool'))


@pytest.mark.parametrize('name', TREES)
def test_parameters_are_those_of_saved_models(name):
  """With sums, nothing but sums is added."""
  module, inputs = ADAPTERS[name], (jnp.ones((1, N, H)), jnp.ones((1, N)))
  shapes = lambda module: {
    path: leaf.shape
    for path, leaf in traverse_util.flatten_dict(
      jax.eval_shape(module.init, jax.random.key(0), *inputs)['params'], sep='/'
    ).items()
  }
  expected = traverse_util.flatten_dict(TREES[name], sep='/')
  assert shapes(module) == expected
  more = shapes(module.clone(sums=True))
  assert {path.split('/')[1] for path in more.keys() - expected.keys()} == {'sums'}


def test_vectors_of_single_items_do_not_depend_on_others(case):
  """Also in the transformer: they are what comes before attention."""
  name, _, history, mask = case
  module = ADAPTERS[name]
  params = jax.jit(module.init)(jax.random.key(1), history, mask)
  vectors = jax.jit(lambda *x: module.apply(params, *x, method='item_vectors'))
  found = vectors(history, mask)
  alone = vectors(history[:1, 3:4], mask[:1, 3:4])
  np.testing.assert_allclose(found[0, 3], alone[0, 0], atol=1e-5)
