"""Holds the Beam steps that make and write the histories and examples of a shard.

An element is (number of the shard, {EVENTS: packed ratings, question: packed rows of
the examples' files}).
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from pipelines.common import storage, tfrecord
from pipelines.common.threads import ThreadedDoFn
from pipelines.events import shuffle
from pipelines.events.rejects import RejectSummary
from pipelines.events.user_texts import UserTexts
from pipelines.examples.example_plan import USERS, Examples
from pipelines.histories import clean, make_examples
from pipelines.histories.example_statistics import ExampleStatistics
from pipelines.histories.history_settings import HistorySettings
from pipelines.histories.history_statistics import ShardStatistics
from pipelines.histories.item_factors import MOST_USERS, UserItems, collect_items
from pipelines.histories.make_histories import (
  count_items,
  count_users,
  make_histories,
)
from pipelines.histories.user_files import read_user_columns
from pipelines.histories.value_sums import sum_values, training_rows
from pipelines.items.item_facts import ItemFactsSource
from tasks.user_folds import folds_of

EVENTS = ''  # key of the ratings, beside the names of questions
_Packed = Mapping[str, Iterable[bytes]]


def _listed(packed: _Packed) -> dict[str, list[bytes]]:
  """Reads all rows of a shard before a thread works on them."""
  return {name: list(rows) for name, rows in packed.items()}


class FindEarliest(ThreadedDoFn):
  """Maps a shard to the time of its earliest example; clean.EVER for none."""

  def __init__(self, examples: Examples, settings: HistorySettings):
    self._examples, self._settings = examples, settings

  def process(self, element: tuple[int, _Packed]) -> Iterator[int]:
    """Reads a shard."""
    yield from super().process(_listed(element[1]))

  def work(self, packed: dict[str, list[bytes]]) -> list[int]:
    """Finds the examples, and the first of them."""
    ratings = shuffle.unpack(packed[EVENTS])
    timeline = clean.read_timeline(ratings, self._settings.ranks)
    least = self._settings.min_history
    plans = self._examples.plans
    return [make_examples.earliest_time(timeline, packed, plans, least)]


class CountItems(ThreadedDoFn):
  """Maps a shard to `count_items`, for training shards only."""

  def __init__(self, num_items: int, num_train_shards: int, settings: HistorySettings):
    self._num_items, self._num_train_shards = num_items, num_train_shards
    self._settings = settings

  def process(
    self, element: tuple[int, _Packed], before: int = clean.EVER
  ) -> Iterator[np.ndarray]:
    """Skips the other splits: the model must know nothing of their users.

    Args:
      element: number of the shard and its packed rows.
      before: time of the earliest example: later events are not counted.
    """
    shard, packed = element
    if shard < self._num_train_shards:
      yield from super().process((list(packed[EVENTS]), before))

  def work(self, element: tuple[list[bytes], int]) -> list[np.ndarray]:
    """Counts the histories that each item is in."""
    packed, before = element
    ratings = shuffle.unpack(packed)
    return [count_items(ratings, self._num_items, self._settings, before)]


class ShardSummary(NamedTuple):
  """Describes a shard that was written.

  Attributes:
    name: its name.
    statistics: counts of its users.
    examples: question -> counts of its examples.
    repeated_users: number of rows of users' files that repeat a user.
    values: `sum_values` of the shard; None if no examples are asked about.
    items: items of its training users; None like `values`.
  """

  name: str
  statistics: ShardStatistics
  examples: Mapping[str, ExampleStatistics] = {}
  repeated_users: int = 0
  values: np.ndarray | None = None
  items: UserItems | None = None


class WriteHistories(ThreadedDoFn):
  """Maps a shard to a ShardSummary, and writes its files."""

  def __init__(
    self,
    output_dir: str,
    facts: ItemFactsSource,
    shard_names: Sequence[str],
    compression: str,
    settings: HistorySettings,
    examples: Examples = Examples(),  # noqa: B008  immutable
    load_texts: Callable[[], UserTexts | None] = lambda: None,
  ):
    self._load_texts = load_texts
    self._output_dir, self._facts = output_dir, facts
    self._names, self._compression = shard_names, compression
    self._settings, self._examples = settings, examples

  def setup(self):
    """Loads the facts about the items, and the ids of texts that name users."""
    super().setup()
    self._texts = self._load_texts()
    self._items = self._facts.load_lookup()

  def process(
    self,
    element: tuple[int, _Packed],
    rejects: RejectSummary,
    counts: np.ndarray | None = None,
  ) -> Iterator[ShardSummary]:
    """Writes a shard.

    Args:
      element: number of the shard and its packed rows.
      rejects: not read; too many rejects stop the job before this step begins.
      counts: [I] value of `ItemFacts.counts`, or None.
    """
    shard, packed = element
    yield from super().process((shard, _listed(packed), counts))

  def work(
    self, element: tuple[int, dict[str, list[bytes]], np.ndarray | None]
  ) -> list:
    """Makes the histories and examples of a shard and writes them."""
    shard, packed, counts = element
    # Without training users, the sum of the counts is the number 0, or 0 for each item.
    facts = self._items.facts._replace(counts=counts if np.any(counts) else None)
    ratings, name = shuffle.unpack(packed[EVENTS]), self._names[shard]
    users = read_user_columns(packed.get(USERS, ()), self._examples.user_fields)
    if self._texts:
      ratings = self._texts.find(ratings, users)
    if self._examples.users:
      records, statistics = make_histories(ratings, facts, self._settings)
      write_history_shard(self._output_dir, name, self._compression, records)
    else:
      statistics = count_users(ratings, facts, self._settings)
    items = self._items._replace(facts=facts)
    if not self._examples.plans:
      return [ShardSummary(name, statistics, {}, users.repeated)]
    timeline = clean.read_timeline(ratings, self._settings.ranks)
    asked, *told = self._ask(name, timeline, packed, items, users)
    # Examples may have seen values that were given again later.
    values = np.unique(timeline.rows.rating).tolist()
    statistics = dataclasses.replace(statistics, rating_values=values)
    return [ShardSummary(name, statistics, asked, users.repeated, *told)]

  def _ask(
    self, name, timeline, packed, items, users
  ) -> tuple[dict[str, ExampleStatistics], np.ndarray, UserItems]:
    """Writes the examples of a shard, of each question; returns what it tells."""
    split, statistics = self._examples.split, {}
    held_out = np.full(len(timeline.ids), not name.startswith('train-'))
    for plan in self._examples.plans:
      rows = packed.get(plan.question, [])
      of_shard = timeline, rows, plan, split, name.split('-')[0]
      made = make_examples.make_examples(*of_shard, items, self._settings, users)
      folder = question_folder(self._output_dir, plan.question)
      for of_split, file in self._examples.file_names(name).items():
        records = made.records[of_split]
        write_history_shard(folder, file, self._compression, records)
      statistics[plan.question] = made.statistics
      held_out |= made.held_out
    rows = training_rows(timeline, held_out, split)
    folds = folds_of(timeline.ids.to_pylist())
    owned = collect_items(rows, folds, max(1, MOST_USERS // len(self._names)))
    return statistics, sum_values(rows, folds, len(items.ids)), owned


def question_folder(output_dir: str, question: str) -> str:
  """Returns the folder of a question's examples."""
  return FileSystems.join(output_dir, 'questions', question)


def write_history_shard(
  output_dir: str, name: str, compression: str, records: pa.Array | None = None
) -> None:
  """Writes the file of a shard; None as `records` writes a shard without users."""
  suffix = '.tfrecord.gz' if compression else '.tfrecord'
  records = pa.array([], pa.binary()) if records is None else records
  storage.write_file(
    FileSystems.join(output_dir, name + suffix),
    tfrecord.frame_records(records, compression),
  )
