"""Ratings and movies to per-user histories: the first job of the chain.

    python -m pipelines.build_histories --ratings=ratings.csv --movies=movies.csv \
      --output_dir=histories [--max_history=50 ...] [--runner=DataflowRunner ...]

Blocks of the ratings files are read, checked and divided by shard; each shard becomes
one file of tf.Examples. The same input gives the same bytes, whatever the number of
workers. What is in the folder: docs/implementation.md.
"""

import dataclasses
import logging
import math
import time
from collections.abc import Sequence
from typing import Literal

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from pipelines import folders, job, schema
from pipelines.job import JobError
from pipelines.transforms import inputs
from pipelines.transforms.histories import HistorySettings
from pipelines.transforms.items import (
  load_items,
  read_items,
  read_table,
  with_num_ratings,
  write_items,
)
from pipelines.transforms.mapping import formats_of
from pipelines.transforms.read import RatingScale
from pipelines.transforms.sample import SAMPLERS
from pipelines.transforms.split import Split
from pipelines.transforms.steps import (
  ReadBlock,
  WriteRejects,
  WriteShard,
  write_shard,
)
from tasks.labels import LabelRule

_LOGGER = logging.getLogger(__name__)
_RULE = LabelRule()
_ITEMS = 'items.parquet'
_SHARD_BYTES = 1 << 25  # of ratings; a worker holds a few shards in memory


def _flag(default, text):
  return dataclasses.field(default=default, metadata={'help': text})


@dataclasses.dataclass(frozen=True)
class Config:
  """The flags."""

  ratings: str = dataclasses.field(metadata={'help': 'ratings file or glob'})
  movies: str = dataclasses.field(metadata={'help': 'movies file or glob'})
  output_dir: str = dataclasses.field(metadata={'help': 'folder to write'})
  mapping: str = _flag('', 'own data: field=column,... or a .json file')
  overwrite: bool = _flag(False, 'make a finished folder again')
  sampler: Literal[tuple(SAMPLERS)] = _flag('recency', 'which interactions are kept')
  max_history: int = _flag(50, 'most interactions a user')
  min_history: int = _flag(1, 'users with fewer ratings are dropped')
  seed: int = _flag(0, 'of the split and of samplers that draw')
  train_fraction: float = _flag(0.8, 'share of users')
  validation_fraction: float = _flag(0.1, 'share of users; the rest is test')
  num_shards: int = _flag(0, 'files of the training split; 0: by size')
  compression: Literal['', 'GZIP'] = _flag('', 'of the TFRecord files')
  rating_scale: str = _flag('0.5:5:0.5', 'low:high:step; others are rejected')
  label_min_count: int = _flag(_RULE.min_count, 'ratings that a genre needs')
  label_liked_above: float = _flag(_RULE.liked_above, 'mean rating, stars')
  label_disliked_below: float = _flag(_RULE.disliked_below, 'mean rating, stars')
  label_top: int = _flag(_RULE.top, 'most genres on each side')
  block_bytes: int = _flag(1 << 23, 'bytes of a file that are read at a time')

  def __post_init__(self):
    for name in ('max_history', 'min_history', 'block_bytes'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)}: expected at least 1')
    self.scale, self.split, self.histories  # noqa: B018  all raise ValueError

  @property
  def scale(self) -> RatingScale:
    """The ratings there can be."""
    return RatingScale.parse(self.rating_scale)

  @property
  def split(self) -> Split:
    """How users are divided."""
    return Split(
      self.train_fraction, self.validation_fraction, self.num_shards or 1, self.seed
    )

  @property
  def histories(self) -> HistorySettings:
    """What a history looks like."""
    rule = LabelRule(
      self.label_min_count,
      self.label_liked_above,
      self.label_disliked_below,
      self.label_top,
    )
    return HistorySettings(
      self.sampler, self.max_history, self.min_history, self.seed, rule
    )

  def settings(self) -> dict:
    """All flags that decide what is written, as JSON."""
    elsewhere = ('ratings', 'movies', 'output_dir', 'overwrite', 'block_bytes')
    flags = dataclasses.asdict(self)
    return {name: value for name, value in flags.items() if name not in elsewhere}


