"""Native trainer: fits the adapter of a gin recipe and checkpoints as T5X does.

    python -m persoma_tf.train --gin_file=persoma_tf/configs/runs/quickstart.gin \
      --model_dir=runs/quickstart/model \
      --histories_dir=runs/quickstart/histories \
      --embeddings_dir=runs/quickstart/embeddings [--gin.NAME=VALUE ...]

A run is a sequence of stages. It goes on from its newest checkpoint and then takes
the very steps that an uncut run takes: the data stream is seeded anew at every
checkpoint from (seed, step), so its position needs no saving.

Writes `config.gin`, `checkpoint_<step>/`, `adapter/`, `metrics.jsonl`, TensorBoard
events and, last of all, `COMPLETED`.
"""

import argparse
import dataclasses
import difflib
import itertools
import json
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

from persoma_tf import checkpoints, freezing, lora, recipes
from persoma_tf import model as persoma
from persoma_tf.batching import batches
from persoma_tf.decoders import Decoder
from persoma_tf.loop import Loop
from persoma_tf.soft_prompt import SLOT, AnswerTemplate
from persoma_tf.stages import Stage, segments

logger = logging.getLogger(__name__)
CONFIG = 'config.gin'  # the whole resolved configuration


def vocabulary_of(task: str) -> seqio.Vocabulary:
  """Of a task's answers."""
  return seqio.get_mixture_or_task(task).output_features['targets'].vocabulary


def _check_vocabulary(vocabulary: seqio.Vocabulary, decoder: Decoder) -> None:
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
  recipes.bind('TemplateReadout.layout', layout)
  recipes.bind('TemplateReadout.num_words', len(answer.words))
  return [vocabulary.encode(word) for word in answer.words]


def _fresh_adapter(
  model: persoma.Persoma,
  decoder: Decoder,
  words: list[list[int]] | None,
  stream: Iterator[Mapping],
  seed: int,
) -> dict:
  """Initial adapter parameters from the first rows of the training stream."""
  rows = [next(stream) for _ in range(8)]
  batch = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
  return persoma.init_adapter(model, decoder, batch, words, seed)


@gin.configurable(denylist=['model_dir'])
def train(
  model_dir: str,
  *,
  task: str = gin.REQUIRED,
  feature_lengths: Mapping[str, int] = gin.REQUIRED,
  stages: Sequence[Stage] = gin.REQUIRED,
  answer: AnswerTemplate | None = None,
  tuning: str = 'frozen',
  checkpoint_period: int = 500,
  log_period: int = 25,
  validation_examples: int = 0,
  dtype: str = 'float32',
  seed: int = 0,
  initialize_only: bool = False,
) -> None:
  """Trains, or goes on training, in `model_dir`.

  Args:
    model_dir: gets everything that the run writes.
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
  patterns = freezing.tuned(tuning)
  stages = [
    dataclasses.replace(stage, trainable=(*stage.trainable, *patterns))
    if stage.lm_weight
    else stage
    for stage in stages
  ]
  told = any(stage.statistics_weight for stage in stages)
  size = feature_lengths.get('history_statistics', 0) if told else 0
  recipes.bind('build.num_statistics', size)
  words = answer and bind_template(answer, task)
  model, decoder = persoma.build()
  for name in {task, *(stage.task for stage in stages if stage.task)}:
    _check_vocabulary(vocabulary_of(name), decoder)
  start = lora.add(decoder.params, seed) if tuning == 'lora' else decoder.params
  stream = lambda stage, split, seed, group_by='': batches(
    stage.task or task, split, feature_lengths, stage.batch_size, seed, group_by
  )
  data = lambda stage, step: stream(
    stage, 'train', seed * 1_000_003 + step, stage.group_by
  )
  validation = lambda stage: itertools.islice(
    stream(stage, 'validation', seed),  # not grouped: a few batches hold all lengths
    -(-validation_examples // stage.batch_size),
  )
  # Every configurable has been called once: the operative configuration is whole.
  _write_config(pathlib.Path(model_dir))
  done = checkpoints.manager(model_dir).latest_step() or 0
  if done:
    logger.info('going on from checkpoint_%d', done)
    params = checkpoints.load_params(checkpoints.folder(model_dir, done))
    checkpoints.check_same(params['decoder'], start, 'the decoder')
  else:
    first = stream(stages[0], 'train', seed * 1_000_003)
    adapter = _fresh_adapter(model, decoder, words, first, seed)
    params = {'adapter': adapter, 'decoder': start}
  if initialize_only:
    checkpoints.save(checkpoints.manager(model_dir), 0, params, {})
    return
  stretches = segments(stages, checkpoint_period)
  loop = Loop(
    model,
    model_dir,
    data=data,
    validation=validation if validation_examples else None,
    log_period=log_period,
    dtype=dtype,
  )
  params = loop.run(params, stretches, done)
  everything = {pattern for stage in stages for pattern in stage.trainable}
  everything |= {'decoder/.*/lora_scale'} if tuning == 'lora' else set()
  trained, _ = freezing.split(params, everything)
  export(model_dir, trained, decoder.name, decoder.params, stretches[-1].end)


def _write_config(folder: pathlib.Path) -> None:
  """Writes config.gin, or checks it against the run that is to go on.

  Raises:
    ValueError: the folder holds a run of another configuration.
  """
  folder.mkdir(parents=True, exist_ok=True)
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
  file.write_text(config)


def export(
  model_dir: str, trained: Mapping, name: str, decoder_params: Mapping, step: int
) -> None:
  """Writes the trained parameters alone and marks the folder as finished.

  Args:
    model_dir: with `config.gin`.
    trained: flat dict from parameter path to array.
    name: of the decoder.
    decoder_params: as they were loaded.
    step: number of finished steps.
  """
  trained = jax.device_get(trained)
  sha256 = checkpoints.fingerprint(trained)
  manifest = {
    'model_id': f'persoma-{step}-{sha256[:12]}',
    'sha256': sha256,
    'decoder': name,
    'decoder_sha256': checkpoints.fingerprint(decoder_params),
    'step': step,
  }
  folder = checkpoints.save_adapter(model_dir, trained, manifest)
  size = sum(path.stat().st_size for path in folder.iterdir())
  completed = json.dumps({'fingerprint': sha256, 'settings': {'step': step}})
  (pathlib.Path(model_dir) / 'COMPLETED').write_text(completed + '\n')
  logger.info('adapter of %.1f MB in %s', size / 1e6, folder)


def main(argv: Sequence[str] | None = None) -> None:
  """Parses flags and recipe, and trains."""
  logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s', force=True)
  for library in ('absl', 'jax'):  # Orbax writes through absl, 30 lines a checkpoint
    logging.getLogger(library).setLevel(logging.ERROR)
  bindings, arguments = recipes.bindings_of(sys.argv[1:] if argv is None else argv)
  parser = argparse.ArgumentParser(
    prog='python -m persoma_tf.train', description=__doc__.split('\n')[0]
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
  if flags.overwrite:
    shutil.rmtree(flags.model_dir, ignore_errors=True)
  if (pathlib.Path(flags.model_dir) / 'COMPLETED').exists():
    logger.info('%s is finished; --overwrite trains again', flags.model_dir)
    return
  folders = {
    'HISTORIES_DIR': flags.histories_dir,
    'EMBEDDINGS_DIR': flags.embeddings_dir,
  }
  bindings += [f'{name} = {value!r}' for name, value in folders.items() if value]
  recipes.parse(flags.gin_file, bindings)
  train(flags.model_dir)


if __name__ == '__main__':
  main()
