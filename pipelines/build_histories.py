"""Makes the histories of users from ratings and movies: the first job of the chain.

    python -m pipelines.build_histories --ratings=ratings.csv --movies=movies.csv \
      --output_dir=histories [--max_history=50 ...] [--runner=DataflowRunner ...]
    python -m pipelines.build_histories --dataset=books.yaml --output_dir=histories

Reads and checks blocks of the ratings files and divides the users among shards; each
shard is one file of tf.Examples. The same input gives the same bytes with any number of
workers. docs/implementation.md describes the folder.
"""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Literal

from pipelines.common import flags
from pipelines.common.flags import flag, path_flag
from pipelines.common.places import WORKERS
from pipelines.events.rating_scale import RatingScale
from pipelines.histories.cutoff import Cutoff
from pipelines.histories.history_settings import HistorySettings
from pipelines.histories.samplers import SAMPLERS
from pipelines.histories.split import Split
from tasks.labels import LabelRule

_RULE = LabelRule()
# Flags that name a place, or that do not change what is written.
_NO_SETTINGS = ('ratings', 'movies', 'tags', 'descriptions', 'embeddings_dir')
_NO_SETTINGS += ('output_dir', 'overwrite', 'block_bytes', 'max_reject_fraction')
_NO_SETTINGS += ('data_license', 'dataset')


@dataclasses.dataclass(frozen=True)
class Config:
  """Holds the flags."""

  output_dir: str = path_flag('folder to write', place=WORKERS)
  dataset: str = path_flag(
    'dataset file: YAML that says what the files are and what is asked; in place of '
    '--ratings, --movies and the flags that it decides',
    '',
  )
  ratings: str = path_flag('ratings file or glob', '', place=WORKERS)
  movies: str = path_flag('movies file or glob', '')
  mapping: str = path_flag(
    'columns of your own data: field=column,... or a .json file', ''
  )
  tags: str = path_flag('file or glob of tags that users gave to items', '')
  descriptions: str = path_flag('file or glob of item ids and their texts', '')
  no_genre: str = flag(
    "texts that mean 'no genre', besides those of MovieLens, pandas and SQL, with | "
    'between them',
    '',
  )
  overwrite: bool = flag('write a finished folder again', False)
  sampler: Literal[tuple(SAMPLERS)] = flag(
    'rule that selects the interactions of a long history', 'recency'
  )
  embeddings_dir: str = path_flag(
    'finished folder of embed_items on the same items, for --sampler=diverse',
    '',
    place=WORKERS,
  )
  query: str = flag(
    "search words for --sampler=sparse_retrieval; '': the genre names", ''
  )
  max_history: int = flag('largest number of interactions in a history', 50)
  min_history: int = flag('smallest number of ratings; users with fewer are dropped', 1)
  seed: int = flag('seed of the split and of random samplers', 0)
  train_fraction: float = flag('share of users for training', 0.8)
  validation_fraction: float = flag(
    'share of users for validation; the other users are the test split', 0.1
  )
  num_shards: int = flag(
    'number of files of the training split; 0: by size of the input', 0
  )
  compression: Literal['', 'GZIP'] = flag('compression of the TFRecord files', '')
  rating_scale: str = flag(
    'low:high:step of the ratings; all other ratings are rejected', '0.5:5:0.5'
  )
  max_reject_fraction: float = flag(
    'largest share of rejected rows in the files of a flag, 0 to 1; a larger share '
    'stops the job',
    0.02,
  )
  label_mode: Literal['profile', 'future'] = flag(
    'make labels from the whole history, or from the ratings after --label_cutoff',
    'profile',
  )
  label_cutoff: str = flag(
    "cut: a share of each user's ratings, seconds since 1970 or a date", ''
  )
  label_min_count: int = flag(
    'smallest number of ratings of a labelled genre', _RULE.min_count
  )
  label_liked_above: float = flag(
    'mean rating, in stars, above which a genre is liked', _RULE.liked_above
  )
  label_disliked_below: float = flag(
    'mean rating, in stars, below which a genre is disliked', _RULE.disliked_below
  )
  label_top: int = flag('largest number of genres on each side', _RULE.top)
  block_bytes: int = flag('number of bytes read from a file at a time', 1 << 23)
  data_license: str = flag(
    "licence of the ratings, for the info file; '': not stated", ''
  )

  def __post_init__(self):
    if not self.dataset and not (self.ratings and self.movies):
      raise ValueError('expected --ratings and --movies, or --dataset')
    for name in ('max_history', 'min_history', 'block_bytes'):
      if getattr(self, name) < 1:
        raise ValueError(f'{name}={getattr(self, name)}: expected at least 1')
    if not 0 <= self.max_reject_fraction <= 1:
      raise ValueError(
        f'max_reject_fraction={self.max_reject_fraction}: expected a number from 0 to 1'
      )
    needs = SAMPLERS[self.sampler].needs
    for name, needed in (('embeddings_dir', 'vectors'), ('query', 'relevance')):
      if getattr(self, name) and needs != needed:
        raise ValueError(f'sampler={self.sampler} does not use {name}')
    if needs == 'vectors' and not self.embeddings_dir:
      raise ValueError(f'sampler={self.sampler} needs embeddings_dir')
    if (self.label_mode == 'future') != bool(self.label_cutoff):
      raise ValueError('set both label_mode=future and label_cutoff, or neither')
    self.scale, self.split, self.histories  # noqa: B018  all raise ValueError

  @property
  def scale(self) -> RatingScale:
    """Returns the scale of valid ratings."""
    return RatingScale.parse(self.rating_scale)

  @property
  def split(self) -> Split:
    """Returns the division of users into splits and shards."""
    return Split(
      self.train_fraction, self.validation_fraction, self.num_shards or 1, self.seed
    )

  @property
  def histories(self) -> HistorySettings:
    """Returns the settings that decide the contents of a history."""
    rule = LabelRule(
      self.label_min_count,
      self.label_liked_above,
      self.label_disliked_below,
      self.label_top,
    )
    try:
      cutoff = Cutoff.parse(self.label_cutoff) if self.label_cutoff else None
    except ValueError as error:
      raise ValueError(f'label_cutoff={error}') from None
    return HistorySettings(
      self.sampler, self.max_history, self.min_history, self.seed, rule, cutoff
    )

  def settings(self) -> dict:
    """Returns all flags that decide what is written, as JSON types."""
    flags = dataclasses.asdict(self)
    return {name: value for name, value in flags.items() if name not in _NO_SETTINGS}


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are unusable.
  """
  config, beams = flags.parse_with_beam(Config, argv, __doc__)
  dataset = None
  if config.dataset:
    from pipelines.dataset import dataset_flags  # imports Beam

    named = flags.named_in(sys.argv[1:] if argv is None else argv)
    config, dataset = dataset_flags.read_flags(config, beams, named)
  options = flags.beam_options(config, beams)
  from pipelines.histories import histories_job  # imports Beam

  histories_job.run_job(config, options, dataset)


if __name__ == '__main__':
  from pipelines import build_histories
  from pipelines.common import job

  job.main(build_histories.run)
