"""Native trainer: fits the adapter of a gin recipe and checkpoints as T5X does.

    python -m persoma_tf.train --gin_file=persoma_tf/configs/runs/quickstart.gin \
      --model_dir=runs/quickstart/model \
      --histories_dir=runs/quickstart/histories \
      --embeddings_dir=runs/quickstart/embeddings [--gin.NAME=VALUE ...]

A run is a sequence of stages. It goes on from its newest checkpoint and then takes
the very steps that an uncut run takes: the data stream is seeded anew at every
checkpoint from (seed, step), so its position needs no saving.

Writes `config.gin`, `checkpoint_<step>/`, `adapter/` with its model card,
`metrics.jsonl`, TensorBoard events and, last of all, `COMPLETED`.
"""

import argparse
import dataclasses
import difflib
import itertools
import logging
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence

import gin
import jax
import numpy as np
import seqio

from persoma_tf import model as persoma
from persoma_tf import recipes
from persoma_tf.decoders import LoadedDecoder
from persoma_tf.parameters import checkpoints, freezing, lora
from persoma_tf.soft_prompt import SLOT, AnswerTemplate
from persoma_tf.training.batching import training_batches
from persoma_tf.training.export import export_adapter
from persoma_tf.training.loop import Loop
from persoma_tf.training.stages import Stage, segments

logger = logging.getLogger(__name__)
CONFIG = 'config.gin'  # the whole resolved configuration


def vocabulary_of(task: str) -> seqio.Vocabulary:
  """Of a task's answers.

  Raises:
    ValueError: there is no such task; tells those that there are.
  """
  known = sorted({*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()})
  if task not in known:
    raise ValueError(
      f'there is no task {task!r}; the recipe knows {", ".join(known)}: is the module '
      'that registers it imported?'
    )
  return seqio.get_mixture_or_task(task).output_features['targets'].vocabulary


def _check_vocabulary(vocabulary: seqio.Vocabulary, decoder: LoadedDecoder) -> None:
  """Ids of one vocabulary mean nothing to a decoder of another.

  Raises:
    ValueError: the vocabulary has ids that the decoder has not, or far fewer.
  """
  ours, theirs = vocabulary.vocab_size, decoder.vocab_size
  message = (
    f'the task has a vocabulary of {ours:,} tokens, the decoder {decoder.name} one of '
    f'{theirs:,}; task_vocabulary.decoder should name that of build.decoder'
  )
  if ours > theirs or ours < 0.9 * theirs:
    raise ValueError(message)
  if ours < 0.99 * theirs:  # some decoders are padded by a few rows
    logger.warning(message)


def bind_template(answer: AnswerTemplate, task: str) -> list[list[int]]:
  """Tells the readout its layout; returns the token ids of the words."""
  vocabulary = vocabulary_of(task)
  encode = lambda part: [SLOT] if part is None else vocabulary.encode(part)
  layout = tuple(token for part in answer.parts for token in encode(part))
  recipes.bind_parameter('TemplateReadout.layout', layout)
  recipes.bind_parameter('TemplateReadout.num_words', len(answer.words))
  return [vocabulary.encode(word) for word in answer.words]


@gin.configurable('train')
@dataclasses.dataclass(frozen=True)
class Recipe:
  """What a run does: the settings `train.NAME` of a recipe file.

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


class Run:
  """A recipe with its model, its data and what it starts from; in no folder yet.

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
      _check_vocabulary(vocabulary_of(name), self.decoder)
    lora_added = recipe.tuning == 'lora'
    weights = self.decoder.params
    self._start = lora.add_lora(weights, recipe.seed) if lora_added else weights

  def _stream(self, stage, split, seed, group_by=''):
    task, lengths = stage.task or self.recipe.task, self.recipe.feature_lengths
    return training_batches(task, split, lengths, stage.batch_size, seed, group_by)

  def data(self, stage: Stage, step: int) -> Iterator[Mapping]:
    """The training batches of a stage from this step on."""
    seed = self.recipe.seed * 1_000_003 + step
    return self._stream(stage, 'train', seed, stage.group_by)

  def validation(self, stage: Stage) -> Iterator[Mapping]:
    """The validation batches of a stage."""
    count = -(-self.recipe.validation_examples // stage.batch_size)
    # Not grouped: a few batches hold all lengths.
    return itertools.islice(self._stream(stage, 'validation', self.recipe.seed), count)

  def fresh_params(self) -> dict:
    """{'adapter': ..., 'decoder': ...} before the first step."""
    batch = self._first_rows(self.stages[0])
    seed = self.recipe.seed
    made = persoma.init_adapter(self.model, self.decoder, batch, self._words, seed)
    return {'adapter': made, 'decoder': self._start}

  def params_at(self, checkpoint: str) -> dict:
    """{'adapter': ..., 'decoder': ...} of a checkpoint of this recipe.

    Raises:
      ValueError: its decoder is another one.
    """
    params = checkpoints.load_params(checkpoint)
    checkpoints.check_same(params['decoder'], self._start, 'the decoder')
    return params

  def _first_rows(self, stage):
    """Eight batches of the training stream as one."""
    stream = self._stream(stage, 'train', self.recipe.seed * 1_000_003)
    rows = [next(stream) for _ in range(8)]
    return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}

  def task_prompt(self) -> str | None:
    """The task prompt; None where it holds each user's own history."""
    few = dataclasses.replace(self.stages[-1], task='')
    tokens = self._first_rows(few)['encoder_input_tokens']
    if (tokens != tokens[0]).any():
      return None
    features = seqio.get_mixture_or_task(self.recipe.task).output_features
    return features['inputs'].vocabulary.decode(tokens[0][tokens[0] > 0].tolist())

  def trained_part(self, params: Mapping) -> dict[str, np.ndarray]:
    """Of parameters, all that any stage trains, {path: array}."""
    patterns = {pattern for stage in self.stages for pattern in stage.trainable}
    patterns |= {'decoder/.*/lora_scale'} if self.recipe.tuning == 'lora' else set()
    return freezing.split_params(params, patterns)[0]


