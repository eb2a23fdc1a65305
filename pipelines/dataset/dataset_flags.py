"""Gives a job the flags that a dataset file decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pipelines.common.job import JobError
from pipelines.common.places import WORKERS
from pipelines.dataset.dataset import NO_VALUES, Dataset
from pipelines.dataset.dataset_file import read_dataset
from tasks.labels import LabelRule

if TYPE_CHECKING:
  from pipelines.build_histories import Config


def read_flags(
  config: Config, beams: Sequence[str], named: Collection[str]
) -> tuple[Config, Dataset]:
  """Reads the dataset file of a job.

  Args:
    config: flags of `pipelines.build_histories`, with `dataset`.
    beams: Beam's own arguments.
    named: names of the flags in the command line.

  Returns:
    (the flags with those that the file decides, the dataset).

  Raises:
    JobError: the file is wrong, or a flag is given that the file decides.
  """
  dataset = read_dataset(config.dataset)
  decided = _decided(dataset)
  if both := sorted(decided.keys() & set(named)):
    raise JobError(
      f'--{both[0]}={getattr(config, both[0])} beside --dataset: expected this setting '
      f'in {config.dataset}'
    )
  places = [('ratings', source.files) for source in dataset.events]
  places += [('movies', dataset.items.files)] if dataset.items else []
  places += [
    ('ratings', each.files.files) for each in dataset.about_examples if each.files
  ]
  places += [('ratings', dataset.users.files)] if dataset.users else []
  for name, place in places:
    try:
      WORKERS.read(name, place, beams)
    except ValueError as error:
      raise JobError(f'{config.dataset}: {error}') from None
  return dataclasses.replace(config, **decided), dataset


def _decided(dataset: Dataset) -> dict:
  """Returns the flags of `pipelines.build_histories` that a dataset file decides."""
  history, split = dataset.history, dataset.split
  rule = dataset.lists.rule if dataset.lists else LabelRule()
  after = dataset.lists.after if dataset.lists else ''
  return {
    'ratings': dataset.events[0].files,  # one for all, where an engine must reach it
    'movies': dataset.items.files if dataset.items else '',
    'mapping': '',
    'tags': '',
    'descriptions': '',
    'no_genre': '|'.join(dataset.items.no_name if dataset.items else ()),
    'sampler': history.sampler,
    'embeddings_dir': '',
    'query': history.query,
    'max_history': history.most,
    'min_history': history.least,
    'seed': split.seed,
    'train_fraction': split.train,
    'validation_fraction': split.validation,
    'rating_scale': dataset.events[0].scale or NO_VALUES,
    'label_mode': 'future' if after else 'profile',
    'label_cutoff': after,
    'label_min_count': rule.min_count,
    'label_liked_above': rule.liked_above,
    'label_disliked_below': rule.disliked_below,
    'label_top': rule.top,
    'data_license': dataset.license,
  }
