"""Makes examples of users' own events, and of items that a user had no event with."""

import itertools
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.common.job import JobError
from pipelines.examples.example_plan import ExamplePlan
from pipelines.histories import clean
from pipelines.histories.hashing import hash_ids, mix

_DRAWING = 0x3C  # makes the seeds of drawn items independent of other hashes
_ROUNDS = 50  # of draws for one event, where a user knows nearly all items


class Asked(NamedTuple):
  """Holds n examples, sorted by user and time.

  Attributes:
    user: [n] int64 positions in the user ids of the shard's timeline.
    item: [n] int64 row numbers in the item table; -1 for none.
    time: [n] int64; clean.EVER for none.
    answer: [n] int64 positions in the options; -1 for none.
    own: [n] bool, whether an event of the user at this time made the example.
  """

  user: np.ndarray
  item: np.ndarray
  time: np.ndarray
  answer: np.ndarray
  own: np.ndarray

  def take(self, rows: np.ndarray) -> 'Asked':
    """Returns some of the examples; `rows` holds positions or is a mask."""
    return Asked(*(column[rows] for column in self))


def find_held_out(
  timeline: clean.Timeline, plan: ExamplePlan
) -> tuple[Asked, np.ndarray]:
  """Returns the events of users that are examples of a question.

  Of several events with an item, the newest one can be an example. Of events in the
  same second, those of lower items count as newer.

  Args:
    timeline: ratings of a shard.
    plan: plan of a question that is not asked by files.

  Returns:
    (the events, [n] bool whether the value of each names an option).
  """
  newest = np.flatnonzero(timeline.until == clean.EVER)
  rows = timeline.rows.take(newest)
  starts = clean.user_starts(rows.user, len(timeline.ids))
  if plan.after is None:
    chosen = np.arange(len(rows.user)) - starts[rows.user] < plan.last
  else:
    chosen = rows.timestamp >= plan.after
  rows = rows.take(chosen)
  answer, good = np.zeros(len(rows.user), np.int64), np.ones(len(rows.user), bool)
  if plan.answer:
    answer, good = plan.answer.choose(pa.array(_as_written(rows.rating), pa.string()))
  own = np.ones(len(answer), bool)
  asked = Asked(rows.user, rows.item, rows.timestamp, answer.astype(np.int64), own)
  order = sort_asked(asked)
  return asked.take(order), good[order]


def _as_written(values: np.ndarray) -> list[str]:
  """Returns values as a file has them: 3.3, not 3.29999995 of four bytes, nor 4.0."""
  distinct, place = np.unique(values, return_inverse=True)
  texts = [np.format_float_positional(value, trim='-') for value in distinct]
  return [texts[each] for each in place.tolist()]


def sort_asked(asked: Asked) -> np.ndarray:
  """Returns the order of examples by user, time and item, [n] positions."""
  return np.lexsort((asked.item, asked.time, asked.user))


def add_negatives(
  asked: Asked,
  timeline: clean.Timeline,
  plan: ExamplePlan,
  seed: int,
  num_items: int,
  counts: np.ndarray | None,
) -> tuple[Asked, int]:
  """Adds examples with drawn items, which have the second option.

  Args:
    asked: events that are examples.
    timeline: ratings of the shard.
    plan: plan of the question.
    seed: seed of the draws.
    num_items: I.
    counts: [I] number of events with each item, for draws by popularity.

  Returns:
    (events and drawn examples, number of items that could not be found).

  Raises:
    JobError: items are drawn by popularity, and no event is counted.
  """
  drawn = draw_negatives(asked, timeline, plan, seed, num_items, counts)
  lengths = [len(items) for items in drawn]
  size = sum(lengths)
  more = Asked(
    np.repeat(asked.user, lengths),
    np.fromiter(itertools.chain(*drawn), np.int64, size),
    np.repeat(asked.time, lengths),
    np.ones(size, np.int64),
    np.ones(size, bool),
  )
  found = Asked(*map(np.concatenate, zip(asked, more, strict=True)))
  missing = plan.negatives.each * len(drawn) - size
  return found.take(sort_asked(found)), missing


def draw_negatives(
  asked: Asked,
  timeline: clean.Timeline,
  plan: ExamplePlan,
  seed: int,
  num_items: int,
  counts: np.ndarray | None,
) -> list[list[int]]:
  """Draws items that the user of each event had no event with.

  The draws for an event follow from the seed, the user, the time and the item alone. A
  user's own items are skipped, whenever the event with them was.

  Args:
    asked: events that are examples.
    timeline: ratings of the shard.
    plan: plan of the question.
    seed: seed of the draws.
    num_items: I.
    counts: [I] number of events with each item, for draws by popularity.

  Raises:
    JobError: items are drawn by popularity, and no event is counted.
  """
  each = plan.negatives.each
  weights = None
  if plan.negatives.by == 'popularity':
    if counts is None:
      raise JobError(
        f'question {plan.question}: negatives by popularity count events before the '
        'first example, and there are none: use by: uniform, or holdout: after'
      )
    weights = np.cumsum(counts) / np.sum(counts)
  seeds = hash_ids(timeline.ids, seed ^ _DRAWING)[asked.user]
  seeds = mix(seeds + asked.time.astype(np.uint64))
  seeds = mix(seeds ^ asked.item.astype(np.uint64))
  starts = clean.user_starts(timeline.rows.user, len(timeline.ids))
  known = lambda user: timeline.rows.item[starts[user] : starts[user + 1]]
  return [
    _draw_items(own_seed, each, known(user), num_items, weights)
    for user, own_seed in zip(asked.user.tolist(), seeds.tolist(), strict=True)
  ]


def _draw_items(seed, each, known, num_items, weights) -> list[int]:
  """Draws different items that are not among the known ones."""
  drawn: list[int] = []
  taken = set(known.tolist())
  steps = np.arange(1, 2 * each + 9, dtype=np.uint64)
  for turn in range(_ROUNDS):
    golden = np.uint64(0x9E3779B97F4A7C15)
    numbers = mix(np.uint64(seed) + (steps + np.uint64(turn * len(steps))) * golden)
    uniform = (numbers >> np.uint64(11)) * 2.0**-53
    if weights is None:
      found = (uniform * num_items).astype(np.int64)
    else:
      found = np.searchsorted(weights, uniform, 'right')
    for item in np.minimum(found, num_items - 1).tolist():
      if item not in taken:
        taken.add(item)
        drawn.append(item)
        if len(drawn) == each:
          return drawn
  return drawn
