"""Runs the job of `pipelines.batch_predict`: checks inputs, builds the graph."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from persoma_tf import operand_types
from persoma_tf.inference.decoding_settings import ENGINES, WEIGHTS
from persoma_tf.units import format_duration
from pipelines.common import flags, markers, output_folder
from pipelines.common.progress import ShowProgress
from pipelines.common.reach import CheckReach
from pipelines.histories.history_records import list_history_files
from pipelines.predictions.answer_shards import (
  AnswerHandler,
  AnswerShard,
  Table,
  WriteAnswers,
  plan_shards,
)
from pipelines.predictions.predictions_folder import (
  check_model_inputs,
  columns_of_run,
  finish_predictions,
  missing_shards,
  noun_of,
  question_settings,
)
from pipelines.predictions.table_name import table_of
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
  manifest, fingerprints, questions = check_model_inputs(config)
  runs = []
  for name, question in questions.items():
    inputs = {**fingerprints, 'model': manifest, **question_settings(question)}
    inputs |= {'asked': name} if name else {}
    own = dataclasses.replace(
      config, output_dir='/'.join(filter(None, (config.output_dir, name)))
    )
    own, folder = _with_type(own, inputs)
    config = dataclasses.replace(config, weights=own.weights)  # one for all: one model
    runs.append(_Run(name, question, own, folder))
  begun = [x for x in runs if x.folder.begin(config.overwrite, go_on=True)]
  if begun:
    _answer_missing(begun, manifest, config, options)
  for run in runs:
    if run.folder.is_finished():
      _load(run)


class _Run(NamedTuple):
  """Holds a question of the job, and its table.

  Attributes:
    name: name of the question; '' for the only one of the model.
    question: the question if it is about examples, else None.
    config: flags, with the folder of the question as output.
    folder: that folder.
    every: all shards of the table.
  """

  name: str
  question: ExampleQuestion | None
  config: Config
  folder: output_folder.OutputFolder
  every: Sequence[AnswerShard] = ()


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
    kinds = WEIGHTS if config.engine == ENGINES[0] else operand_types.TYPES
    for chosen, folder in map(of, kinds):
      if folder.fingerprint == begun:
        return chosen, folder
  return of(operand_types.chosen_type(config.weights))


def _settings(config: Config, has_options: bool) -> dict[str, Any]:
  """Returns the flags that decide the content of the folder."""
  decoding = dataclasses.asdict(config.decoding)
  if not has_options:
    del decoding['scored_options']
  masked = {} if config.drafts else {'drafts': False}
  return {
    # Folders from before there was a choice have no such setting.
    **({'engine': config.engine} if config.engine != ENGINES[0] else {}),
    **masked,
    'split': config.split,
    'format': config.format,
    'decoding': decoding,
    'shard_users': config.shard_users,
    'soft_prompts': config.soft_prompts,
    'run_id': config.run_id,
  }


def _answer_missing(runs: Sequence[_Run], manifest, config: Config, options) -> None:
  """Answers the missing shards, and completes the folders where none is missing."""
  started = time.monotonic()
  planned, todo, tables = [], [], {}
  for run in runs:
    about = run.question.name if run.question else ''
    files = list_history_files(config.histories_dir, config.split, about)
    run = run._replace(every=plan_shards(files, config.shard_users, run.name))
    run.folder.rejoin()
    if run.folder.is_finished():  # by another machine of this run, just now
      _LOGGER.info('%s is finished already', run.folder.path)
      continue
    planned.append(run)
    todo += _missing_of_share(run)
    constants = columns_of_run(manifest, config.run_id, run.folder)
    tables[run.name] = Table(run.folder, constants)
  if not planned:
    return
  detached = flags.is_detached(options)
  with beam.Pipeline(options=options) as pipeline:
    rows = build(pipeline, config, todo, tables)
    if detached:
      _ = (
        pipeline
        | 'Last' >> beam.Create([planned])
        | 'Finish' >> beam.Map(_finish_detached, beam.pvalue.AsIter(rows))
      )
  for run in planned:
    _finish(run, started, detached)


def _missing_of_share(run: _Run) -> list[AnswerShard]:
  """Returns the shards of a table that this machine has to answer."""
  number, total = run.config.share
  mine = [shard for shard in run.every if shard.number % total == number]
  todo = missing_shards(run.folder, mine, run.config.format)
  if len(todo) < len(mine):
    _LOGGER.info('%d of %d shards are there already', len(mine) - len(todo), len(mine))
  return todo


def _finish(run: _Run, started: float, detached: bool) -> None:
  """Completes a folder, unless a detached job or other machines will."""
  folder, kind = run.folder, run.config.format
  if detached:
    _LOGGER.info('%s: the job is submitted and will complete the folder', folder.path)
  elif not folder.is_finished() and (left := missing_shards(folder, run.every, kind)):
    _LOGGER.info('%s: %d shards are left to other machines', folder.path, len(left))
  else:
    finish_predictions(folder, run.every, kind)
    took = format_duration(time.monotonic() - started)
    _LOGGER.info('%s: written in %s', folder.path, took)


def build(
  pipeline: beam.Pipeline,
  config: Config,
  todo: Sequence[AnswerShard],
  tables: Mapping[str, Table],
) -> beam.PCollection:
  """Builds the graph that answers shards and writes them.

  Args:
    pipeline: pipeline to add to.
    config: flags of the job.
    todo: shards of all tables.
    tables: table of each question, by the name that its shards have.

  Returns:
    A PCollection with the rows of each shard.
  """
  read = (config.model_dir, config.histories_dir, config.embeddings_dir)
  folders = [table.folder for table in tables.values()]
  return (
    pipeline
    | 'Shards' >> beam.Create(list(todo))
    | 'Spread' >> beam.Reshuffle()
    | 'Reach' >> beam.ParDo(CheckReach(folders[0], *filter(None, read)))
    | 'Answer' >> RunInference(AnswerHandler(config, [*filter(None, tables)]))
    | 'Write' >> beam.ParDo(WriteAnswers(tables, config.format))
    | 'Progress' >> beam.ParDo(ShowProgress('answered', _nouns(folders)))
  )


def _nouns(folders: Sequence[output_folder.OutputFolder]) -> str:
  """Returns what the rows of tables answer."""
  return ' and '.join(sorted({noun_of(folder) for folder in folders}))


def _finish_detached(runs: Sequence[_Run], rows) -> None:
  """Finishes the folders as the last step of a detached job."""
  for _ in rows:  # all shards are written when the last row has arrived
    pass
  for run in runs:
    finish_predictions(run.folder, run.every, run.config.format)
    _load(run)


def _load(run: _Run) -> None:
  """Loads a finished folder into its table, if the flags name one."""
  if run.config.bigquery_table:
    from pipelines.predictions.bigquery_load import load_folder  # Google's clients

    load_folder(run.folder.path, table_of(run.config.bigquery_table, run.name))
