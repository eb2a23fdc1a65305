"""Finishes a folder of histories: writes dataset_info.json, checks the counts."""

import dataclasses
import itertools
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.common import job, output_folder, storage
from pipelines.common.job import JobError
from pipelines.events.rejects import RejectSummary
from pipelines.examples.example_plan import Examples
from pipelines.histories.example_counts import (
  check_example_counts,
  count_all_examples,
)
from pipelines.histories.example_statistics import (
  ExampleStatistics,
  summarize_all_examples,
)
from pipelines.histories.history_shards import (
  ShardSummary,
  question_folder,
  write_history_shard,
)
from pipelines.histories.history_statistics import (
  ShardStatistics,
  summarize_statistics,
)
from pipelines.histories.item_factors import factorize, with_factors
from pipelines.histories.split import Split
from pipelines.histories.value_sums import with_value_sums
from pipelines.items.item_table import load_items, with_num_ratings, write_items
from tasks import schema
from tasks.labels import LabelRule

FILE = 'dataset_info.json'
_LOGGER = logging.getLogger(__name__)


class HistoriesRun(NamedTuple):
  """Holds the facts about a run that the last step needs.

  Attributes:
    folder: the output folder.
    items_path: path of the item table in the folder.
    item_lines: number of rows in the movies files.
    item_texts: counts of the rows in the tags and descriptions files.
    item_values: counts of the years and genres that were missing.
    split: division of the users.
    compression: compression of the shards.
    rule: the label rule.
    detached: whether the job runs on after the launching process has ended.
    data_license: licence of the ratings; '' if not stated.
    examples: examples of the questions that are not about users.
    event_texts: number of distinct texts that events have beside their items.
  """

  folder: output_folder.OutputFolder
  items_path: str
  item_lines: int
  item_texts: Mapping[str, Mapping]
  item_values: Mapping[str, Any]
  split: Split
  compression: str
  rule: LabelRule
  detached: bool
  data_license: str = ''
  examples: Examples = Examples()
  event_texts: int = 0


def finish_histories(
  _, shards: Sequence[ShardSummary], rejects: RejectSummary, run: HistoriesRun
) -> None:
  """Writes shards without users, the item table's counts and the info file.

  Completes the folder if the job is detached.

  Args:
    _: element of a PCollection of one, so that the step runs once.
    shards: summaries of all shards that were written.
    rejects: summary of the rejected ratings.
    run: facts about the run.
  """
  folder, split, items_path = run.folder, run.split, run.items_path
  if folder.is_finished():
    return  # a worker was lost after its work; Beam repeats it
  for name in set(split.shard_names()) - {shard.name for shard in shards}:
    _write_empty(run, name)
  # Read from the file, not passed as an argument: Beam pickles the arguments of a step.
  table = storage.read_parquet(items_path)
  genres = load_items(items_path).facts.genre_names
  shards = sorted(shards, key=lambda shard: shard.name)
  in_split = lambda split: [x.statistics for x in shards if x.name.startswith(split)]
  by_split = {name: in_split(f'{name}-') for name in split.fractions}
  statistics = [shard.statistics for shard in shards]
  counts = _count_rows(by_split, rejects, run, table.num_rows)
  asked = _asked(run, shards)
  repeated = sum(shard.repeated_users for shard in shards)
  counts |= count_all_examples(asked, rejects.examples, repeated)
  write_items(items_path, _with_counts(table, shards))
  folder.write_json(
    FILE,
    {
      'schema': schema.HISTORY | (schema.HISTORY_TEXTS if run.event_texts else {}),
      'counts': counts,
      'item_texts': run.item_texts,
      'item_values': run.item_values,
      'statistics': _summarize(run, by_split, genres),
      **summarize_all_examples(asked),
      'genres': list(genres),
      'rating_values': sorted({x for shard in statistics for x in shard.rating_values}),
      'split_fractions': split.fractions,
      'label_rule': dataclasses.asdict(run.rule) if run.examples.users else None,
      **folder.settings,
      'data_license': run.data_license,
      'versions': job.versions(),
    },
  )
  if run.detached:
    check_counts(counts)
    folder.complete()


def _with_counts(table: pa.Table, shards: Sequence[ShardSummary]) -> pa.Table:
  """Returns the item table with numbers of ratings and what items are known by."""
  nobody = np.zeros(table.num_rows, np.int64)
  num_ratings = sum((shard.statistics.num_ratings for shard in shards), nobody)
  table = with_num_ratings(table, num_ratings)
  values = [shard.values for shard in shards if shard.values is not None]
  table = with_value_sums(table, sum(values)) if values else table
  items = [shard.items for shard in shards if shard.items is not None]
  return with_factors(table, factorize(items, table.num_rows)) if items else table


def _summarize(run, by_split, genres):
  """Returns the statistics of all shards; only users have labels."""
  labels = genres if run.examples.users else ()
  return summarize_statistics(by_split, labels) if any(by_split.values()) else {}


