"""Reads, orders and packs the candidates of examples, which are rows of the item table.

Candidates stand in an order that follows from the items alone. So the place of the
right one tells nothing, also where a file always names it first.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.events import check, column_values
from pipelines.examples.answer_rule import NO_ANSWER
from pipelines.examples.example_plan import Ranking

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # Knuth, TAOCP 3, 6.4: scatters numbers


def order_candidates(items: np.ndarray, example: np.ndarray) -> np.ndarray:
  """Returns positions [n] that put the candidates of each example into their order.

  Args:
    items: [n] int64 row numbers of the item table.
    example: [n] int64 number of each candidate's example.
  """
  return np.lexsort((items.astype(np.uint64) * _GOLDEN, example))


def pack_candidates(items: np.ndarray, splits: np.ndarray) -> pa.Array:
  """Packs the candidates of m examples as texts, which rows in a shuffle can have.

  Args:
    items: [n] int64 row numbers of the item table.
    splits: [m + 1] int; example i has items[splits[i]:splits[i + 1]].

  Returns:
    [m] strings, such as '7 1204 33'.
  """
  texts = pa.array(items).cast(pa.string())
  lists = pa.ListArray.from_arrays(pa.array(splits, pa.int32()), texts)
  return pc.binary_join(lists, ' ')


def unpack_candidates(packed: pa.Array) -> tuple[np.ndarray, np.ndarray]:
  """Returns (items, splits) that `pack_candidates` packed."""
  items, splits = _cut(packed, ' ')
  return items.cast(pa.int64()).to_numpy(zero_copy_only=False), splits


def _cut(texts: pa.Array, separator: str) -> tuple[pa.Array, np.ndarray]:
  """Returns (parts, splits) of texts [m]; a text without a sign has no parts."""
  lists = pc.split_pattern(texts, separator)
  parts = lists.flatten()
  lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
  empty = pc.equal(texts, '').to_numpy(zero_copy_only=False)
  parts = parts.filter(pa.array(~np.repeat(empty, lengths)))
  lengths = np.where(empty, 0, lengths)
  return parts, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def read_candidates(
  texts: pa.Array,
  answers: pa.Array | None,
  ranking: Ranking,
  most: int,
  item_ids: pa.Array,
) -> tuple[pa.Array, np.ndarray, list[check.Check]]:
  """Reads the candidates in rows of files, and which of them is the answer.

  Args:
    texts: [m] candidates of each row.
    answers: [m] ids of the right candidates, perhaps empty; None without answers.
    ranking: how the files have candidates.
    most: largest number of candidates.
    item_ids: [I] ids of the items.

  Returns:
    (packed candidates [m], positions of the right ones [m] int32 or NO_ANSWER, checks).
  """
  size, texts = len(texts), column_values.known_texts(texts)
  ids, splits = _cut(texts, ranking.separator)
  found = pc.index_in(pc.utf8_trim_whitespace(ids), value_set=item_ids)
  items = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
  row = np.repeat(np.arange(size), np.diff(splits))
  in_row = lambda bad: np.bincount(row[bad], minlength=size) > 0
  order = np.lexsort((items, row))
  again = np.zeros(len(items), bool)
  again[1:] = (np.diff(items[order]) == 0) & (np.diff(row[order]) == 0)
  checks = [
    ('unknown_candidate', 'candidates', in_row(items < 0), 'ids of the items'),
    ('repeated_candidate', 'candidates', in_row(order[again]), 'different items'),
    ('too_few_candidates', 'candidates', np.diff(splits) < 2, 'two items or more'),
    ('too_many_candidates', 'candidates', np.diff(splits) > most, f'{most} or fewer'),
  ]
  items = items[order_candidates(items, row)]
  chosen = np.full(size, NO_ANSWER, np.int32)
  if answers is not None:
    answers = column_values.known_texts(answers)
    right = pc.index_in(answers, value_set=item_ids).fill_null(-2)
    place = np.flatnonzero(items == right.to_numpy(zero_copy_only=False)[row])
    chosen[row[place]] = place - splits[row[place]]
    known = pc.not_equal(answers, '').to_numpy(zero_copy_only=False)
    wrong = known & (chosen == NO_ANSWER)
    checks.append(('unknown_answer', 'answer', wrong, 'one of the candidates'))
  return pack_candidates(items, splits), chosen, checks


def rank_drawn(
  own: np.ndarray, drawn: Sequence[Sequence[int]]
) -> tuple[pa.Array, np.ndarray]:
  """Returns the candidates of events and of drawn items: packed, and the event's place.

  Args:
    own: [m] int64 items of the events.
    drawn: items that are drawn beside each.

  Returns:
    (packed candidates [m], positions of the events' items [m] int64).
  """
  items = [item for one, more in zip(own, drawn, strict=True) for item in (one, *more)]
  items = np.array(items, np.int64)
  splits = np.concatenate([[0], np.cumsum([1 + len(x) for x in drawn], dtype=np.int64)])
  row = np.repeat(np.arange(len(own)), np.diff(splits))
  order = order_candidates(items, row)
  first = np.isin(order, splits[:-1])  # events stand before what is drawn beside them
  return pack_candidates(items[order], splits), np.flatnonzero(first) - splits[:-1]
