"""Runs the job of `pipelines.build_histories`: checks inputs, builds the graph."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from persoma_tf.units import format_duration
from pipelines.common import flags, output_folder, storage
from pipelines.common.job import JobError
from pipelines.common.reach import CheckReach
from pipelines.events import file_blocks, input_files
from pipelines.events.event_texts import named_of_items
from pipelines.events.mapping import formats_of
from pipelines.events.rating_scale import RatingScale, thresholds_on
from pipelines.events.read_events import ReadBlock
from pipelines.events.reject_share import check_item_shares
from pipelines.events.rejects import WriteRejects
from pipelines.examples.example_plan import USERS, Examples
from pipelines.examples.read_example_blocks import ReadExampleBlock
from pipelines.histories import clean, dataset_info
from pipelines.histories.example_counts import describe_examples
from pipelines.histories.history_shards import (
  EVENTS,
  CountItems,
  FindEarliest,
  WriteHistories,
)
from pipelines.histories.samplers import SAMPLERS
from pipelines.histories.user_files import read_user_blocks
from pipelines.items import item_facts
from pipelines.items.catalogue import ItemTable, read_items
from pipelines.items.event_items import add_event_texts, read_event_items
from pipelines.items.item_facts import ItemFactsSource
from pipelines.items.item_table import (
  LoadEventTexts,
  LoadItemIds,
  LoadUserTexts,
  write_items,
)
from pipelines.items.item_texts import add_descriptions, add_tags
from tasks import schema
from tasks.labels import LabelRule

if TYPE_CHECKING:
  from pipelines.build_histories import Config
  from pipelines.dataset.dataset import Dataset

_LOGGER = logging.getLogger(__name__)
_JOB = 'pipelines.build_histories'
_ITEMS = 'items.parquet'
_SHARD_BYTES = 1 << 26  # of ratings in a shard; a worker holds a few shards in memory
_Files = Mapping[str, Sequence[input_files.InputFile]]  # kind -> its files


def run_job(
  config: Config, options: PipelineOptions, dataset: Dataset | None = None
) -> None:
  """Checks the inputs, then builds and runs the pipeline.

  Args:
    config: the flags.
    options: Beam's options.
    dataset: content of `config.dataset`, which has decided some of the flags; None
      without a dataset file.

  Raises:
    JobError: the inputs or the output folder are unusable.
  """
  started = time.monotonic()
  examples = dataset.examples() if dataset else Examples()
  if examples.users:
    _warn_of_thresholds(config)
  files = _find(config, dataset)
  items = _read_items(config, files, examples)
  config = _with_num_shards(config, files)
  settings = {**config.settings(), 'inputs': _read_from(config, files, items)}
  settings |= {'dataset': dataset.about()} if dataset else {}
  folder = output_folder.OutputFolder(config.output_dir, settings, _JOB)
  if not folder.begin(config.overwrite):
    dataset_info.state_license(folder, config.data_license)
    return
  run = dataset_info.HistoriesRun(
    folder,
    folder.file(_ITEMS),
    items.num_lines,
    items.texts,
    items.values,
    config.split,
    config.compression,
    config.histories.rule,
    flags.is_detached(options),
    config.data_license,
    examples,
    items.event_texts.num_rows if items.event_texts else 0,
  )
  write_items(run.items_path, items.table)
  if texts := items.event_texts:
    storage.write_parquet(folder.file(schema.EVENT_TEXTS), texts.schema, [texts])
  blocks = _cut_all(config, files, examples)
  with beam.Pipeline(options=options) as pipeline:
    shards, rejects = build(pipeline, config, blocks, items, folder, examples)
    last = pipeline | 'Last' >> beam.Create([None])
    written = (beam.pvalue.AsList(shards), beam.pvalue.AsSingleton(rejects))
    _ = last | 'Finish' >> beam.Map(dataset_info.finish_histories, *written, run)
  if run.detached:
    _LOGGER.info('%s: the job is submitted and will complete the folder', folder.path)
  else:
    _complete(folder, started)


def build(
  pipeline: beam.Pipeline,
  config: Config,
  blocks: Mapping[str, Sequence[file_blocks.FileBlock]],
  items: ItemTable,
  folder: output_folder.OutputFolder,
  examples: Examples = Examples(),  # noqa: B008  immutable
) -> tuple[beam.PCollection, beam.PCollection]:
  """Builds the graph that writes shards and rejects.

  Args:
    pipeline: pipeline to which the transforms are added.
    config: the flags.
    blocks: all blocks of the ratings files, and of the files of questions.
    items: the item table, which is also in the folder.
    folder: the output folder, in which the item table is already.
    examples: examples of the questions that are not about users.

  Returns:
    A PCollection with one `history_shards.ShardSummary` per shard, and one with a
    single `rejects.RejectSummary`.
  """
  split, items_path = config.split, folder.file(_ITEMS)
  load_ids = LoadItemIds(items_path)
  texts_path = folder.file(schema.EVENT_TEXTS) if items.event_texts else ''
  named = named_of_items(block.layout.format for block in blocks[EVENTS])
  load_texts = LoadEventTexts(texts_path, items_path, named)
  reader = ReadBlock(load_ids, config.scale, split, load_texts)
  read = {EVENTS: _read_blocks(pipeline, '', blocks[EVENTS], reader, folder)}
  for plan in examples.of_files:
    name, reader = plan.question, ReadExampleBlock(load_ids, plan, split)
    read[name] = _read_blocks(pipeline, f':{name}', blocks[name], reader, folder)
  all_rejects = [each[ReadBlock.REJECTS] for each in read.values()]
  rejects = (
    pipeline
    | 'Once' >> beam.Create([items.rejects])
    | 'WriteRejects'
    >> beam.ParDo(
      WriteRejects(folder.place, config.max_reject_fraction),
      beam.pvalue.AsList(all_rejects | beam.Flatten()),
    )
  )
  shards = {name: each.rows for name, each in read.items()} | beam.CoGroupByKey()
  facts = _facts(config, items_path)
  known = [beam.pvalue.AsSingleton(rejects)]
  settings = dataclasses.replace(config.histories, ranks=examples.ranks)
  if facts.needs == 'counts' or examples.by_popularity:
    counter = CountItems(items.table.num_rows, split.shards['train'], settings)
    before = []
    if examples.plans:
      earliest = shards | 'Earliest' >> beam.ParDo(FindEarliest(examples, settings))
      before = [beam.pvalue.AsSingleton(earliest | beam.CombineGlobally(_first_time))]
    counts = shards | 'Count' >> beam.ParDo(counter, *before)
    known.append(beam.pvalue.AsSingleton(counts | 'Sum' >> beam.CombineGlobally(sum)))
  about = split.shard_names(), config.compression, settings, examples
  of_users = blocks[EVENTS][0].layout.format.of_users if blocks[EVENTS] else ()
  load_texts = LoadUserTexts(texts_path, of_users)
  writer = WriteHistories(folder.place, facts, *about, load_texts)
  return shards | 'Write' >> beam.ParDo(writer, *known), rejects


def _read_blocks(pipeline, label: str, blocks, reader, folder):
  """Reads blocks with a step that gives rows by shard, and rejects."""
  return (
    pipeline
    | f'Blocks{label}' >> beam.Create(blocks)
    | f'Spread{label}' >> beam.Reshuffle()
    | f'Reach{label}' >> beam.ParDo(CheckReach(folder))
    | f'Read{label}' >> beam.ParDo(reader).with_outputs(reader.REJECTS, main='rows')
  )


def _first_time(times: Iterable[int]) -> int:
  return min(times, default=clean.EVER)


def _cut_all(
  config: Config, files: _Files, examples: Examples
) -> dict[str, list[file_blocks.FileBlock]]:
  """Cuts the ratings files, and the files of each question, into blocks."""
  blocks = {EVENTS: file_blocks.cut_blocks(files['ratings'], config.block_bytes)}
  before = len(files['ratings'])
  for plan in examples.of_files:
    found = files[f'examples.{plan.question}']
    cut = file_blocks.cut_blocks(found, config.block_bytes)
    blocks[plan.question] = [x._replace(file=x.file + before) for x in cut]
    before += len(found)
  return blocks


def _warn_of_thresholds(config: Config) -> None:
  """Logs a warning if labels on another scale have the thresholds of five stars."""
  rule, usual = config.histories.rule, LabelRule()
  same = rule.liked_above, rule.disliked_below
  if config.scale.high != RatingScale().high and same == (
    usual.liked_above,
    usual.disliked_below,
  ):
    _LOGGER.warning(
      'the label thresholds are those of five stars, the ratings are %s: set '
      'thresholds on this scale, such as %s',
      config.scale,
      thresholds_on(config.scale.low, config.scale.high),
    )


def _find(config: Config, dataset: Dataset | None) -> _Files:
  """Finds the input files that the flags or the dataset file name."""
  if dataset:
    return dataset.find_files()
  return {
    kind: input_files.find_files(pattern, formats, kind)
    for kind, formats in formats_of(config.mapping).items()
    if (pattern := getattr(config, kind)) or kind in ('ratings', 'movies')
  }


def _read_items(config: Config, files: _Files, examples: Examples) -> ItemTable:
  """Reads the item table, with the tags and descriptions if given."""
  if 'movies' not in files:  # texts of the events stand for items
    return read_event_items(files['ratings'])
  items = read_items(files['movies'], config.no_genre.split('|'))
  if not items.table.num_rows:
    raise JobError(f'--movies: no row of {config.movies} is an item')
  users = None
  if files['ratings'][0].layout.format.of_users:
    blocks = file_blocks.cut_blocks(files[f'examples.{USERS}'], config.block_bytes)
    users = read_user_blocks(blocks, items.table['item_id'], examples)
  items = add_event_texts(items, files['ratings'], users)
  items = add_tags(items, files.get('tags', ()))
  items = add_descriptions(items, files.get('descriptions', ()))
  rows_in = {kind: counts['rows_in'] for kind, counts in items.texts.items()}
  rows_in['movies'] = items.num_lines
  check_item_shares(items.rejects, rows_in, config.max_reject_fraction)
  return items


def _with_num_shards(config: Config, files: _Files) -> Config:
  """Chooses the number of shards by size if the flag is 0."""
  if config.num_shards:
    return config
  size = sum(file.size for file in files['ratings'])
  shards = math.ceil(config.train_fraction * size / _SHARD_BYTES)
  return dataclasses.replace(config, num_shards=shards)


def _facts(config: Config, items_path: str) -> ItemFactsSource:
  """Returns the source of the facts about items that the sampler needs."""
  needs = SAMPLERS[config.sampler].needs
  return ItemFactsSource(items_path, needs, config.embeddings_dir, config.query)


def _read_from(config: Config, files: _Files, items: ItemTable) -> dict:
  """Returns what identifies the inputs, as JSON types."""
  inputs = {kind: input_files.describe_files(chosen) for kind, chosen in files.items()}
  if config.embeddings_dir:
    ids = items.table['item_id']
    inputs['embeddings'] = item_facts.check_embeddings(config.embeddings_dir, ids)
  return inputs


def _complete(folder: output_folder.OutputFolder, started: float) -> None:
  """Checks the counts and completes the folder.

  Runs in the launching process: here a failed check is one line, without the traces
  of a worker.
  """
  folder.check_written()
  info = storage.read_json(folder.file(dataset_info.FILE))
  dataset_info.check_counts(info['counts'])
  folder.complete()
  _LOGGER.info(
    '%s: %s; %s\n%s',
    folder.path,
    dataset_info.describe_counts(info['counts']),
    format_duration(time.monotonic() - started),
    '\n'.join(
      [dataset_info.describe_statistics(info['statistics'])] * bool(info['label_rule'])
      + describe_examples(info)
    ),
  )
  dataset_info.warn_of_gaps(info)
