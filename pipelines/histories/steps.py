"""The Beam steps of build_histories: set-up and files around the pure functions."""

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from pipelines.common import output_folder, tfrecord
from pipelines.common.job import JobError, reject
from pipelines.common.threads import ThreadedDoFn
from pipelines.events import shuffle
from pipelines.events.check import BadRow, RatingScale, read_ratings
from pipelines.events.input_files import FileBlock
from pipelines.histories.history_statistics import ShardStatistics
from pipelines.histories.make_histories import (
  HistorySettings,
  count_items,
  make_histories,
)
from pipelines.histories.split import Split
from pipelines.items.catalogue import load_items
from pipelines.items.item_facts import ItemFactsSource


class BlockRejects(NamedTuple):
  """What a piece of a block holds beside ratings.

  Attributes:
    file: number of the file among the inputs.
    number: orders the pieces of the file.
    path: the file.
    header_lines: of the file.
    num_lines: all lines of the piece.
    num_bad: its lines that are no rating.
    bad: these as `pack_bad` gives them; a file may hold millions.
  """

  file: int
  number: int
  path: str
  header_lines: int
  num_lines: int
  num_bad: int
  bad: bytes


def pack_bad(rows: Sequence[BadRow]) -> bytes:
  """Rows as compressed JSON."""
  return zlib.compress(json.dumps(rows).encode(), level=1) if rows else b''


def unpack_bad(data: bytes) -> list[BadRow]:
  """The inverse of `pack_bad`."""
  return [BadRow(*row) for row in json.loads(zlib.decompress(data))] if data else []


class ReadBlock(ThreadedDoFn):
  """Block -> (shard, packed rows), and a BlockRejects a piece on the side."""

  REJECTS = 'rejects'

  def __init__(self, items_path: str, scale: RatingScale, split: Split):
    self._items_path, self._scale, self._split = items_path, scale, split

  def setup(self):
    """Reads the item ids."""
    super().setup()
    self._item_ids = load_items(self._items_path).ids

  def work(self, block: FileBlock) -> list:
    """Reads, checks and divides, one piece after the other."""
    outputs, header_lines = [], block.layout.header_lines
    pieces = read_ratings(block, self._item_ids, self._scale)
    for number, ratings in enumerate(pieces, block.number):
      bad = pack_bad(sorted(ratings.bad))
      counts = ratings.num_lines, ratings.num_bad
      rejects = BlockRejects(block.file, number, block.path, header_lines, *counts, bad)
      outputs.append(beam.pvalue.TaggedOutput(self.REJECTS, rejects))
      outputs += shuffle.partition(ratings.batch, self._split)
    return outputs


class RejectSummary(NamedTuple):
  """Rows of all ratings files, and how many of them are rejects for which reason."""

  rows_in: int
  reasons: Mapping[str, int]


class WriteRejects(beam.DoFn):
  """Rejects of items and of all blocks -> one file, in the order of the inputs.

  A block knows its own lines only; here they get their numbers in the file.
  """

  def __init__(self, output_dir: str, max_fraction: float):
    self._path = FileSystems.join(output_dir, 'rejects-00000-of-00001.jsonl')
    self._max_fraction = max_fraction

  def process(self, items: list[dict], blocks: Sequence[BlockRejects]) -> Iterator:
    """Writes the file.

    Raises:
      JobError: too many rows are rejects.
    """
    lines, before, reasons = [_line(record) for record in items], {}, Counter()
    for block in sorted(blocks, key=lambda block: block[:2]):
      first = before.get(block.file, block.header_lines) + 1
      before[block.file] = first - 1 + block.num_lines
      for bad in unpack_bad(block.bad):
        fields = bad._asdict()
        line, reason = first + fields.pop('line'), fields.pop('reason')
        reasons[reason] += 1
        lines.append(
          _line(reject('read_ratings', reason, file=block.path, line=line, **fields))
        )
    output_folder.write_file(self._path, b''.join(lines))
    rows_in, rejected = sum(block.num_lines for block in blocks), reasons.total()
    if rejected > self._max_fraction * rows_in:
      counts = ', '.join(f'{reason} {n:,}' for reason, n in reasons.most_common())
      raise JobError(
        f'{rejected:,} of {rows_in:,} rows are rejects ({counts}), more than '
        f'--max_reject_fraction={self._max_fraction:g}; they are in {self._path}'
      )
    yield RejectSummary(rows_in, dict(reasons.most_common()))


def _line(record):
  return json.dumps(record, ensure_ascii=False).encode() + b'\n'


class CountItems(ThreadedDoFn):
  """(shard, packed rows) -> `histories.count_items`, of training shards only."""

  def __init__(self, num_items: int, num_train_shards: int, settings: HistorySettings):
    self._num_items, self._num_train_shards = num_items, num_train_shards
    self._settings = settings

  def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[np.ndarray]:
    """Leaves other splits out, whose users a model must not know of."""
    shard, packed = element
    if shard < self._num_train_shards:
      yield from super().process(list(packed))

  def work(self, packed: list[bytes]) -> list[np.ndarray]:
    """Counts."""
    return [count_items(shuffle.unpack(packed), self._num_items, self._settings)]


class ShardSummary(NamedTuple):
  """What was written."""

  name: str
  statistics: ShardStatistics


class WriteHistories(ThreadedDoFn):
  """(shard, packed rows) -> its file and a ShardSummary."""

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
    """Reads what is known of the items."""
    super().setup()
    self._items = self._facts.load()

  def process(
    self,
    element: tuple[int, Iterable[bytes]],
    rejects: RejectSummary,
    counts: np.ndarray | None = None,
  ) -> Iterator[ShardSummary]:
    """Fetches the rows before a thread works on them.

    Args:
      element: a shard.
      rejects: only waited for: too many of them stop the job before it writes.
      counts: [I], for `ItemFacts.counts`.
    """
    shard, packed = element
    yield from super().process((shard, list(packed), counts))

  def work(self, element: tuple[int, list[bytes], np.ndarray | None]) -> list:
    """Makes the histories and writes them."""
    shard, packed, counts = element
    items = self._items._replace(counts=counts)
    records, found = make_histories(shuffle.unpack(packed), items, self._settings)
    name = self._names[shard]
    write_history_shard(self._output_dir, name, self._compression, records)
    return [ShardSummary(name, found)]


def write_history_shard(
  output_dir: str, name: str, compression: str, records: pa.Array | None = None
) -> None:
  """Writes a shard's file; without records, for shards that no user fell into."""
  suffix = '.tfrecord.gz' if compression else '.tfrecord'
  records = pa.array([], pa.binary()) if records is None else records
  output_folder.write_file(
    FileSystems.join(output_dir, name + suffix),
    tfrecord.frame_records(records, compression),
  )
