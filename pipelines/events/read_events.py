"""Defines the Beam step that reads blocks of the ratings files."""

from collections.abc import Callable

import apache_beam as beam
import pyarrow as pa

from pipelines.common.threads import ThreadedDoFn
from pipelines.events import shuffle
from pipelines.events.check import KnownTexts, read_ratings
from pipelines.events.file_blocks import FileBlock
from pipelines.events.rating_scale import RatingScale
from pipelines.events.rejects import BlockRejects, pack_bad


class ReadBlock(ThreadedDoFn):
  """Reads a block into (shard, packed rows); BlockRejects are a side output."""

  REJECTS = 'rejects'

  def __init__(
    self,
    load_ids: Callable[[], pa.Array],
    scale: RatingScale,
    split: shuffle.Shards,
    load_texts: Callable[[], KnownTexts | None] = lambda: None,
  ):
    """Sets the parameters.

    Args:
      load_ids: function that reads the item ids [I]; each worker calls it.
      scale: scale of the valid ratings.
      split: division of users into shards.
      load_texts: function that reads the texts of events beside their items.
    """
    self._load_ids, self._scale, self._split = load_ids, scale, split
    self._load_texts = load_texts

  def setup(self):
    """Reads the item ids and the texts of events."""
    super().setup()
    self._item_ids, self._texts = self._load_ids(), self._load_texts()

  def work(self, block: FileBlock) -> list:
    """Reads, checks and partitions a block, piece by piece."""
    outputs, header_lines = [], block.layout.header_lines
    known = self._item_ids, self._scale, self._texts
    pieces = read_ratings(block, *known)
    for number, ratings in enumerate(pieces, block.number):
      bad = pack_bad(sorted(ratings.bad))
      counts = ratings.num_lines, ratings.num_bad
      about = block.file, number, block.path, header_lines
      others = bad, ratings.seen, ratings.item_lines
      rejects = BlockRejects(*about, *counts, *others)
      outputs.append(beam.pvalue.TaggedOutput(self.REJECTS, rejects))
      outputs += shuffle.partition(ratings.batch, self._split)
    return outputs
