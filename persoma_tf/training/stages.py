"""Defines the stages of a training run: objective, optimizer, update, checkpoints."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import gin
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from persoma_tf import losses
from persoma_tf.model import Persoma
from persoma_tf.parameters import freezing, quantization
from persoma_tf.setting_types import Amount, Count, Positive
from persoma_tf.soft_prompt import SoftPrompt
from persoma_tf.training.batching import GROUPS


@gin.configurable
@dataclasses.dataclass(frozen=True)
class Stage:
  """Describes a number of steps with one objective and a separate optimizer.

  Attributes:
    name: name of the stage, prefix of its metrics.
    steps: number of updates.
    batch_size: B.
    learning_rate: peak learning rate, after a linear warm-up.
    schedule: learning rate after the warm-up: 'cosine' or 'linear' decay to a fiftieth
      of the peak, or 'constant'.
    warmup_steps: number of steps of the warm-up.
    weight_decay: weight decay of matrices; biases, scales and other vectors have none.
    accumulate: number of parts of a batch that are computed one after the other, which
      needs less memory; the update is the same as for the whole batch.
    patience: number of evaluations without improvement after which the stage ends; 0
      for no early end.
    lm_weight: weight of the language-model loss; at 0 the decoder never runs.
    slot_weight: weight of the slot loss, which needs no decoder.
    statistics_weight: weight of the statistics loss, which needs no decoder.
    category_weight: weight of the loss of the categories of known interactions, which
      needs no decoder, but `feature_lengths.known`.
    value_weight: weight of the loss of their values; likewise.
    teach: whether the language-model loss is computed with the label as the draft: the
      decoder then learns to read drafts, undisturbed by wrong ones.
    soft_targets: share in the targets of the language-model loss that the draft's
      probabilities have, where an answer is a choice among the words of one slot, or
      begins with the words of the slots (`answer_vocabulary.target_words`); the rest
      has the true answer. Each example then tells the decoder of all options, and how
      far the draft can be trusted.
    trainable: patterns of parameter paths (`persoma_tf.parameters.freezing`).
    group_by: key of `persoma_tf.training.batching.GROUPS`, the features by whose length
      examples are grouped into batches; '' pads all features to their limits.
    task: SeqIO task or mixture of this stage; '' for the task of the run.
  """

  name: str = gin.REQUIRED
  steps: Positive = gin.REQUIRED
  batch_size: Positive = gin.REQUIRED
  learning_rate: Amount = gin.REQUIRED
  schedule: str = 'cosine'
  warmup_steps: Count = 100
  weight_decay: Amount = 0.01
  accumulate: Positive = 1
  patience: Count = 0
  lm_weight: Amount = 1.0
  slot_weight: Amount = 0.0
  statistics_weight: Amount = 0.0
  category_weight: Amount = 0.0
  value_weight: Amount = 0.0
  teach: bool = False
  soft_targets: Amount = 0.0
  trainable: tuple[str, ...] = ('adapter/.*',)
  group_by: str = ''
  task: str = ''

  def weight(self, name: str, of_questions: Mapping[str, float]) -> float:
    """Returns the weight of a loss.

    Args:
      name: 'slot_loss', or 'slot_loss/<question>' of one of several questions.
      of_questions: weight of each question's losses.
    """
    kind, _, question = name.partition('_loss/')
    own = getattr(self, f'{kind.removesuffix("_loss")}_weight')
    return own * of_questions[question] if question else own

  def check_adapter(self, adapter: SoftPrompt) -> None:
    """Checks that an adapter predicts what the stage supervises.

    Raises:
      ValueError: nothing predicts the categories and values of interactions.
    """
    if (self.category_weight or self.value_weight) and not adapter.tells_items:
      raise ValueError(
        f'{self.name}/Stage.category_weight and value_weight: nothing predicts the '
        'categories and values of interactions: expected both to be 0, or '
        'build.num_categories or build.tell_values with an adapter, or '
        'OptionQueries as build.draft'
      )

  @property
  def without_decoder(self) -> bool:
    """Tells whether a loss is used that needs no decoder."""
    kinds = ('slot', 'statistics', 'category', 'value')
    return any(getattr(self, f'{kind}_weight') for kind in kinds)

  def __post_init__(self):
    """Checks the settings.

    Raises:
      ValueError: a setting has an unknown value, the stage has no step, a share is
        above 1, or `accumulate` does not divide `batch_size`.
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
    if self.steps < 1:
      raise ValueError(
        f'{self.name}/Stage.steps={self.steps}: expected at least 1; a stage that is '
        'not in train.stages is left out'
      )
    if self.soft_targets > 1:
      raise ValueError(
        f'{self.name}/Stage.soft_targets={self.soft_targets:g}: expected a share, from '
        '0 to 1'
      )
    if self.batch_size % self.accumulate:
      raise ValueError(
        f'{self.name}/Stage.accumulate={self.accumulate} does not divide '
        f'batch_size={self.batch_size}'
      )


