"""Candidates of examples: what is read of files, against plain Python."""

import numpy as np
import pyarrow as pa

from pipelines.examples import candidates
from pipelines.examples.answer_rule import NO_ANSWER
from pipelines.examples.example_plan import Ranking

IDS = pa.array([f'i{number}' for number in range(40)])


def read(*rows, answers=None, most=4, separator='|'):
  """(items of each row, positions of the right ones, reason -> rows that fail it)."""
  answers = None if answers is None else pa.array(answers)
  how = Ranking(separator, 'chosen'), most, IDS
  packed, chosen, checks = candidates.read_candidates(pa.array(rows), answers, *how)
  items, splits = candidates.unpack_candidates(packed)
  each = [x.tolist() for x in np.split(items, splits[1:-1])]
  return each, chosen.tolist(), {x[0]: np.flatnonzero(x[2]).tolist() for x in checks}


def test_candidates_are_read_and_the_right_one_found():
  rng = np.random.default_rng(0)
  drawn = [rng.permutation(40)[: rng.integers(2, 5)].tolist() for _ in range(50)]
  right = [int(rng.choice(items)) for items in drawn]
  rows = [' | '.join(f'i{x}' for x in items) for items in drawn]
  found, chosen, wrong = read(*rows, answers=[f' i{x}' for x in right])
  assert [sorted(x) for x in found] == [sorted(x) for x in drawn]
  assert [items[at] for items, at in zip(found, chosen, strict=True)] == right
  assert not any(wrong.values())


def test_their_order_does_not_tell_which_was_named_first():
  found = read('i3|i9|i7', 'i9|i7|i3', 'i7|i3|i9', answers=['i3', 'i9', 'i7'])
  assert found[0][0] == found[0][1] == found[0][2]
  rng = np.random.default_rng(0)
  rows = [[f'i{x}' for x in rng.permutation(40)[:4]] for _ in range(2_000)]
  _, chosen, _ = read(*('|'.join(x) for x in rows), answers=[x[0] for x in rows])
  assert (np.bincount(chosen, minlength=4) > 400).all()


def test_bad_rows_have_a_reason():
  rows = ['i1|i2', 'i1|x', 'i1|i1', 'i1', '', 'i1|i2|i3|i4|i5', 'i1|i2', 'i1|i2']
  _, chosen, wrong = read(*rows, answers=['i2', 'i1', 'i1', 'i1', '', 'i1', 'i3', ''])
  assert wrong['unknown_candidate'] == [1]
  assert wrong['repeated_candidate'] == [2]
  assert wrong['too_few_candidates'] == [3, 4]
  assert wrong['too_many_candidates'] == [5]
  assert wrong['unknown_answer'] == [6]
  assert chosen[7] == NO_ANSWER, 'without an answer it is only predicted'


def test_no_rows_no_answers_and_another_separator():
  assert read()[1:] == ([], {name: [] for name in read()[2]})
  found, chosen, wrong = read('i1;i2', separator=';')
  assert (sorted(found[0]), chosen) == ([1, 2], [NO_ANSWER])
  assert 'unknown_answer' not in wrong
  for empty in ([], ['i4', None]):
    candidates.read_candidates(pa.array(empty, pa.string()), None, Ranking(), 4, IDS)


def test_drawn_items_beside_events():
  own, drawn = np.array([5, 6, 7]), [[1, 2], [], [3]]
  packed, place = candidates.rank_drawn(own, drawn)
  items, splits = candidates.unpack_candidates(packed)
  assert items[splits[:-1] + place].tolist() == own.tolist()
  each = [sorted(x.tolist()) for x in np.split(items, splits[1:-1])]
  assert each == [[1, 2, 5], [6], [3, 7]]