def build(
  pipeline: beam.Pipeline,
  config: Config,
  blocks: Sequence[inputs.Block],
  item_rejects: list[dict],
  output_dir: str,
) -> tuple[beam.PCollection, beam.PCollection]:
  """The graph.

  Args:
    pipeline: gets the transforms.
    config: the flags.
    blocks: what to read.
    item_rejects: lines of the movies files that are no item.
    output_dir: where the item table is, and shards and rejects go.

  Returns:
    (one `steps.ShardSummary` a shard, one `steps.RejectSummary`).
  """
  split, items_path = config.split, FileSystems.join(output_dir, _ITEMS)
  read = (
    pipeline
    | 'Blocks' >> beam.Create(blocks)
    | 'Spread' >> beam.Reshuffle()
    | 'Read'
    >> beam.ParDo(ReadBlock(items_path, config.scale, split)).with_outputs(
      ReadBlock.REJECTS, main='rows'
    )
  )
  written = (
    read.rows
    | beam.GroupByKey()
    | 'Write'
    >> beam.ParDo(
      WriteShard(
        output_dir,
        items_path,
        split.shard_names(),
        config.compression,
        config.histories,
      )
    )
  )
  rejects = (
    pipeline
    | 'Once' >> beam.Create([item_rejects])
    | 'WriteRejects'
    >> beam.ParDo(WriteRejects(output_dir), beam.pvalue.AsList(read[ReadBlock.REJECTS]))
  )
  return written, rejects


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are not as they should be.
  """
  config, options = job.parse(Config, argv, __doc__.split('\n')[0])
  started = time.monotonic()
  known = formats_of(config.mapping)
  ratings = inputs.find(config.ratings, known['ratings'], 'ratings')
  movies = inputs.find(config.movies, known['movies'], 'movies')
  read_from = {
    'ratings': inputs.describe(ratings),
    'movies': inputs.describe(movies),
  }
  if not config.num_shards:
    size = sum(file.size for file in ratings)
    shards = math.ceil(config.train_fraction * size / _SHARD_BYTES)
    config = dataclasses.replace(config, num_shards=shards)
  items = read_items(movies)
  if not items.table.num_rows:
    raise JobError(f'--movies: no row of {config.movies} is an item')
  folder = folders.OutputFolder(
    config.output_dir, {**config.settings(), 'inputs': read_from}
  )
  if not folder.begin(config.overwrite):
    return
  write_items(folder.file(_ITEMS), items.table)
  blocks = inputs.blocks(ratings, config.block_bytes)
  detached = job.is_detached(options)
  with beam.Pipeline(options=options) as pipeline:
    shards, rejects = build(pipeline, config, blocks, items.rejects, folder.path)
    _ = (
      pipeline
      | 'Last' >> beam.Create([None])
      | 'Finish'
      >> beam.Map(
        _finish,
        beam.pvalue.AsList(shards),
        beam.pvalue.AsSingleton(rejects),
        folder,
        config,
        items.num_lines,
        detached,
      )
    )
  if detached:
    _LOGGER.info('%s: the job is submitted and will complete it', folder.path)
    return
  # Here and not in a worker: one sentence, without the traces of an engine.
  counts = folders.read_json(folder.file('dataset_info.json'))['counts']
  _check(counts)
  folder.complete()
  seconds = time.monotonic() - started
  _LOGGER.info('%s: %s; %.1f s', folder.path, _summary(counts), seconds)


def _check(counts):
  """Raises JobError if rows were lost or no user is left."""
  dropped = sum(counts['rows_dropped'].values())
  if counts['rows_in'] != counts['rows_kept'] + counts['rows_rejected'] + dropped:
    raise JobError(f'rows were lost, which is a bug: {counts}')
  if not sum(counts['users'].values()):
    raise JobError(
      f'no user is left ({_summary(counts)}); see rejects-*.jsonl and --min_history'
    )


def _summary(counts):
  """The counts in one line."""
  users = ', '.join(f'{split} {number:,}' for split, number in counts['users'].items())
  dropped = sum(counts['rows_dropped'].values())
  return (
    f'users: {users}; rows: {counts["rows_in"]:,} read, {counts["rows_kept"]:,} kept, '
    f'{counts["rows_rejected"]:,} rejected, {dropped:,} dropped; '
    f'items: {counts["items"]:,}'
  )


def _finish(_, shards, rejects, folder, config, item_lines, detached):
  """Writes shards without users, the item table and the info file.

  Completes the folder if nobody waits for the job.
  """
  for name in set(config.split.shard_names()) - {shard.name for shard in shards}:
    write_shard(folder.path, name, config.compression)
  # From the file: what is handed to a step goes through the engine's pickle.
  table = read_table(folder.file(_ITEMS))
  users = dict.fromkeys(config.split.fractions, 0)
  dropped: dict[str, int] = {}
  for shard in shards:
    users[shard.name.split('-')[0]] += shard.users
    for rule, number in shard.dropped.items():
      dropped[rule] = dropped.get(rule, 0) + number
  counts = {
    'rows_in': rejects.rows_in,
    'rows_kept': sum(shard.rows_kept for shard in shards),
    'rows_rejected': rejects.rows_rejected,
    'rows_dropped': dropped,
    'users': users,
    'items': table.num_rows,
    'item_rows_in': item_lines,
    'item_rows_rejected': item_lines - table.num_rows,
  }
  num_ratings = sum(shard.num_ratings for shard in shards)
  write_items(folder.file(_ITEMS), with_num_ratings(table, num_ratings))
  folder.write_json(
    'dataset_info.json',
    {
      'schema': schema.HISTORY,
      'counts': counts,
      'genres': list(load_items(folder.file(_ITEMS)).facts.genre_names),
      'rating_values': sorted({x for shard in shards for x in shard.rating_values}),
      'split_fractions': config.split.fractions,
      'label_rule': dataclasses.asdict(config.histories.rule),
      **folder.settings,
      'versions': job.versions(),
    },
  )
  if detached:
    _check(counts)
    folder.complete()


if __name__ == '__main__':
  from pipelines import build_histories

  job.main(build_histories.run)
