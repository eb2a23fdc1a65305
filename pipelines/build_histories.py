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

from persoma_tf.units import format_duration
from pipelines import folders, job
from pipelines.job import JobError
from pipelines.transforms import dataset_info, inputs, item_facts
from pipelines.transforms.cutoff import Cutoff
from pipelines.transforms.formats import REQUIRED
from pipelines.transforms.histories import HistorySettings
from pipelines.transforms.item_facts import FactSource
from pipelines.transforms.item_texts import add_descriptions, add_tags
from pipelines.transforms.items import ItemTable, read_items, write_items
from pipelines.transforms.mapping import formats_of
from pipelines.transforms.read import RatingScale
from pipelines.transforms.sample import SAMPLERS
from pipelines.transforms.split import Split
from pipelines.transforms.steps import (
  CountItems,
  ReadBlock,
  WriteRejects,
  WriteShard,
)
from tasks.labels import LabelRule

_LOGGER = logging.getLogger(__name__)
_RULE = LabelRule()
_ITEMS = 'items.parquet'
_SHARD_BYTES = 1 << 26  # of ratings; a worker holds a few shards in memory


def _flag(default, text):
  return dataclasses.field(default=default, metadata={'help': text})


@dataclasses.dataclass(frozen=True)
class Config:
  """The flags."""

  ratings: str = dataclasses.field(metadata={'help': 'ratings file or glob'})
  movies: str = dataclasses.field(metadata={'help': 'movies file or glob'})
  output_dir: str = dataclasses.field(metadata={'help': 'folder to write'})
  mapping: str = _flag('', 'own data: field=column,... or a .json file')
  tags: str = _flag('', 'tags file or glob: users, items, tags')
  descriptions: str = _flag('', 'file or glob of item ids and texts')
  overwrite: bool = _flag(False, 'make a finished folder again')
  sampler: Literal[tuple(SAMPLERS)] = _flag('recency', 'which interactions are kept')
  embeddings_dir: str = _flag('', 'of the same items, for --sampler=diverse')
  query: str = _flag('', "for --sampler=sparse_retrieval; '': the genre names")
  max_history: int = _flag(50, 'most interactions a user')
  min_history: int = _flag(1, 'users with fewer ratings are dropped')
  seed: int = _flag(0, 'of the split and of samplers that draw')
  train_fraction: float = _flag(0.8, 'share of users')
  validation_fraction: float = _flag(0.1, 'share of users; the rest is test')
  num_shards: int = _flag(0, 'files of the training split; 0: by size')
  compression: Literal['', 'GZIP'] = _flag('', 'of the TFRecord files')
  rating_scale: str = _flag('0.5:5:0.5', 'low:high:step; others are rejected')
  max_reject_fraction: float = _flag(1.0, 'more bad rows than this stop the job')
  label_mode: Literal['profile', 'future'] = _flag(
    'profile', 'labels of the whole history, or of what follows --label_cutoff'
  )
  label_cutoff: str = _flag('', 'a share of each history, seconds since 1970 or a date')
  label_min_count: int = _flag(_RULE.min_count, 'ratings that a genre needs')
  label_liked_above: float = _flag(_RULE.liked_above, 'mean rating, stars')
  label_disliked_below: float = _flag(_RULE.disliked_below, 'mean rating, stars')
  label_top: int = _flag(_RULE.top, 'most genres on each side')
  block_bytes: int = _flag(1 << 23, 'bytes of a file that are read at a time')
  data_license: str = _flag('', "of the ratings, for the info file; '': not stated")

  def __post_init__(self):
    for name in ('max_history', 'min_history', 'block_bytes'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)}: expected at least 1')
    if not 0 <= self.max_reject_fraction <= 1:
      raise ValueError(f'max_reject_fraction={self.max_reject_fraction}: not in 0..1')
    needs = SAMPLERS[self.sampler].needs
    for flag, needed in (('embeddings_dir', 'vectors'), ('query', 'relevance')):
      if getattr(self, flag) and needs != needed:
        raise ValueError(f'{flag} is of no use to sampler={self.sampler}')
    if needs == 'vectors' and not self.embeddings_dir:
      raise ValueError(f'sampler={self.sampler} needs embeddings_dir')
    if (self.label_mode == 'future') != bool(self.label_cutoff):
      raise ValueError('label_mode=future and label_cutoff go together')
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
    cutoff = Cutoff.parse(self.label_cutoff) if self.label_cutoff else None
    return HistorySettings(
      self.sampler, self.max_history, self.min_history, self.seed, rule, cutoff
    )

  def facts(self, items_path: str) -> FactSource:
    """Where the sampler's facts of the items come from."""
    needs = SAMPLERS[self.sampler].needs
    return FactSource(items_path, needs, self.embeddings_dir, self.query)

  def settings(self) -> dict:
    """All flags that decide what is written, as JSON."""
    elsewhere = (*REQUIRED, 'embeddings_dir', 'output_dir', 'overwrite')
    elsewhere += ('block_bytes', 'max_reject_fraction', 'data_license')
    flags = dataclasses.asdict(self)
    return {name: value for name, value in flags.items() if name not in elsewhere}