def train(
  model_dir: str, *, overwrite: bool = False, chosen: Sequence[str] = ()
) -> None:
  """Trains the recipe that gin has read, or goes on training it, in `model_dir`.

  Nothing is deleted or written before the recipe has loaded decoder and data.

  Args:
    model_dir: folder of the run.
    overwrite: delete a run in it and start again.
    chosen: bindings of the command line; those without effect are named.

  Raises:
    ValueError: the folder holds a run of another configuration, or is to be deleted
      and holds no run.
  """
  run, folder = Run(Recipe()), pathlib.Path(model_dir)
  for stage in run.stages:  # by now gin knows all that the recipe reads
    next(run.data(stage, 0))
  for binding in recipes.without_effect(chosen):
    logger.warning('nothing in this recipe reads --gin.%s', binding)
  if overwrite:
    delete_run(folder)
  check_config(folder)
  if (folder / 'COMPLETED').exists():
    logger.info('%s is finished; --overwrite trains again', model_dir)
    return
  done = checkpoints.manager(model_dir).latest_step() or 0
  write_config(folder)
  if done:
    logger.info('going on from checkpoint_%d', done)
    params = run.params_at(checkpoints.checkpoint_folder(model_dir, done))
  else:
    params = run.fresh_params()
  _train(run, model_dir, params, done)


def _train(run, model_dir, params, done):
  recipe = run.recipe
  if recipe.initialize_only:
    checkpoints.save(checkpoints.manager(model_dir), 0, params, {})
    return
  stretches = segments(run.stages, recipe.checkpoint_period)
  loop = Loop(
    run.model,
    model_dir,
    data=run.data,
    validation=run.validation if recipe.validation_examples else None,
    log_period=recipe.log_period,
    dtype=recipe.dtype,
  )
  params = loop.run(params, stretches, done)
  trained, prompt = run.trained_part(params), run.task_prompt()
  export_adapter(model_dir, trained, run.decoder, stretches[-1].end, prompt)


def delete_run(folder: pathlib.Path) -> None:
  """Deletes the folder of a run, where there is one.

  Raises:
    ValueError: it holds files and no config.gin.
  """
  if not folder.exists():
    return
  if any(folder.iterdir()) and not (folder / CONFIG).exists():
    raise ValueError(
      f'--overwrite would delete {folder}, which is no run of ours (no {CONFIG} in '
      'it); name another --model_dir or empty it yourself'
    )
  shutil.rmtree(folder)


def check_config(folder: pathlib.Path) -> None:
  """Checks config.gin, where there is one, against the run that is to go on.

  After `Run` and a batch of each stage: by then every configurable was called once,
  and the operative configuration is whole.

  Raises:
    ValueError: the folder holds a run of another configuration.
  """
  config, file = gin.operative_config_str(), folder / CONFIG
  if file.exists() and file.read_text() != config:
    changed = difflib.unified_diff(
      file.read_text().splitlines(), config.splitlines(), 'before', 'now', n=0
    )
    lines = '\n  '.join(list(changed)[2:12])
    raise ValueError(
      f'{file} is of a run with other settings; use another --model_dir or pass '
      f'--overwrite to start again:\n  {lines}'
    )


def write_config(folder: pathlib.Path) -> None:
  """Writes config.gin of the run that begins or goes on."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / CONFIG).write_text(gin.operative_config_str())


def main(argv: Sequence[str] | None = None) -> None:
  """Parses flags and recipe, and trains."""
  logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s', force=True)
  for library in ('absl', 'jax'):  # Orbax writes through absl, 30 lines a checkpoint
    logging.getLogger(library).setLevel(logging.ERROR)
  bindings, arguments = recipes.bindings_of(sys.argv[1:] if argv is None else argv)
  parser = argparse.ArgumentParser(
    prog='python -m persoma_tf.train',
    description=__doc__.split('\n')[0],
    epilog=recipes.HELP,
  )
  parser.add_argument('--gin_file', action='append', required=True, help='recipe file')
  parser.add_argument('--model_dir', required=True, help='folder of the run')
  parser.add_argument('--histories_dir', help='sets the macro HISTORIES_DIR')
  parser.add_argument('--embeddings_dir', help='sets the macro EMBEDDINGS_DIR')
  parser.add_argument(
    '--overwrite', action='store_true', help='delete the folder and start again'
  )
  flags = parser.parse_args(arguments)
  tunables = os.environ.get('GLIBC_TUNABLES', '')
  if jax.default_backend() == 'cpu' and 'hugetlb' not in tunables:
    logger.info('GLIBC_TUNABLES=glibc.malloc.hugetlb=1 would make steps on CPU faster')
  folders = {
    'HISTORIES_DIR': flags.histories_dir,
    'EMBEDDINGS_DIR': flags.embeddings_dir,
  }
  macros = [f'{name} = {value!r}' for name, value in folders.items() if value]
  recipes.parse_recipes(flags.gin_file, [*bindings, *macros])
  train(flags.model_dir, overwrite=flags.overwrite, chosen=bindings)


if __name__ == '__main__':
  main()
