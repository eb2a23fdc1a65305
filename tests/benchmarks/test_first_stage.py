"""Several steps in one call are the same steps; ratios say how rows differ."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import first_stage


def _batches(number):
  rng = np.random.default_rng(0)
  rows = lambda: rng.integers(3, size=(2, 4, 1)).astype(np.int32)
  return [
    {'history_rows': rows(), 'history_mask': np.ones((2, 4))} for _ in range(number)
  ]


def _update(trained, state, frozen, batch):
  total = jnp.sum(batch['history_embeddings'])
  return trained * frozen + total, state + 1, {'total': total}


def test_stacks_keep_the_order():
  batches = _batches(4)
  for size in (1, 2, 4):
    stacks = first_stage.stacked(batches, size)
    assert len(stacks) == 4 // size
    rows = np.concatenate([stack['history_rows'] for stack in stacks])
    np.testing.assert_array_equal(rows, np.stack([x['history_rows'] for x in batches]))


@pytest.mark.parametrize('size', [1, 2, 4])
def test_many_steps_are_those_of_the_loop(size):
  tables = (np.arange(6, dtype=np.float32).reshape(3, 2),)
  trained, state, totals = jnp.float32(1), jnp.int32(0), []
  for batch in _batches(4):
    gathered = first_stage.gather(batch, tables)
    trained, state, metrics = _update(trained, state, 0.5, gathered)
    totals.append(metrics['total'])
  many = jax.jit(functools.partial(first_stage.many_steps, _update))
  carry, found = (jnp.float32(1), jnp.int32(0)), []
  for stack in first_stage.stacked(_batches(4), size):
    *carry, metrics = many(*carry, 0.5, stack, tables)
    found += metrics['total'].tolist()
  assert carry == [trained, state]
  assert found == totals


def test_ratios_of_all_rows():
  kinds = {'training': 2.0, 'data': 1.0, 'update': 1.5}
  seconds = {
    f'{case}: {kind}': x
    for case, (kind, x) in itertools.product(first_stage.CASES, kinds.items())
  }
  seconds |= {f'{first_stage.OLD}: training': 3.0, 'calls: loop': 4.0}
  seconds |= {f'calls: {size} at once': 4.0 / size for size in (1, 4, 16)}
  rows = {name: {'seconds_a_step': x} for name, x in seconds.items()}
  found = first_stage.ratios(rows)
  assert found[f'{first_stage.ROWS} / {first_stage.OLD}'] == 1.5
  assert found['options, vectors: data alone, share of the time of training'] == 0.5
  assert found['calls: 16 at once / loop, examples a second'] == 16
