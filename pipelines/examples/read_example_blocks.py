"""Defines the Beam step that reads blocks of the examples' files."""

from collections.abc import Callable

import apache_beam as beam
import pyarrow as pa

from pipelines.common.threads import ThreadedDoFn
from pipelines.events import shuffle
from pipelines.events.file_blocks import FileBlock
from pipelines.events.rejects import BlockRejects, pack_bad
from pipelines.examples.check_examples import read_examples
from pipelines.examples.example_plan import ExamplePlan
from pipelines.examples.example_rows import partition_examples


class ReadExampleBlock(ThreadedDoFn):
  """Reads a block into (shard, packed rows); BlockRejects are a side output."""

  REJECTS = 'rejects'

  def __init__(
    self, load_ids: Callable[[], pa.Array], plan: ExamplePlan, split: shuffle.Shards
  ):
    """Sets the parameters.

    Args:
      load_ids: function that reads the item ids [I]; each worker calls it.
      plan: plan of the question.
      split: division of users into shards.
    """
    self._load_ids, self._plan, self._split = load_ids, plan, split

  def setup(self):
    """Reads the item ids."""
    super().setup()
    self._item_ids = self._load_ids()

  def work(self, block: FileBlock) -> list:
    """Reads, checks and partitions a block, piece by piece."""
    outputs, header_lines = [], block.layout.header_lines
    pieces = read_examples(block, self._item_ids, self._plan)
    for number, found in enumerate(pieces, block.number):
      about = block.file, number, block.path, header_lines
      counts = found.num_lines, found.num_bad
      bad = pack_bad(sorted(found.bad))
      others = bad, None, 0, self._plan.question
      rejects = BlockRejects(*about, *counts, *others)
      outputs.append(beam.pvalue.TaggedOutput(self.REJECTS, rejects))
      outputs += partition_examples(found.batch, self._split)
    return outputs
