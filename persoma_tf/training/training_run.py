"""A training run before it has a folder: its recipe, its model and its data."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import gin
import numpy as np
import seqio

from persoma_tf import model as persoma
from persoma_tf import recipes
from persoma_tf.parameters import checkpoints, freezing, lora
from persoma_tf.soft_prompt import AnswerTemplate
from persoma_tf.training.answer_vocabulary import (
  bind_template,
  check_vocabulary,
  vocabulary_of,
)
from persoma_tf.training.batching import training_batches
from persoma_tf.training.stages import Stage


@gin.configurable('train')
@dataclasses.dataclass(frozen=True)
class Recipe:
  """Holds what a run does: the settings `train.NAME` of a recipe file.

  Attributes:
    task: SeqIO task or mixture of the training examples.
    feature_lengths: padded length of every task feature.
    stages: what to do, one after the other.
    answer: what `TemplateReadout` is made of; None for other readouts.
    tuning: what of the decoder trains in stages that run it: nothing ('frozen'),
      low-rank updates ('lora', settings in `lora`) or everything ('full').
    checkpoint_period: steps between checkpoints, counted from a stage's start.
    log_period: steps between reports.
    validation_examples: evaluate on so many examples of the validation split at every
      checkpoint, and let every stage end with its best one; 0 for no validation.
    dtype: in which the decoder computes. Trained parameters are float32 always.
    seed: of the parameters and the data.
    initialize_only: write `checkpoint_0`, from which a run would start, and end.
  """

  task: str = gin.REQUIRED
  feature_lengths: Mapping[str, int] = gin.REQUIRED
  stages: Sequence[Stage] = gin.REQUIRED
  answer: AnswerTemplate | None = None
  tuning: str = 'frozen'
  checkpoint_period: int = 500
  log_period: int = 25
  validation_examples: int = 0
  dtype: str = 'float32'
  seed: int = 0
  initialize_only: bool = False


class TrainingRun:
  """Holds a recipe with its model, its data and what it starts from; in no folder yet.

  Attributes:
    recipe: its settings.
    stages: those of the recipe, each with what `tuning` lets it train.
    model: adapter and decoder.
    decoder: with its weights, as they were loaded.
  """

  def __init__(self, recipe: Recipe):
    """Loads the decoder.

    Raises:
      ValueError: the recipe's parts do not fit together.
    """
    patterns = freezing.tuned(recipe.tuning)
    self.recipe = recipe
    self.stages = [
      dataclasses.replace(stage, trainable=(*stage.trainable, *patterns))
      if stage.lm_weight
      else stage
      for stage in recipe.stages
    ]
    told = any(stage.statistics_weight for stage in recipe.stages)
    size = recipe.feature_lengths.get('history_statistics', 0) if told else 0
    recipes.bind_parameter('build.num_statistics', size)
    self._words = recipe.answer and bind_template(recipe.answer, recipe.task)
    self.model, self.decoder = persoma.build()
    for name in {recipe.task, *(stage.task for stage in recipe.stages if stage.task)}:
      check_vocabulary(vocabulary_of(name), self.decoder)
    lora_added = recipe.tuning == 'lora'
    weights = self.decoder.params
    self._start = lora.add_lora(weights, recipe.seed) if lora_added else weights

  def _stream(self, stage, split, seed, group_by=''):
    task, lengths = stage.task or self.recipe.task, self.recipe.feature_lengths
    return training_batches(task, split, lengths, stage.batch_size, seed, group_by)

  def data(self, stage: Stage, step: int) -> Iterator[Mapping]:
    """Yields the training batches of a stage from this step on."""
    seed = self.recipe.seed * 1_000_003 + step
    return self._stream(stage, 'train', seed, stage.group_by)

  def validation(self, stage: Stage) -> Iterator[Mapping]:
    """Yields the validation batches of a stage."""
    count = -(-self.recipe.validation_examples // stage.batch_size)
    # Not grouped: a few batches hold all lengths.
    return itertools.islice(self._stream(stage, 'validation', self.recipe.seed), count)

  def fresh_params(self) -> dict:
    """Returns {'adapter': ..., 'decoder': ...} before the first step."""
    batch = self._first_rows(self.stages[0])
    seed = self.recipe.seed
    made = persoma.init_adapter(self.model, self.decoder, batch, self._words, seed)
    return {'adapter': made, 'decoder': self._start}

  def params_at(self, checkpoint: str) -> dict:
    """Returns {'adapter': ..., 'decoder': ...} of a checkpoint of this recipe.

    Raises:
      ValueError: its decoder is another one.
    """
    params = checkpoints.load_params(checkpoint)
    checkpoints.check_same(params['decoder'], self._start, 'the decoder')
    return params

  def _first_rows(self, stage):
    """Returns eight batches of the training stream as one."""
    stream = self._stream(stage, 'train', self.recipe.seed * 1_000_003)
    rows = [next(stream) for _ in range(8)]
    return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}

  def task_prompt(self) -> str | None:
    """Returns the task prompt; None where it holds each user's own history."""
    few = dataclasses.replace(self.stages[-1], task='')
    tokens = self._first_rows(few)['encoder_input_tokens']
    if (tokens != tokens[0]).any():
      return None
    features = seqio.get_mixture_or_task(self.recipe.task).output_features
    return features['inputs'].vocabulary.decode(tokens[0][tokens[0] > 0].tolist())

  def trained_part(self, params: Mapping) -> dict[str, np.ndarray]:
    """Returns those of some parameters that any stage trains, {path: array}."""
    patterns = {pattern for stage in self.stages for pattern in stage.trainable}
    patterns |= {'decoder/.*/lora_scale'} if self.recipe.tuning == 'lora' else set()
    return freezing.split_params(params, patterns)[0]
