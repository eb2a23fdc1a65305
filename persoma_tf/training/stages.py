"""Stages of a training run: objective, optimizer, update, and where to checkpoint."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import gin
import jax
import jax.numpy as jnp
import optax

from persoma_tf import model as persoma
from persoma_tf.parameters import freezing
from persoma_tf.training.batching import GROUPS


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Stage:
  """Some steps under one objective, with an optimizer of its own.

  Attributes:
    name: prefix of its metrics.
    steps: number of updates.
    batch_size: B.
    learning_rate: peak, after a linear warm-up.
    schedule: what follows the warm-up: 'cosine' or 'linear' decay to a fiftieth of
      the peak, or 'constant'.
    warmup_steps: length of the warm-up.
    weight_decay: of matrices; biases, scales and other vectors do not decay.
    accumulate: parts that a batch is cut into, one after the other, for less memory;
      the update is that of the whole batch.
    patience: evaluations without a better one after which the stage ends; 0 for none.
    lm_weight: of the language-model loss; at 0 the decoder is never run.
    slot_weight: of the slot loss, which needs no decoder.
    statistics_weight: of the statistics loss, which needs no decoder.
    trainable: patterns of parameter paths (`persoma_tf.parameters.freezing`).
    group_by: what decides which examples share a batch and how far it is padded
      (`persoma_tf.training.batching.GROUPS`); '' pads everything to its limit.
    task: SeqIO task or mixture of this stage; '' for that of the run.
  """

  name: str = gin.REQUIRED
  steps: int = gin.REQUIRED
  batch_size: int = gin.REQUIRED
  learning_rate: float = gin.REQUIRED
  schedule: str = 'cosine'
  warmup_steps: int = 100
  weight_decay: float = 0.01
  accumulate: int = 1
  patience: int = 0
  lm_weight: float = 1.0
  slot_weight: float = 0.0
  statistics_weight: float = 0.0
  trainable: tuple[str, ...] = ('adapter/.*',)
  group_by: str = ''
  task: str = ''

  def __post_init__(self):
    """Checks.

    Raises:
      ValueError: of a setting that cannot work.
    """
    if self.schedule not in ('cosine', 'linear', 'constant'):
      raise ValueError(
        f'{self.name}/Stage.schedule={self.schedule!r}: expected cosine, linear or '
        'constant'
      )
    if self.group_by not in ('', *GROUPS):
      raise ValueError(
        f'{self.name}/Stage.group_by={self.group_by!r}: expected one of {["", *GROUPS]}'
      )
    if self.batch_size % self.accumulate:
      raise ValueError(
        f'{self.name}/Stage.accumulate={self.accumulate} does not divide '
        f'batch_size={self.batch_size}'
      )


def make_schedule(stage: Stage) -> optax.Schedule:
  """Learning rate as a function of the stage's step."""
  peak, warmup = stage.learning_rate, min(stage.warmup_steps, stage.steps // 2)
  rest = stage.steps - warmup
  after = {
    'cosine': optax.cosine_decay_schedule(peak, rest, 0.02),
    'linear': optax.linear_schedule(peak, peak * 0.02, rest),
    'constant': optax.constant_schedule(peak),
  }
  rise = optax.linear_schedule(0.0, peak, warmup)
  return optax.join_schedules([rise, after[stage.schedule]], [warmup])


def _decays(params: Mapping) -> Mapping:
  """Which of the parameters, nested or by path, decay: matrices, stacked or not."""
  vectors = ('bias', 'scale', 'lora_scale')
  name = lambda path: path[-1].key.rsplit('/', 1)[-1]
  return jax.tree_util.tree_map_with_path(
    lambda path, x: x.ndim > 1 and name(path) not in vectors, params
  )


def make_optimizer(stage: Stage) -> optax.GradientTransformation:
  """AdamW with clipped gradients, on nested or flat {path: array} parameters."""
  rate, decay = make_schedule(stage), stage.weight_decay
  return optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adamw(rate, b2=0.98, weight_decay=decay, mask=_decays),
  )


def cast_decoder(params: Mapping, dtype: str) -> dict:
  """The flat parameters {path: array} with those of the decoder in `dtype`."""
  return {
    path: jnp.asarray(x, dtype) if path.startswith('decoder/') else x
    for path, x in params.items()
  }


class Steps(NamedTuple):
  """What a stage does with a batch, compiled.

  Attributes:
    optimizer: its state is what `update` takes.
    update: (trainable, optimizer state, frozen, batch) -> (trainable, optimizer
      state, metrics). Only `trainable` is differentiated.
    evaluate: (trainable, frozen, batch) -> metrics.
  """

  optimizer: optax.GradientTransformation
  update: Callable
  evaluate: Callable


def make_steps(model: persoma.Persoma, stage: Stage, dtype: str = 'float32') -> Steps:
  """Compiles a stage; `dtype` is what the decoder computes in."""
  optimizer = make_optimizer(stage)
  weights = {
    'lm_loss': stage.lm_weight,
    'slot_loss': stage.slot_weight,
    'statistics_loss': stage.statistics_weight,
  }
  history = bool(stage.slot_weight or stage.statistics_weight)

  def loss(trainable, frozen, batch, counts):
    params = freezing.join_params(cast_decoder(trainable, dtype), frozen)
    sums = persoma.loss_sums(
      model, params, batch, lm=bool(stage.lm_weight), history=history
    )
    metrics = {name: total / counts[name] for name, total in sums.items()}
    total = sum(weights[name] * value for name, value in metrics.items())
    return total, {'loss': total, **metrics}

  def gradients(trainable, frozen, batch):
    """Of the whole batch, part by part: every part is divided by the whole's counts."""
    counts = persoma.loss_counts(batch)
    of_part = lambda part: jax.grad(loss, has_aux=True)(trainable, frozen, part, counts)
    if stage.accumulate == 1:
      return of_part(batch)
    cut = lambda x: x.reshape(stage.accumulate, -1, *x.shape[1:])
    parts = jax.tree.map(cut, batch)
    add = lambda total, part: (jax.tree.map(jnp.add, total, of_part(part)), None)
    shapes = jax.eval_shape(of_part, jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(add, zeros, parts)[0]

  def update(trainable, state, frozen, batch):
    gradient, metrics = gradients(trainable, frozen, batch)
    updates, state = optimizer.update(gradient, state, trainable)
    return optax.apply_updates(trainable, updates), state, metrics

  def evaluate(trainable, frozen, batch):
    return loss(trainable, frozen, batch, persoma.loss_counts(batch))[1]

  return Steps(optimizer, jax.jit(update, donate_argnums=(0, 1)), jax.jit(evaluate))


class Stretch(NamedTuple):
  """Steps begin+1 ... end of a stage, between two checkpoints.

  `start` and `stop` are where its stage begins and ends.
  """

  begin: int
  end: int
  stage: Stage
  start: int
  stop: int


def segments(stages: Sequence[Stage], period: int) -> list[Stretch]:
  """Cuts the stages into stretches of at most `period` steps."""
  stretches, start = [], 0
  for stage in stages:
    stop = start + stage.steps
    stretches += [
      Stretch(begin, min(begin + period, stop), stage, start, stop)
      for begin in range(start, stop, period)
    ]
    start = stop
  return stretches
