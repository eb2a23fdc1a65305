"""Measures the first training stage, which runs no decoder, and where its time goes.

    python -m benchmarks.first_stage --histories_dir=histories \
      --embeddings_dir=embeddings

For every length of history in `--items`, in one process: `histories/Stage` of the old
recipe and of option queries, whose vectors are in the batches or gathered on the device
from rows, and whose examples are grouped by length or padded to the limit. Of each:
`training` as the trainer's loop does it, `data` (batches are read, nothing is trained)
and `update` (batches that are on the device are trained on again and again). Then
several steps in one call of the device, of batches with rows that are all padded to the
limit: `loop` is what the trainer does, a call that gathers and one that updates.

All rows take turns, `--repeats` times; of each, the median and the spread. Compiling
and a few first steps of a turn are not counted. No compiled code is read from a cache.
Writes `benchmarks/results/first_stage.json`; lengths in it are not measured again.
"""

import argparse
import functools
import itertools
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import gin
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.decoding import machine
from benchmarks.processes import last_line
from benchmarks.turns import in_turns, summary
from persoma_tf import operand_types, recipes
from persoma_tf.parameters import freezing
from persoma_tf.training.stages import Steps, make_steps, operands_of_stage
from persoma_tf.training.training_run import Recipe, TrainingRun
from persoma_tf.training.vector_rows import gather
from pipelines.common import job


class Case(NamedTuple):
  """Names a recipe, and what is changed of it."""

  recipe: str
  bindings: Sequence[str] = ()


_OPTIONS = 'runs/quickstart.gin'
_VECTORS, _PADDED = 'train.vector_tables = ()', "histories/Stage.group_by = ''"
OLD = 'perceiver, vectors, grouped'  # as its recipe has it
ROWS = 'options, rows'
CASES = {
  OLD: Case('runs/perceiver.gin'),
  'options, vectors': Case(_OPTIONS, (_VECTORS, _PADDED)),
  'options, vectors, grouped': Case(_OPTIONS, (_VECTORS,)),
  ROWS: Case(_OPTIONS, (_PADDED,)),
  'options, rows, grouped': Case(_OPTIONS),  # as its recipe has it
}
_KINDS = ('training', 'data', 'update')
_AT_ONCE = (1, 4, 16)  # steps in one call
_WINDOW = 100  # batches that are grouped together: all lengths are among them
_KEPT = 10  # of these, for `update`
_SETTLING = 5  # steps of a turn before it counts, of batches that were made before it
_RESULTS = pathlib.Path(__file__).parent / 'results' / 'first_stage.json'


