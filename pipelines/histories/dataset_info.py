"""The last step of build_histories: dataset_info.json, and its counts as a sentence."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipelines.common import job, output_folder, storage
from pipelines.common.job import JobError
from pipelines.common.storage import read_parquet
from pipelines.events.rejects import RejectSummary
from pipelines.histories.history_shards import ShardSummary, write_history_shard
from pipelines.histories.history_statistics import summarize_statistics
from pipelines.histories.split import Split
from pipelines.items.item_table import load_items, with_num_ratings, write_items
from tasks import schema
from tasks.labels import LabelRule

FILE = 'dataset_info.json'
_LOGGER = logging.getLogger(__name__)


class HistoriesRun(NamedTuple):
  """What the last step must know of the run.

  Attributes:
    folder: the output folder.
    items_path: its item table.
    item_lines: rows of the movies files.
    item_texts: what became of the rows of other files about the items.
    split: how users are divided.
    compression: of the shards.
    rule: the label rule.
    detached: whether nobody waits for the job.
    data_license: of the ratings; '' if it is not stated.
  """

  folder: output_folder.OutputFolder
  items_path: str
  item_lines: int
  item_texts: Mapping[str, Mapping]
  split: Split
  compression: str
  rule: LabelRule
  detached: bool
  data_license: str = ''


def finish_histories(
  _, shards: Sequence[ShardSummary], rejects: RejectSummary, run: HistoriesRun
) -> None:
  """Writes shards without users, the item table's counts and the info file.

  Completes the folder if nobody waits for the job.

  Args:
    _: the element that calls it once.
    shards: all that were written.
    rejects: of the ratings.
    run: see there.
  """
  folder, split, items_path = run.folder, run.split, run.items_path
  for name in set(split.shard_names()) - {shard.name for shard in shards}:
    write_history_shard(folder.path, name, run.compression)
  # From the file: what is handed to a step goes through the engine's pickle.
  table, genres = read_parquet(items_path), load_items(items_path).facts.genre_names
  found = [shard.statistics for shard in shards]
  by_split = {name: [] for name in split.fractions}
  for shard in sorted(shards, key=lambda shard: shard.name):
    by_split[shard.name.split('-')[0]].append(shard.statistics)
  dropped, num_ratings = Counter(), np.zeros(table.num_rows, np.int64)
  for shard in found:
    dropped.update(shard.dropped)
    num_ratings += shard.num_ratings
  counts = {
    'rows_in': rejects.rows_in,
    'rows_kept': sum(shard.rows_kept for shard in found),
    'rows_rejected': sum(rejects.reasons.values()),
    'rows_rejected_by_reason': rejects.reasons,
    'rows_dropped': dict(dropped),
    'users': {name: sum(x.users for x in shards) for name, shards in by_split.items()},
    'items': table.num_rows,
    'item_rows_in': run.item_lines,
    'item_rows_rejected': run.item_lines - table.num_rows,
  }
  write_items(items_path, with_num_ratings(table, num_ratings))
  folder.write_json(
    FILE,
    {
      'schema': schema.HISTORY,
      'counts': counts,
      'item_texts': run.item_texts,
      'statistics': summarize_statistics(by_split, genres) if found else {},
      'genres': list(genres),
      'rating_values': sorted({x for shard in found for x in shard.rating_values}),
      'split_fractions': split.fractions,
      'label_rule': dataclasses.asdict(run.rule),
      **folder.settings,
      'data_license': run.data_license,
      'versions': job.versions(),
    },
  )
  if run.detached:
    check_counts(counts)
    folder.complete()


def state_license(folder: output_folder.OutputFolder, data_license: str) -> None:
  """Puts the data's licence into the info file of a finished folder.

  It decides nothing that is written, so it is no part of the fingerprint: stating it
  later makes neither the histories anew nor what was made of them.

  Args:
    folder: finished.
    data_license: '' leaves what is there.
  """
  info = storage.read_json(folder.file(FILE))
  before = info.get('data_license', '')
  if data_license in ('', before):
    return
  folder.write_json(FILE, {**info, 'data_license': data_license})
  _LOGGER.info(
    '%s: the licence of the data was %r and is %r now',
    folder.path,
    before,
    data_license,
  )


def check_counts(counts: Mapping) -> None:
  """Raises JobError if rows were lost or no user is left."""
  dropped = sum(counts['rows_dropped'].values())
  if counts['rows_in'] != counts['rows_kept'] + counts['rows_rejected'] + dropped:
    raise JobError(f'rows were lost, which is a bug: {counts}')
  if not sum(counts['users'].values()):
    raise JobError(
      f'no user is left ({describe_counts(counts)}); see rejects-*.jsonl and '
      '--min_history'
    )


def describe_counts(counts: Mapping) -> str:
  """The counts in one line."""
  users = ', '.join(f'{split} {number:,}' for split, number in counts['users'].items())
  dropped = sum(counts['rows_dropped'].values())
  reasons = counts['rows_rejected_by_reason'].items()
  why = ', '.join(f'{reason} {number:,}' for reason, number in reasons)
  return (
    f'users: {users}; rows: {counts["rows_in"]:,} read, {counts["rows_kept"]:,} kept, '
    f'{counts["rows_rejected"]:,} rejected{f" ({why})" if why else ""}, '
    f'{dropped:,} dropped; '
    f'items: {counts["items"]:,}'
  )


def describe_statistics(statistics: Mapping) -> str:
  """The statistics as a few lines."""
  lengths = [statistics['history_length'], statistics['sampled_length']]
  whole, sampled = (
    ', '.join(f'{name} {value:,.4g}' for name, value in found.items())
    for found in lengths
  )
  bound = ', '.join(
    f'{split} {scores["f1"]:.3f}'
    for split, scores in statistics['rule_on_sample'].items()
  )
  users = max(statistics['users'], 1)
  liked, disliked = statistics['users_who_like'], statistics['users_who_dislike']
  return (
    f'{len(liked)} genres: {_some(liked)}; a user likes '
    f'{sum(liked.values()) / users:.1f} and dislikes '
    f'{sum(disliked.values()) / users:.1f}\n'
    f'history length: {whole}\n'
    f'  after sampling: {sampled}\n'
    f'users with a label: {statistics["users_with_label"]:.1%}; '
    f'rated items: {statistics["items"]:,}\n'
    f'rule_on_sample F1, which bounds what the sample can tell: {bound}'
  )


def _some(names: Collection[str]) -> str:
  """The first few, in quotes: a wrong separator is seen."""
  return ', '.join([*map(repr, [*names][:4]), *['…'] * (len(names) > 4)])
