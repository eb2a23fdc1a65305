"""Builds a training run from a recipe: model and data, without a folder."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import gin
import jax
import numpy as np
from flax import traverse_util

from persoma_tf import losses, operand_types, recipes
from persoma_tf import model as persoma
from persoma_tf.answer_form import AnswerTemplate
from persoma_tf.parameters import checkpoints, freezing, lora, quantization
from persoma_tf.setting_types import Count, OperandType, Positive
from persoma_tf.training.answer_vocabulary import (
  bind_order,
  bind_template,
  check_vocabulary,
  longest_prompt,
  target_words,
  tasks_of,
  vocabulary_of,
)
from persoma_tf.training.batching import training_batches
from persoma_tf.training.initial_adapter import init_adapter
from persoma_tf.training.stages import Stage
from persoma_tf.training.vector_rows import gather, rows_lengths


@gin.configurable('train')
@dataclasses.dataclass(frozen=True)
class Recipe:
  """Holds the settings of a run, `train.NAME` in a recipe file.

  Attributes:
    task: SeqIO task or mixture of the training examples.
    feature_lengths: padded length of every task feature.
    stages: stages of the training, in order.
    answer: form of the answers for `TemplateReadout` or a draft; None without either;
      of several questions the form of each that has a draft, by name.
    tuning: part of the decoder that trains in stages with a language-model loss:
      nothing ('frozen'), low-rank updates ('lora', settings in `lora`) or everything
      ('full').
    checkpoint_period: number of steps between checkpoints, from the start of a stage.
    log_period: number of steps between reports.
    validation_examples: number of examples of the validation split to evaluate at every
      checkpoint; every stage then ends with its best checkpoint. 0 for no validation.
    vector_tables: tables of the interactions' vectors, each [rows, width] float32, to
      keep on the device; without them every batch carries vectors.
    option_vectors: [G, H'] vectors of the texts of the options, which the queries of
      `OptionQueries` are made from; None for learned queries.
    dtype: type of the operands of the decoder's products
      (`persoma_tf.operand_types`); a run that is resumed keeps its type. Trained
      parameters are always float32.
    seed: seed of the initial parameters and of the data.
    initialize_only: whether to write only `checkpoint_0`, the start of a run with all
      its parameters, and end.
  """

  task: str = gin.REQUIRED
  feature_lengths: Mapping[str, int] = gin.REQUIRED
  stages: Sequence[Stage] = gin.REQUIRED
  answer: AnswerTemplate | Mapping[str, AnswerTemplate] | None = None
  tuning: str = 'frozen'
  checkpoint_period: Positive = 500
  log_period: Positive = 25
  validation_examples: Count = 0
  vector_tables: Sequence[np.ndarray] = ()
  option_vectors: np.ndarray | None = None
  dtype: OperandType = operand_types.AUTO
  seed: Count = 0
  initialize_only: bool = False


class TrainingRun:
  """Holds a recipe with its model, data and initial parameters, without a folder.

  Attributes:
    recipe: settings of the run.
    stages: stages of the recipe, with the trainable decoder parameters of `tuning`.
    model: adapter and decoder.
    decoder: loaded decoder, with the weights from before the training.
    prompt_parts: what stands before an answer, see `persoma_tf.prompt_parts`; texts
      are not encoded.
  """

  def __init__(self, recipe: Recipe):
    """Loads the decoder and builds the model.

    Raises:
      ValueError: the parts of the recipe do not fit together.
    """
    patterns = freezing.tuned(recipe.tuning)
    self.recipe = recipe
    self.stages = [
      dataclasses.replace(stage, trainable=(*stage.trainable, *patterns))
      if stage.lm_weight
      else stage
      for stage in recipe.stages
    ]
    used = any(stage.statistics_weight for stage in recipe.stages)
    size = recipe.feature_lengths.get('history_statistics', 0) if used else 0
    recipes.bind_parameter('build.num_statistics', size)
    if (vectors := recipe.option_vectors) is not None:
      recipes.bind_parameter('OptionQueries.text_width', vectors.shape[1])
    self._words = bind_template(recipe.answer, recipe.task)
    self.prompt_parts = bind_order(recipe.task)
    self.model, self.decoder = persoma.build()
    for stage in self.stages:
      stage.check_adapter(self.model.adapter)
    names = {recipe.task, *(stage.task for stage in recipe.stages if stage.task)}
    for name in names:
      check_vocabulary(vocabulary_of(name), self.decoder)
    lengths = dict(recipe.feature_lengths)
    self._lengths = rows_lengths(lengths) if len(recipe.vector_tables) else lengths
    tasks = {task.name: task for name in names for task in tasks_of(name)}
    if len(tasks) > 1:  # the lengths are those of one task, but prompts differ
      longest = longest_prompt(tasks.values())
      self._lengths['inputs'] = max(self._lengths['inputs'], longest)
    lora_added = recipe.tuning == 'lora'
    weights = self.decoder.params
    self._start = lora.add_lora(weights, recipe.seed) if lora_added else weights

  def _stream(self, stage, split, seed, *more):
    task, size = stage.task or self.recipe.task, stage.batch_size
    return training_batches(task, split, self._lengths, size, seed, *more)

  def data(self, stage: Stage, start: int, step: int) -> Iterator[Mapping]:
    """Yields the training batches of a stage, from a step on.

    Args:
      stage: the stage.
      start: number of steps of the run before the stage.
      step: number of steps of the run before the first batch.
    """
    seed = self.recipe.seed * 1_000_003 + start
    return self._stream(stage, 'train', seed, stage.group_by, step - start)

  def check_data(self) -> None:
    """Reads a batch of every stage, so that data which cannot be read stop a run.

    The batch is not grouped: to group, a hundred batches must be read.

    Raises:
      ValueError: see `persoma_tf.training.batching.training_batches`.
    """
    for stage in self.stages:
      if stage.group_by:
        self.data(stage, 0, 0)  # checks it
      next(self._stream(stage, 'train', self.recipe.seed))

  def validation(self, stage: Stage) -> Iterator[Mapping]:
    """Yields the validation batches of a stage."""
    count = -(-self.recipe.validation_examples // stage.batch_size)
    # Not grouped by length: the few batches should have examples of all lengths.
    return itertools.islice(self._stream(stage, 'validation', self.recipe.seed), count)

  @property
  def option_tokens(self) -> np.ndarray | None:
    """Returns the words of drafts as soft targets have them; None without drafts."""
    words, answer = self._words, self.recipe.answer
    if words is None:
      return None
    questions = self.model.adapter.questions
    task = self.recipe.task
    if not questions:
      return losses.option_tokens([target_words(answer, words, task)])
    forms = [
      target_words(answer[name], words[name], task) if name in words else ([], [])
      for name in questions
    ]
    return losses.option_tokens(forms)

  def fresh_params(self) -> dict:
    """Returns {'adapter': ..., 'decoder': ...} before the first step."""
    batch = self._first_rows(self.stages[0])
    recipe, words = self.recipe, self._words
    adapter = init_adapter(
      self.model, self.decoder, batch, words, recipe.seed, recipe.option_vectors
    )
    return {'adapter': adapter, 'decoder': self._start}

  def params_at(self, checkpoint: str) -> dict:
    """Returns {'adapter': ..., 'decoder': ...} of a checkpoint of this recipe.

    Parameters of the decoder that the run does not train are its own.

    Args:
      checkpoint: path of a `checkpoint_<step>` folder.

    Raises:
      ValueError: the checkpoint has another decoder, or lacks what the run trains.
    """
    stored = checkpoints.load_params(checkpoint)
    params = freezing.overlay({'decoder': self._start}, stored)
    self.check_decoder(checkpoint, params)
    found = traverse_util.flatten_dict(stored, sep='/')
    if missing := self.trained_part(params).keys() - found.keys():
      raise ValueError(
        f'{checkpoint} lacks parameters that the run trains: {sorted(missing)[:5]}'
      )
    return params

  def check_decoder(self, checkpoint: str, params: Mapping) -> None:
    """Checks that a checkpoint has this decoder where the recipe does not train it.

    Args:
      checkpoint: path of the checkpoint.
      params: parameters that were read from it.

    Raises:
      ValueError: the checkpoint has another decoder.
    """
    checkpoints.check_same(self._start, params['decoder'], checkpoint)
    trained = self.trained_part({**params, 'decoder': self._start}).keys()
    checkpoints.check_frozen(checkpoint, params['decoder'], self._start, trained)

  def _first_rows(self, stage):
    """Returns the first eight training batches of a stage, concatenated."""
    stream = self._stream(stage, 'train', self.recipe.seed * 1_000_003)
    rows = [next(stream) for _ in range(8)]
    batch = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    return jax.device_get(gather(batch, self.recipe.vector_tables))

  def asked(self) -> dict[str, Mapping]:
    """Returns training examples of every task that the run asks in the end."""
    names = [task.name for task in tasks_of(self.recipe.task)]
    ask = lambda name: dataclasses.replace(self.stages[-1], task=name)
    return {name: self._first_rows(ask(name)) for name in names}

  def trained_part(self, params: Mapping) -> dict[str, np.ndarray]:
    """Returns the adapter and what a stage trains of the decoder, {path: array}.

    The adapter is whole, since a part of it cannot answer; without soft tokens there is
    none.
    """
    patterns = {pattern for stage in self.stages for pattern in stage.trainable}
    patterns |= {'adapter/.*'} if params.get('adapter') else set()
    patterns |= {'decoder/.*/lora_scale'} if self.recipe.tuning == 'lora' else set()
    return quantization.widened(freezing.split_params(params, patterns)[0])