def _asked(
  run: HistoriesRun, shards: Sequence[ShardSummary]
) -> dict[str, list[ExampleStatistics]]:
  """Returns the statistics of each question's examples, by shard."""
  return {
    plan.question: [shard.examples[plan.question] for shard in shards]
    for plan in run.examples.plans
  }


def _write_empty(run: HistoriesRun, name: str) -> None:
  """Writes the files of a shard without users."""
  place = run.folder.place
  if run.examples.users:
    write_history_shard(place, name, run.compression)
  for plan in run.examples.plans:
    for file in run.examples.file_names(name).values():
      write_history_shard(question_folder(place, plan.question), file, run.compression)


def _count_rows(
  by_split: Mapping[str, Sequence[ShardStatistics]],
  rejects: RejectSummary,
  run: HistoriesRun,
  num_items: int,
) -> dict:
  """Returns the counts of rows, users and items, as JSON types."""
  dropped, rows_kept = Counter(), 0
  for shard in itertools.chain.from_iterable(by_split.values()):
    dropped.update(shard.dropped)
    rows_kept += shard.rows_kept
  return {
    'rows_in': rejects.rows_in,
    'rows_kept': rows_kept,
    'rows_rejected': sum(rejects.reasons.values()),
    'rows_rejected_by_reason': rejects.reasons,
    'rows_dropped': dict(dropped),
    'users': {name: sum(x.users for x in shards) for name, shards in by_split.items()},
    'items': num_items,
    'item_rows_in': run.item_lines,
    'item_rows_rejected': run.item_lines - num_items,
    **({'event_texts': run.event_texts} if run.event_texts else {}),
  }


def state_license(folder: output_folder.OutputFolder, data_license: str) -> None:
  """Sets the licence of the data in the info file of a finished folder.

  The licence is not part of the fingerprint: after a change, the histories and the
  results that were made from them stay valid.

  Args:
    folder: a finished folder.
    data_license: the licence; '' keeps the stated one.
  """
  info = storage.read_json(folder.file(FILE))
  before = info.get('data_license', '')
  if data_license in ('', before):
    return
  folder.write_json(FILE, {**info, 'data_license': data_license})
  _LOGGER.info(
    '%s: the licence of the data was %r and is now %r',
    folder.path,
    before,
    data_license,
  )


def check_counts(counts: Mapping) -> None:
  """Raises JobError if rows were lost or no users are left."""
  dropped = sum(counts['rows_dropped'].values())
  if counts['rows_in'] != counts['rows_kept'] + counts['rows_rejected'] + dropped:
    raise JobError(f'rows were lost, which is a bug: {counts}')
  check_example_counts(counts)
  if not sum(counts['users'].values()):
    raise JobError(
      f'no users are left ({describe_counts(counts)}); see rejects-*.jsonl and '
      '--min_history'
    )


def warn_of_gaps(info: Mapping) -> None:
  """Logs what an info file lacks: users in a split, or labels."""
  for split, share in info['split_fractions'].items():
    if share > 0 and not info['counts']['users'][split]:
      _LOGGER.warning(
        'no users in the split %s, which has a share of %g: expected more users or '
        'another --seed',
        split,
        share,
      )
  for question, counts in info['counts'].get('examples', {}).items():
    for split, number in counts.items():
      by_user = info['dataset']['example_split']['by'] == 'user'
      if not number and (info['split_fractions'][split] > 0 or not by_user):
        _LOGGER.warning(
          'question %s has no examples in the split %s: expected more of them, or '
          'another split in the dataset file',
          question,
          split,
        )
  if info['label_rule'] and not info['statistics']['users_with_label']:
    _LOGGER.warning(
      'no user has a label (%d genres): expected genres in the movies file, more '
      'ratings of a user than --label_min_count, and label thresholds on the scale of '
      'the ratings',
      len(info['genres']),
    )


def describe_counts(counts: Mapping) -> str:
  """Returns the counts in one line."""
  users = ', '.join(f'{split} {number:,}' for split, number in counts['users'].items())
  dropped = sum(counts['rows_dropped'].values())
  reasons = counts['rows_rejected_by_reason'].items()
  why = ', '.join(f'{reason} {number:,}' for reason, number in reasons)
  return (
    f'users: {users}; rows: {counts["rows_in"]:,} read, {counts["rows_kept"]:,} kept, '
    f'{counts["rows_rejected"]:,} rejected{f" ({why})" if why else ""}, '
    f'{dropped:,} dropped; '
    f'items: {counts["items"]:,}'
    + (f'; texts of events: {texts:,}' if (texts := counts.get('event_texts')) else '')
  )


def describe_statistics(statistics: Mapping) -> str:
  """Returns the statistics in a few lines."""
  lengths = [statistics['history_length'], statistics['sampled_length']]
  whole, sampled = (
    ', '.join(f'{name} {value:,.4g}' for name, value in quantiles.items())
    for quantiles in lengths
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
    f'rule_on_sample F1, a bound on answers from the sample: {bound}'
  )


def _some(names: Collection[str]) -> str:
  """Returns the first few names in quotes, which show a wrong separator."""
  return ', '.join([*map(repr, [*names][:4]), *['…'] * (len(names) > 4)])
