"""Checks rows of examples' files: columns of good rows, a reason for every bad row."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.events import check, column_values, file_blocks, text_rows
from pipelines.events.formats import Layout
from pipelines.examples.answer_rule import NO_ANSWER
from pipelines.examples.candidates import read_candidates
from pipelines.examples.example_plan import ANSWER_TEXT, CANDIDATES, ExamplePlan
from pipelines.examples.example_rows import rows_schema
from tasks import schema

# Name of a column here -> its name in formats of kind 'examples'.
FIELDS = {'user': 'user', 'item': 'item', 'time': 'timestamp', 'id': 'id'}
FIELDS |= {'answer': 'answer', 'split': 'split', CANDIDATES: CANDIDATES}
OWN = 'own:'  # before the name of a column that only the prompt names
_NEVER = np.iinfo(np.int64).max


class ExampleRows(NamedTuple):
  """Holds the good and the bad rows of a piece of a block.

  Attributes:
    batch: good rows, with the schema `rows_schema`.
    num_lines: number of lines of the piece, good and bad.
    num_bad: number of bad lines.
    bad: lazy iterator over these lines.
  """

  batch: pa.RecordBatch
  num_lines: int
  num_bad: int
  bad: Iterator[check.BadRow]


def read_examples(
  block: file_blocks.FileBlock, item_ids: pa.Array, plan: ExamplePlan
) -> Iterator[ExampleRows]:
  """Reads and checks a block, piece by piece.

  Args:
    block: block of an examples' file.
    item_ids: ids [I] of the item table.
    plan: plan of the question.

  Raises:
    JobError: the file cannot be read to its end.
  """
  for rows in file_blocks.read_block(block):
    yield check_example_rows(rows, block.layout, item_ids, plan)


def check_example_rows(
  found: text_rows.ParsedRows, layout: Layout, item_ids: pa.Array, plan: ExamplePlan
) -> ExampleRows:
  """Checks rows; the first check that a row fails gives its reason.

  Args:
    found: the rows.
    layout: layout of their file.
    item_ids: ids [I] of the item table.
    plan: plan of the question.
  """
  columns, checks = _read_columns(found, layout.format.time_unit, item_ids, plan)
  failed = np.full(len(found.lines), -1)
  for number, (_, _, wrong, _) in enumerate(checks):
    failed[wrong & (failed < 0)] = number
  keep = pa.array(failed < 0)
  of = rows_schema(plan.row_columns)
  kept = [columns[name].cast(of.field(name).type).filter(keep) for name in of.names]
  batch = pa.record_batch(kept, schema=of)
  num_bad = found.num_lines - batch.num_rows
  bad = check.bad_rows(found, layout, checks, failed)
  return ExampleRows(batch, found.num_lines, num_bad, bad)


def _read_columns(
  found, unit: str, item_ids: pa.Array, plan: ExamplePlan
) -> tuple[Mapping[str, pa.Array], list[check.Check]]:
  """Returns the columns by the names of `rows_schema`, and their checks in order."""
  texts, size = found.columns, len(found.lines)
  columns = {
    'user': texts['user'].cast(pa.string()),
    'item': pa.array(np.full(size, -1, np.int32)),
    'time': pa.array(np.full(size, _NEVER)),
    'answer': pa.array(np.full(size, NO_ANSWER, np.int32)),
    'id': _text(texts['id']) if 'id' in texts else pa.array([''] * size),
    'split': pa.array(np.full(size, -1, np.int8)),
  }
  checks = [
    ('empty_field', field, check.is_empty(texts[field]), 'a value')
    for field in ('user', 'item', 'timestamp', 'id')
    if field in texts
  ]
  if 'timestamp' in texts:
    time, is_time = column_values.seconds(texts['timestamp'], unit)
    checks += check.time_checks(time, is_time, unit)
    wrong = np.logical_or.reduce([bad for _, _, bad, _ in checks])
    columns['time'] = pa.array(np.where(wrong, 0, time).astype(np.int64))
  if 'item' in texts:
    index = pc.index_in(texts['item'].cast(pa.string()), value_set=item_ids)
    unknown = index.is_null().to_numpy(zero_copy_only=False)
    checks.append(('unknown_item', 'item', unknown, 'an id of the items'))
    columns['item'] = index
  answers, more = _read_answers(texts, item_ids, plan)
  columns |= answers
  checks += more
  if 'split' in texts:
    place = pc.index_in(_text(texts['split']), value_set=pa.array(schema.SPLITS))
    wrong = place.is_null().to_numpy(zero_copy_only=False)
    checks.append(('unknown_split', 'split', wrong, f'one of {list(schema.SPLITS)}'))
    columns['split'] = place
  for name in plan.fields:
    columns[f'{schema.FIELD}{name}'] = _text(texts[f'{OWN}{name}'])
  return columns, checks


def _read_answers(
  texts: Mapping[str, pa.Array], item_ids: pa.Array, plan: ExamplePlan
) -> tuple[dict[str, pa.Array], list[check.Check]]:
  """Returns the columns that tell the answers, and their checks."""
  if plan.ranking:
    own = texts[CANDIDATES], texts.get('answer'), plan.ranking
    packed, chosen, checks = read_candidates(*own, len(plan.options), item_ids)
    return {CANDIDATES: packed, 'answer': pa.array(chosen)}, checks
  if plan.answer:
    chosen, good = plan.answer.choose(texts['answer'])
    wrong = ('unknown_answer', 'answer', ~good, plan.answer.expected)
    return {'answer': pa.array(chosen)}, [wrong]
  return (_free_words(texts['answer']) if plan.text_answer else {}), []


def _free_words(column: pa.Array) -> dict[str, pa.Array]:
  """Returns the columns of answers in free words, which may be 'None' or '-'."""
  words = pc.utf8_trim_whitespace(column.cast(pa.string()).fill_null(''))
  empty = pc.equal(words, '').to_numpy(zero_copy_only=False)
  chosen = pa.array(np.where(empty, NO_ANSWER, 0).astype(np.int32))
  return {'answer': chosen, ANSWER_TEXT: words}


def _text(column: pa.Array) -> pa.Array:
  """Returns a column as texts without outer spaces, '' for missing values."""
  return column_values.known_texts(column)