def build(
  pipeline: beam.Pipeline,
  config: Config,
  blocks: Sequence[inputs.Block],
  items: ItemTable,
  output_dir: str,
) -> tuple[beam.PCollection, beam.PCollection]:
  """The graph.

  Args:
    pipeline: gets the transforms.
    config: the flags.
    blocks: what to read.
    items: the item table, which is also in the output folder.
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
  rejects = (
    pipeline
    | 'Once' >> beam.Create([items.rejects])
    | 'WriteRejects'
    >> beam.ParDo(
      WriteRejects(output_dir, config.max_reject_fraction),
      beam.pvalue.AsList(read[ReadBlock.REJECTS]),
    )
  )
  shards = read.rows | beam.GroupByKey()
  facts = config.facts(items_path)
  known = [beam.pvalue.AsSingleton(rejects)]
  if facts.needs == 'counts':
    counter = CountItems(items.table.num_rows, split.shards['train'], config.histories)
    counts = shards | 'Count' >> beam.ParDo(counter) | beam.CombineGlobally(sum)
    known.append(beam.pvalue.AsSingleton(counts))
  writer = WriteShard(
    output_dir, facts, split.shard_names(), config.compression, config.histories
  )
  return shards | 'Write' >> beam.ParDo(writer, *known), rejects


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are not as they should be.
  """
  config, options = job.parse(Config, argv, __doc__.split('\n')[0])
  started = time.monotonic()
  files = _find(config)
  items = _read_items(config, files)
  if not config.num_shards:
    size = sum(file.size for file in files['ratings'])
    shards = math.ceil(config.train_fraction * size / _SHARD_BYTES)
    config = dataclasses.replace(config, num_shards=shards)
  settings = {**config.settings(), 'inputs': _read_from(config, files, items)}
  folder = folders.OutputFolder(config.output_dir, settings)
  if not folder.begin(config.overwrite):
    dataset_info.state_license(folder, config.data_license)
    return
  about = dataset_info.Run(
    folder,
    folder.file(_ITEMS),
    items.num_lines,
    items.texts,
    config.split,
    config.compression,
    config.histories.rule,
    job.is_detached(options),
    config.data_license,
  )
  write_items(about.items_path, items.table)
  blocks = inputs.blocks(files['ratings'], config.block_bytes)
  with beam.Pipeline(options=options) as pipeline:
    shards, rejects = build(pipeline, config, blocks, items, folder.path)
    last = pipeline | 'Last' >> beam.Create([None])
    written = (beam.pvalue.AsList(shards), beam.pvalue.AsSingleton(rejects))
    _ = last | 'Finish' >> beam.Map(dataset_info.finish, *written, about)
  if about.detached:
    _LOGGER.info('%s: the job is submitted and will complete it', folder.path)
  else:
    _complete(folder, started)


def _find(config):
  """{kind: files} of the inputs that are given."""
  return {
    kind: inputs.find(pattern, formats, kind)
    for kind, formats in formats_of(config.mapping).items()
    if (pattern := getattr(config, kind)) or kind in ('ratings', 'movies')
  }


def _read_items(config, files):
  """The item table, with tags and descriptions where there are any."""
  items = read_items(files['movies'])
  if not items.table.num_rows:
    raise JobError(f'--movies: no row of {config.movies} is an item')
  items = add_tags(items, files.get('tags', ()))
  return add_descriptions(items, files.get('descriptions', ()))


def _read_from(config, files, items):
  """What tells these inputs from others, as JSON."""
  found = {kind: inputs.describe(chosen) for kind, chosen in files.items()}
  if config.embeddings_dir:
    ids = items.table['item_id']
    found['embeddings'] = item_facts.check_embeddings(config.embeddings_dir, ids)
  return found


def _complete(folder, started):
  """Here and not in a worker: a failed check is one sentence, without engine traces."""
  info = folders.read_json(folder.file(dataset_info.FILE))
  dataset_info.check(info['counts'])
  folder.complete()
  _LOGGER.info(
    '%s: %s; %s\n%s',
    folder.path,
    dataset_info.describe(info['counts']),
    format_duration(time.monotonic() - started),
    dataset_info.describe_statistics(info['statistics']),
  )


if __name__ == '__main__':
  from pipelines import build_histories

  job.main(build_histories.run)