def main() -> None:
  """Measures each length in a process of its own and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--histories_dir', required=True)
  parser.add_argument('--embeddings_dir', required=True)
  parser.add_argument('--items', default='100,200')
  parser.add_argument('--batch_size', type=int, default=64)
  parser.add_argument('--steps', type=int, default=100, help='of a turn')
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--out', type=pathlib.Path, default=_RESULTS)
  parser.add_argument('--of', type=int, help='internal: items')
  flags = parser.parse_args()
  if flags.of:
    print(json.dumps(measure(flags)))
    return
  flags.out.parent.mkdir(parents=True, exist_ok=True)
  found = json.loads(flags.out.read_text())['lengths'] if flags.out.exists() else {}
  for items in flags.items.split(','):
    if f'N={items}' not in found:
      command = [sys.executable, '-m', 'benchmarks.first_stage', f'--of={items}']
      for name in ('histories_dir', 'embeddings_dir', 'batch_size', 'steps', 'repeats'):
        command.append(f'--{name}={getattr(flags, name)}')
      found[f'N={items}'] = last_line(command)
      flags.out.write_text(json.dumps(about(found), indent=2) + '\n')
  print(json.dumps({items: row['ratios'] for items, row in found.items()}, indent=2))


def about(lengths: dict[str, dict]) -> dict:
  """Returns the content of the results file."""
  return {
    'command': 'python -m benchmarks.first_stage',
    'machine': machine(),
    'versions': job.versions('jax', 'flax', 'tensorflow', 'seqio'),
    'lengths': lengths,
  }


def measure(flags) -> dict:
  """Measures all rows of one length of history."""
  jax.config.update('jax_enable_compilation_cache', False)
  rows, streams = {}, []
  for name, case in CASES.items():
    training = Training(flags, case)
    streams.append(training.stream)
    for kind in _KINDS:
      rows[f'{name}: {kind}'] = functools.partial(getattr(training, kind), flags.steps)
    if name == ROWS:
      calls = Calls(training, max(_AT_ONCE))
      # Every row has as many steps, or nearly.
      count = max(flags.steps // max(_AT_ONCE), 1) * max(_AT_ONCE)
      rows['calls: loop'] = functools.partial(calls.loop, count)
      for size in _AT_ONCE:
        rows[f'calls: {size} at once'] = functools.partial(calls.at_once, size, count)
  seconds = in_turns(rows, flags.repeats)
  for stream in streams:
    stream.close()
  found = {name: summary(times, flags.batch_size) for name, times in seconds.items()}
  settings = {x: getattr(flags, x) for x in ('batch_size', 'steps', 'repeats')}
  return {
    **settings,
    'seed': gin.query_parameter('train.seed'),
    'ratios': ratios(found),
    'rows': found,
  }


def ratios(rows: Mapping[str, dict]) -> dict[str, float]:
  """Tells what rows say of each other."""
  of = lambda name: rows[name]['seconds_a_step']
  found = {}
  for name in CASES:
    if name != OLD:
      found[f'{name} / {OLD}'] = of(f'{OLD}: training') / of(f'{name}: training')
    for kind in ('data', 'update'):
      share = of(f'{name}: {kind}') / of(f'{name}: training')
      found[f'{name}: {kind} alone, share of the time of training'] = share
  for size in _AT_ONCE:
    row = f'calls: {size} at once'
    found[f'{row} / loop, examples a second'] = of('calls: loop') / of(row)
  return found


class Training:
  """Runs the first stage of a case, compiled for all lengths of its batches."""

  def __init__(self, flags, case: Case):
    """Builds the stage as the trainer does, and compiles it."""
    self.stream = self._prepare(flags, case)
    shapes, kept = {}, []
    for place in range(_WINDOW):
      batch = next(self.stream)
      shapes[batch['history_mask'].shape] = batch
      if place % (_WINDOW // _KEPT) == 0:
        kept.append(batch)
    for batch in 2 * list(shapes.values()):  # the second time the carry is a result
      self.step(self.on_device(batch))
    self._kept = [self.on_device(batch) for batch in kept]

  def _prepare(self, flags, case: Case) -> Iterator[Mapping]:
    """Takes from the recipe what a step needs; returns the stream of batches."""
    gin.clear_config()
    data = [f'HISTORIES_DIR = {flags.histories_dir!r}']
    data += [f'EMBEDDINGS_DIR = {flags.embeddings_dir!r}']
    settings = [f'history_limits.items = {flags.of}']
    settings += [f'histories/Stage.batch_size = {flags.batch_size}']
    recipes.parse_recipes([case.recipe], [*data, *settings, *case.bindings])
    run = TrainingRun(Recipe())
    stage, dtype = run.stages[0], operand_types.chosen_type('auto')
    self.steps: Steps = make_steps(run.model, stage, dtype)
    trained, frozen = freezing.split_params(run.fresh_params(), stage.trainable)
    # As `persoma_tf.training.loop.Loop` places them.
    mesh = Mesh(np.array(jax.devices()), ('data',))
    replicated = NamedSharding(mesh, PartitionSpec())
    self._sharded = NamedSharding(mesh, PartitionSpec('data'))
    self._gather = jax.jit(gather)
    self.tables = jax.device_put(tuple(run.recipe.vector_tables), replicated)
    frozen = operands_of_stage(stage, frozen, dtype)
    self.frozen = jax.device_put(frozen, replicated)
    state = self.steps.optimizer.init(trained)
    self.carry = jax.device_put((trained, state), replicated)
    self._log_period = run.recipe.log_period
    return run.data(stage, 0, 0)

  def on_device(self, batch: Mapping) -> dict:
    """Places a batch and gathers its vectors."""
    return self._gather(jax.device_put(batch, self._sharded), self.tables)

  def step(self, batch: Mapping) -> dict:
    """Updates the parameters; returns the metrics, which may still be computed."""
    *self.carry, metrics = self.steps.update(*self.carry, self.frozen, batch)
    return metrics

  def timed(self, act: Callable[[], object], count: int) -> float:
    """Returns the seconds of an act, waited for as often as the trainer reports."""
    jax.block_until_ready([act() for _ in range(_SETTLING)])
    started, pending = time.perf_counter(), []
    for number in range(1, count + 1):
      pending.append(act())
      if number % self._log_period == 0 or number == count:
        jax.block_until_ready(pending)
        pending = []
    return (time.perf_counter() - started) / count

  def training(self, count: int) -> float:
    """Returns the seconds of a step as the trainer's loop does it."""
    return self.timed(lambda: self.step(self.on_device(next(self.stream))), count)

  def data(self, count: int) -> float:
    """Returns the seconds until the next batch, where nothing is trained."""

    def read():
      next(self.stream)  # not returned: the batches of a turn are much memory

    return self.timed(read, count)

  def update(self, count: int) -> float:
    """Returns the seconds of an update, of batches that are on the device."""
    batches = itertools.cycle(self._kept)
    return self.timed(lambda: self.step(next(batches)), count)


class Calls:
  """Runs several steps in one call, on batches that were made before."""

  def __init__(self, training: Training, most: int):
    """Makes the batches, all of the same lengths, and compiles."""
    self._training = training
    self._batches = [next(training.stream) for _ in range(most)]
    self._stacks = {size: stacked(self._batches, size) for size in _AT_ONCE}
    self._many = jax.jit(
      functools.partial(many_steps, training.steps.update), donate_argnums=(0, 1)
    )
    for size in 2 * _AT_ONCE:
      self._call(self._stacks[size][0])

  def _call(self, stack):
    training = self._training
    stack = jax.device_put(stack)
    *training.carry, metrics = self._many(
      *training.carry, training.frozen, stack, training.tables
    )
    return metrics

  def loop(self, count: int) -> float:
    """Returns the seconds of a step with two calls, as in the trainer's loop."""
    training, batches = self._training, itertools.cycle(self._batches)
    return training.timed(
      lambda: training.step(training.on_device(next(batches))), count
    )

  def at_once(self, size: int, count: int) -> float:
    """Returns the seconds of a step where `size` of them are one call."""
    stacks = itertools.cycle(self._stacks[size])
    return self._training.timed(lambda: self._call(next(stacks)), count // size) / size


def stacked(batches: Sequence[Mapping], size: int) -> list[dict]:
  """Stacks batches of the same shapes, `size` at a time."""
  return [
    jax.tree.map(lambda *x: np.stack(x), *batches[at : at + size])
    for at in range(0, len(batches), size)
  ]


def many_steps(update: Callable, trained, state, frozen, stack, tables) -> tuple:
  """Updates with each batch of a stack; returns what is trained, state and metrics."""

  def one(carry, batch):
    trained, state, metrics = update(*carry, frozen, gather(batch, tables))
    return (trained, state), metrics

  (trained, state), metrics = jax.lax.scan(one, (trained, state), stack)
  return trained, state, metrics


if __name__ == '__main__':
  main()
