"""Functions share what is traced only if they do the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from persoma_tf import soft_prompt
from persoma_tf.adapters.mlp import Mlp
from persoma_tf.training import stages
from tests.traced_once import content


def scaled(by, power=1, more=()):
  def call(x, offset=power):
    return x * by + offset + len(more)

  return call


SAME = {
  'numbers': lambda: scaled(2.0),
  'arrays': lambda: scaled(np.arange(3), more=[jnp.ones(2)]),
  'functions': lambda: scaled(1, more=(scaled(2), functools.partial(scaled, by=3))),
  'modules': lambda: Mlp(width=8).init,
  'schedules': lambda: stages.make_schedule(stages.Stage('x', 9, 4, 0.1)),
}


@pytest.mark.parametrize('name', SAME)
def test_made_again_is_the_same(name):
  assert content(SAME[name]()) == content(SAME[name]())


@pytest.mark.parametrize(
  ('one', 'other'),
  [
    (scaled(2), scaled(3)),
    (scaled(2), scaled(2.0)),
    (scaled(2), scaled(2, power=2)),
    (scaled(1), scaled(True)),
    (scaled(np.arange(3)), scaled(np.arange(3.0))),
    (scaled(np.arange(3)), scaled(np.array([0, 1, 3]))),
    (scaled(1, more=(1, 2)), scaled(1, more=[1, 2])),
    (scaled(1, more={'a': 1}), scaled(1, more={'b': 1})),
    (scaled(scaled(1)), scaled(scaled(2))),
    (functools.partial(scaled, 1), functools.partial(scaled, 1, power=1)),
    (Mlp(width=8).init, Mlp(width=9).init),
    (Mlp(width=8).init, Mlp(width=8).apply),
    (
      stages.make_schedule(stages.Stage('x', 9, 4, 0.1)),
      stages.make_schedule(stages.Stage('x', 9, 4, 0.2)),
    ),
  ],
)
def test_another_function_is_another(one, other):
  assert content(one) != content(other)


def test_what_the_product_compiles_is_traced_once():
  with pytest.MonkeyPatch.context() as patched:
    check_traced_once(patched)


def test_nothing_is_shared_where_something_may_be_patched(monkeypatch):
  made = [jax.jit(soft_prompt.Standardize(name='not_shared').init) for _ in range(2)]
  assert made[0].__wrapped__ is not made[1].__wrapped__


def check_traced_once(monkeypatch):
  traced = []
  standardize = soft_prompt.Standardize.__call__

  def counted(module, x):
    traced.append(x.shape)
    return standardize(module, x)

  monkeypatch.setattr(soft_prompt.Standardize, '__call__', counted)
  for _ in range(2):
    init = jax.jit(soft_prompt.Standardize(name='counted_here').init)
    init(jax.random.key(0), np.ones((2, 3)))
  assert traced == [(2, 3)]
  for _ in range(2):  # a test's own function
    jax.jit(lambda x: traced.append(x.shape))(np.ones(4))
  assert traced == [(2, 3), (4,), (4,)]
