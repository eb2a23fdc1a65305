"""Runs the job of `pipelines.batch_predict`: checks inputs, builds the graph."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from persoma_tf import operand_types
from persoma_tf.inference.decoding_settings import WEIGHTS
from persoma_tf.units import format_duration
from pipelines.common import flags, markers, output_folder
from pipelines.common.progress import ShowProgress
from pipelines.common.reach import CheckReach
from pipelines.histories.history_records import list_history_files
from pipelines.predictions.answer_shards import (
  AnswerHandler,
  AnswerShard,
  WriteAnswers,
  plan_shards,
)
from pipelines.predictions.predictions_folder import (
  check_model_inputs,
  columns_of_run,
  finish_predictions,
  missing_shards,
  noun_of,
)
from tasks.answers.choice import Choice
from tasks.answers.example_question import ExampleQuestion

if TYPE_CHECKING:
  from pipelines.batch_predict import Config

_JOB = 'pipelines.batch_predict'
_LOGGER = logging.getLogger(__name__)


def run_job(config: Config, options: PipelineOptions) -> None:
  """Checks the inputs, answers the missing shards and loads the finished table.

  Raises:
    JobError: the inputs or the output folder are unusable.
  """
  manifest, fingerprints, question = check_model_inputs(config)
  inputs = {**fingerprints, 'model': manifest, **_about(question)}
  config, folder = _with_type(config, inputs)
  if folder.begin(config.overwrite, go_on=True):
    _answer_missing(folder, manifest, config, options)
  if config.bigquery_table and folder.is_finished():
    _load(folder, config)


def _about(question: ExampleQuestion | None) -> dict[str, Any]:
  """Returns what the folder's settings say of a question about examples.

  Folders with answers about users have no such setting.
  """
  if not question:
    return {}
  words = {name: getattr(question, name) for name in ('name', 'asks_item')}
  if isinstance(question, Choice):
    words['options'] = [*question.options]
  return {'question': {'kind': question.KIND, **words}}


def _with_type(
  config: Config, inputs: Mapping[str, Any]
) -> tuple[Config, output_folder.OutputFolder]:
  """Returns the flags with the type of the weights, and the folder of the output.

  The type of 'auto' is the one that the folder was begun with, perhaps by another
  machine, or else the one that `persoma_tf.operand_types` chooses.

  Args:
    config: the flags.
    inputs: fingerprints of the inputs.
  """

  def of(kind):
    chosen = dataclasses.replace(config, weights=kind)
    settings = {**inputs, **_settings(chosen, 'options' in inputs.get('question', {}))}
    return chosen, output_folder.OutputFolder(config.output_dir, settings, _JOB)

  if config.weights == operand_types.AUTO and not config.overwrite:
    begun = markers.fingerprint_in(config.output_dir)
    for chosen, folder in map(of, WEIGHTS):
      if folder.fingerprint == begun:
        return chosen, folder
  return of(operand_types.chosen_type(config.weights))


def _settings(config: Config, has_options: bool) -> dict[str, Any]:
  """Returns the flags that decide the content of the folder."""
  decoding = dataclasses.asdict(config.decoding)
  if not has_options:
    del decoding['scored_options']
  return {
    'split': config.split,
    'format': config.format,
    'decoding': decoding,
    'shard_users': config.shard_users,
    'soft_prompts': config.soft_prompts,
    'run_id': config.run_id,
  }


def _answer_missing(folder, manifest, config: Config, options) -> None:
  """Answers the missing shards, and completes the folder if none is missing then."""
  started = time.monotonic()
  question = folder.settings.get('question', {}).get('name', '')
  files = list_history_files(config.histories_dir, config.split, question)
  every = plan_shards(files, config.shard_users)
  folder.rejoin()
  if folder.is_finished():  # by another machine of this run, just now
    _LOGGER.info('%s is finished already', folder.path)
    return
  constants = columns_of_run(manifest, config.run_id, folder)
  number, total = config.share
  mine = [shard for shard in every if shard.number % total == number]
  todo = missing_shards(folder, mine, config.format)
  if len(todo) < len(mine):
    _LOGGER.info('%d of %d shards are there already', len(mine) - len(todo), len(mine))
  writer = WriteAnswers(folder, config.format, constants)
  detached = flags.is_detached(options)
  with beam.Pipeline(options=options) as pipeline:
    rows = build(pipeline, config, todo, folder, writer)
    if detached:
      _ = (
        pipeline
        | 'Last' >> beam.Create([folder])
        | 'Finish'
        >> beam.Map(_finish_detached, beam.pvalue.AsIter(rows), every, config)
      )
  if detached:
    _LOGGER.info('%s: the job is submitted and will complete the folder', folder.path)
  elif not folder.is_finished() and (
    left := missing_shards(folder, every, config.format)
  ):
    _LOGGER.info('%s: %d shards are left to other machines', folder.path, len(left))
  else:
    finish_predictions(folder, every, config.format)
    took = format_duration(time.monotonic() - started)
    _LOGGER.info('%s: written in %s', folder.path, took)


def build(
  pipeline: beam.Pipeline,
  config: Config,
  todo: Sequence[AnswerShard],
  folder: output_folder.OutputFolder,
  writer: WriteAnswers,
) -> beam.PCollection:
  """Builds the graph that answers shards and writes them.

  Returns:
    A PCollection with the rows of each shard.
  """
  read = (config.model_dir, config.histories_dir, config.embeddings_dir)
  return (
    pipeline
    | 'Shards' >> beam.Create(list(todo))
    | 'Spread' >> beam.Reshuffle()
    | 'Reach' >> beam.ParDo(CheckReach(folder, *filter(None, read)))
    | 'Answer' >> RunInference(AnswerHandler(config, config.share_model))
    | 'Write' >> beam.ParDo(writer)
    | 'Progress' >> beam.ParDo(ShowProgress('answered', noun_of(folder)))
  )


def _finish_detached(folder, rows, every, config: Config) -> None:
  """Finishes the folder as the last step of a detached job."""
  for _ in rows:  # all shards are written when the last row has arrived
    pass
  finish_predictions(folder, every, config.format)
  if config.bigquery_table:
    _load(folder, config)


def _load(folder: output_folder.OutputFolder, config: Config) -> None:
  from pipelines.predictions.bigquery_load import load_folder  # Google's clients

  load_folder(folder.path, config.bigquery_table)
