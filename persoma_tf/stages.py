"""Stages of a training run: objective, optimizer, update, and where to checkpoint."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import gin
import jax
import optax

from persoma_tf import freezing
from persoma_tf import model as persoma


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Stage:
  """Some steps under one objective, with an optimizer of its own.

  Attributes:
    name: prefix of its metrics.
    steps: number of updates.
    batch_size: B.
    learning_rate: peak, after a linear warm-up and before a cosine decay.
    warmup_steps: length of the warm-up.
    lm_weight: of the language-model loss; at 0 the decoder is never run.
    slot_weight: of the slot loss, which needs no decoder.
    statistics_weight: of the statistics loss, which needs no decoder.
    trainable: patterns of parameter paths (`persoma_tf.freezing`).
  """

  name: str = gin.REQUIRED
  steps: int = gin.REQUIRED
  batch_size: int = gin.REQUIRED
  learning_rate: float = gin.REQUIRED
  warmup_steps: int = 100
  lm_weight: float = 1.0
  slot_weight: float = 0.0
  statistics_weight: float = 0.0
  trainable: tuple[str, ...] = ('adapter/.*',)


def make_optimizer(stage: Stage) -> optax.GradientTransformation:
  """AdamW with clipped gradients; biases and other vectors do not decay."""
  rate = optax.warmup_cosine_decay_schedule(
    0.0,
    stage.learning_rate,
    min(stage.warmup_steps, stage.steps // 2),
    stage.steps,
    stage.learning_rate * 0.02,
  )
  return optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adamw(
      rate,
      b2=0.98,
      weight_decay=0.01,
      mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params),
    ),
  )


def make_update(
  model: persoma.Persoma, stage: Stage
) -> tuple[optax.GradientTransformation, Callable]:
  """The optimizer of a stage and its compiled update.

  The update maps (trainable, optimizer state, frozen, batch) to (trainable,
  optimizer state, metrics). Only `trainable` is differentiated.
  """
  optimizer = make_optimizer(stage)

  def loss(trainable, frozen, batch):
    params = freezing.merge(trainable, frozen)
    weights = {
      'lm_loss': stage.lm_weight,
      'slot_loss': stage.slot_weight,
      'statistics_loss': stage.statistics_weight,
    }
    metrics = {}
    if stage.slot_weight or stage.statistics_weight:
      metrics = persoma.history_losses(model, params, batch)
    if stage.lm_weight:
      metrics['lm_loss'] = persoma.lm_loss(model, params, batch)
    total = sum(weights[name] * value for name, value in metrics.items())
    return total, {'loss': total, **metrics}

  def update(trainable, state, frozen, batch):
    gradients, metrics = jax.grad(loss, has_aux=True)(trainable, frozen, batch)
    updates, state = optimizer.update(gradients, state, trainable)
    return optax.apply_updates(trainable, updates), state, metrics

  return optimizer, jax.jit(update, donate_argnums=(0, 1))


class Stretch(NamedTuple):
  """Steps begin+1 ... end of a stage, between two checkpoints."""

  begin: int
  end: int
  stage: Stage
  opens_stage: bool


def segments(stages: Sequence[Stage], period: int) -> list[Stretch]:
  """Cuts the stages into stretches of at most `period` steps."""
  stretches, start = [], 0
  for stage in stages:
    end = start + stage.steps
    stretches += [
      Stretch(begin, min(begin + period, end), stage, begin == start)
      for begin in range(start, end, period)
    ]
    start = end
  return stretches
