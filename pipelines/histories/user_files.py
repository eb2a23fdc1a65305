"""Reads the columns of users that prompts and texts name."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from pipelines.events.file_blocks import FileBlock
from pipelines.events.user_texts import UserColumns
from pipelines.examples.check_examples import read_examples
from pipelines.examples.example_plan import USERS, Examples
from pipelines.examples.example_rows import pack_examples, unpack_examples
from pipelines.histories.repeated_rows import as_before
from tasks import schema


def read_user_columns(packed: Sequence[bytes], fields: Sequence[str]) -> UserColumns:
  """Reads the rows of users' files; of several rows of a user, the first sorted one.

  Args:
    packed: packed rows.
    fields: names of the columns.
  """
  table = unpack_examples(packed, [f'{schema.FIELD}{name}' for name in fields])
  repeated = as_before(table['user'].combine_chunks())
  kept = table.filter(pa.array(~repeated))
  column = lambda name: kept[f'{schema.FIELD}{name}'].combine_chunks()
  ids = kept['user'].combine_chunks()
  return UserColumns(ids, {name: column(name) for name in fields}, int(repeated.sum()))


def read_user_blocks(
  blocks: Iterable[FileBlock], ids: pa.Array, examples: Examples
) -> UserColumns:
  """Reads blocks of users' files in this process.

  Args:
    blocks: the blocks.
    ids: ids [I] of the items.
    examples: examples of the data set, which know the columns.
  """
  plans = (plan for plan in examples.of_files if plan.question == USERS)
  packed = [
    pack_examples(piece.batch)
    for plan in plans
    for block in blocks
    for piece in read_examples(block, ids, plan)
  ]
  return read_user_columns(packed, examples.user_fields)