def make_schedule(stage: Stage) -> optax.Schedule:
  """Returns the learning rate as a function of the step within the stage."""
  peak, warmup = stage.learning_rate, min(stage.warmup_steps, stage.steps // 2)
  rest = stage.steps - warmup
  after = {
    'cosine': optax.cosine_decay_schedule(peak, rest, 0.02),
    'linear': optax.linear_schedule(peak, peak * 0.02, rest),
    'constant': optax.constant_schedule(peak),
  }
  # The first step has a rate, too: a warm-up of n steps rises by peak / n.
  rise = lambda step: peak * jnp.minimum(step + 1, warmup) / max(warmup, 1)
  return optax.join_schedules([rise, after[stage.schedule]], [warmup])


def _decays(params: Mapping) -> Mapping:
  """Tells which parameters, nested or flat, have weight decay: the matrices."""
  vectors = ('bias', 'scale', 'lora_scale', 'vectors')  # the last are fixed
  name = lambda path: path[-1].key.rsplit('/', 1)[-1]
  return jax.tree_util.tree_map_with_path(
    lambda path, x: x.ndim > 1 and name(path) not in vectors, params
  )


def make_optimizer(stage: Stage) -> optax.GradientTransformation:
  """Returns AdamW with clipped gradients, for nested or flat parameters."""
  rate, decay = make_schedule(stage), stage.weight_decay
  return optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adamw(rate, b2=0.98, weight_decay=decay, mask=_decays),
  )


class Steps(NamedTuple):
  """Holds the compiled functions of a stage.

  Attributes:
    optimizer: optimizer of the stage, which initializes the optimizer state.
    update: function (trainable, optimizer state, frozen, batch) -> (trainable,
      optimizer state, metrics). Only `trainable` is differentiated.
    evaluate: function (trainable, frozen, batch) -> metrics.
  """

  optimizer: optax.GradientTransformation
  update: Callable
  evaluate: Callable


def make_steps(
  model: Persoma,
  stage: Stage,
  dtype: str = 'float32',
  options: np.ndarray | None = None,
) -> Steps:
  """Compiles the functions of a stage.

  Args:
    model: adapter and decoder.
    stage: the stage.
    dtype: type of the operands of the decoder's products; frozen ones come from
      `operands_of_stage`.
    options: what `losses.option_tokens` returns, for `Stage.soft_targets`.
  """
  optimizer, questions = make_optimizer(stage), model.adapter.questions

  def loss(trainable, frozen, batch, counts):
    """Returns the weighted loss of a batch, and all losses by name."""
    operands = quantization.trained_operands(trainable, dtype)
    sums = losses.loss_sums(
      model,
      freezing.join_params(operands, frozen),
      batch,
      lm=bool(stage.lm_weight),
      history=stage.without_decoder,
      options=options,
      **{name: getattr(stage, name) for name in ('teach', 'soft_targets')},
    )
    metrics = {name: total / counts[name] for name, total in sums.items()}
    total = sum(stage.weight(x, questions) * value for x, value in metrics.items())
    return total, {'loss': total, **metrics}

  def gradients(trainable, frozen, batch):
    """Sums gradients of the parts, each divided by the counts of the whole batch."""
    counts = losses.loss_counts(batch, questions)
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
    return loss(trainable, frozen, batch, losses.loss_counts(batch, questions))[1]

  return Steps(optimizer, jax.jit(update, donate_argnums=(0, 1)), jax.jit(evaluate))


def operands_of_stage(stage: Stage, frozen: Mapping, dtype: str) -> dict[str, Array]:
  """Returns the frozen parameters that a stage reads, as operands of its products.

  Args:
    stage: the stage; without a language-model loss it never reads the decoder.
    frozen: flat dict {path: array}.
    dtype: see `quantization.frozen_operands`.
  """
  if not stage.lm_weight:
    frozen = {path: x for path, x in frozen.items() if path.startswith('adapter/')}
  return quantization.frozen_operands(frozen, dtype)


class Stretch(NamedTuple):
  """Describes the steps of a stage between two checkpoints.

  Attributes:
    begin: number of steps of the run before the stretch.
    end: number of steps of the run after the stretch.
    stage: stage of the stretch.
    start: number of steps of the run before the stage.
    stop: number of steps of the run after the stage.
  """

  begin: int
  end: int
  stage: Stage
  start: int
  stop: int


def segments(stages: Sequence[Stage], period: int) -> list[Stretch]:
  """Divides the stages into stretches of at most `period` steps."""
  stretches, start = [], 0
  for stage in stages:
    stop = start + stage.steps
    stretches += [
      Stretch(begin, min(begin + period, stop), stage, start, stop)
      for begin in range(start, stop, period)
    ]
    start = stop
  return stretches
