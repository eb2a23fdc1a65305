"""Holds the Beam steps that make and write the histories of a shard."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from pipelines.common import storage, tfrecord
from pipelines.common.threads import ThreadedDoFn
from pipelines.events import shuffle
from pipelines.events.rejects import RejectSummary
from pipelines.histories.history_settings import HistorySettings
from pipelines.histories.history_statistics import ShardStatistics
from pipelines.histories.make_histories import count_items, make_histories
from pipelines.items.item_facts import ItemFactsSource


class CountItems(ThreadedDoFn):
  """Maps (shard, packed rows) to `count_items`, for training shards only."""

  def __init__(self, num_items: int, num_train_shards: int, settings: HistorySettings):
    self._num_items, self._num_train_shards = num_items, num_train_shards
    self._settings = settings

  def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[np.ndarray]:
    """Skips the other splits: the model must know nothing of their users."""
    shard, packed = element
    if shard < self._num_train_shards:
      yield from super().process(list(packed))

  def work(self, packed: list[bytes]) -> list[np.ndarray]:
    """Counts the histories that each item is in."""
    return [count_items(shuffle.unpack(packed), self._num_items, self._settings)]


class ShardSummary(NamedTuple):
  """Describes a shard that was written: its name and its statistics."""

  name: str
  statistics: ShardStatistics


class WriteHistories(ThreadedDoFn):
  """Maps (shard, packed rows) to a ShardSummary, and writes the shard's file."""

  def __init__(
    self,
    output_dir: str,
    facts: ItemFactsSource,
    shard_names: Sequence[str],
    compression: str,
    settings: HistorySettings,
  ):
    self._output_dir, self._facts = output_dir, facts
    self._names, self._compression = shard_names, compression
    self._settings = settings

  def setup(self):
    """Loads the facts about the items."""
    super().setup()
    self._items = self._facts.load()

  def process(
    self,
    element: tuple[int, Iterable[bytes]],
    rejects: RejectSummary,
    counts: np.ndarray | None = None,
  ) -> Iterator[ShardSummary]:
    """Reads all rows of a shard before a thread works on them.

    Args:
      element: number of the shard and its packed rows.
      rejects: not read; too many rejects stop the job before this step begins.
      counts: [I] value of `ItemFacts.counts`, or None.
    """
    shard, packed = element
    yield from super().process((shard, list(packed), counts))

  def work(self, element: tuple[int, list[bytes], np.ndarray | None]) -> list:
    """Makes the histories of a shard and writes them."""
    shard, packed, counts = element
    # Without training users, the sum of the counts is the number 0, or 0 for each item.
    items = self._items._replace(counts=counts if np.any(counts) else None)
    records, statistics = make_histories(shuffle.unpack(packed), items, self._settings)
    name = self._names[shard]
    write_history_shard(self._output_dir, name, self._compression, records)
    return [ShardSummary(name, statistics)]


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
