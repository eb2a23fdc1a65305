"""Makes the examples of a question from the events of a shard's users."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.events.user_texts import UserColumns
from pipelines.examples.candidates import rank_drawn, unpack_candidates
from pipelines.examples.example_plan import (
  ANSWER_TEXT,
  CANDIDATES,
  ExamplePlan,
  ExampleSplit,
)
from pipelines.examples.example_rows import unpack_examples
from pipelines.histories import clean, history_records, tf_example
from pipelines.histories.example_histories import (
  ExampleHistories,
  find_histories,
  history_lengths,
)
from pipelines.histories.example_statistics import ExampleStatistics, count_examples
from pipelines.histories.held_out import (
  Asked,
  add_negatives,
  draw_negatives,
  find_held_out,
)
from pipelines.histories.history_settings import HistorySettings
from pipelines.histories.repeated_rows import as_before, repeated_ids
from pipelines.items.item_table import ItemLookup
from tasks import schema


class ShardExamples(NamedTuple):
  """Holds the examples of a shard.

  Attributes:
    records: name of a split -> [n] binary, serialized examples, by user, time and item.
    statistics: counts of the shard.
    held_out: [U] bool, whether a user has examples that are not for training.
  """

  records: dict[str, pa.Array]
  statistics: ExampleStatistics
  held_out: np.ndarray


class AskedRows(NamedTuple):
  """Holds n examples with what only files tell.

  Attributes:
    asked: the examples.
    ids: [n] strings, '' where the file names none.
    splits: [n] positions in schema.SPLITS, -1 where the file names none.
    fields: name in `ExamplePlan.row_columns` -> [n] strings.
    dropped: number of rows that each rule dropped.
  """

  asked: Asked
  ids: pa.Array
  splits: np.ndarray
  fields: dict[str, pa.Array]
  dropped: dict[str, int]

  @classmethod
  def of_events(cls, asked: Asked, dropped: dict[str, int]) -> 'AskedRows':
    """Returns examples that no files tell more of."""
    size = len(asked.user)
    return cls(asked, pa.array([''] * size), np.full(size, -1), {}, dropped)

  def take(self, rows: np.ndarray) -> 'AskedRows':
    """Returns some of the examples; `rows` is a mask."""
    mask = pa.array(rows)
    fields = {name: column.filter(mask) for name, column in self.fields.items()}
    kept = self.asked.take(rows), self.ids.filter(mask), self.splits[rows]
    return AskedRows(*kept, fields, self.dropped)


def read_asked(
  timeline: clean.Timeline, packed: Sequence[bytes], plan: ExamplePlan
) -> AskedRows:
  """Reads the examples of a shard, or chooses them among its events.

  Rows of files are dropped as 'duplicate' if they repeat another one, as 'repeated_id'
  if another row of the user has their id, and as 'user_without_events'; events as
  'unknown_answer' if their value names no option.

  Args:
    timeline: ratings of the shard.
    packed: packed rows of the examples' files.
    plan: plan of the question.
  """
  if not plan.from_files:
    asked, good = find_held_out(timeline, plan)
    dropped = {'unknown_answer': int(np.sum(~good))}
    return AskedRows.of_events(asked.take(good), dropped)
  table = unpack_examples(packed, plan.row_columns)
  user = pc.index_in(table['user'].combine_chunks(), value_set=timeline.ids)
  equal = [as_before(table[name].combine_chunks()) for name in table.column_names]
  again = np.logical_and.reduce(equal)
  repeated = repeated_ids(table) & ~again
  absent = np.asarray(user.is_null()) & ~again & ~repeated
  names = ('duplicate', 'repeated_id', 'user_without_events')
  dropped = dict(
    zip(names, (int(x.sum()) for x in (again, repeated, absent)), strict=True)
  )
  kept = table.filter(pa.array(~(again | repeated | absent)))
  user = np.asarray(pc.index_in(kept['user'].combine_chunks(), value_set=timeline.ids))
  column = lambda name: np.asarray(kept[name].combine_chunks()).astype(np.int64)
  own = np.zeros(len(user), bool)
  asked = Asked(
    user.astype(np.int64), column('item'), column('time'), column('answer'), own
  )
  fields = {name: kept[name].combine_chunks() for name in plan.row_columns}
  ids = kept['id'].combine_chunks()
  return AskedRows(asked, ids, column('split'), fields, dropped)


def make_examples(
  timeline: clean.Timeline,
  packed: Sequence[bytes],
  plan: ExamplePlan,
  split: ExampleSplit,
  users_split: str,
  items: ItemLookup,
  settings: HistorySettings,
  users: UserColumns | None = None,
) -> ShardExamples:
  """Makes the examples of a question.

  Examples are dropped as 'history_below_least' if their history is too short.

  Args:
    timeline: ratings of the shard.
    packed: packed rows of the examples' files; none if there are no files.
    plan: plan of the question.
    split: division of the examples.
    users_split: split of the shard's users.
    items: ids of the items, and facts about them.
    settings: settings of the histories.
    users: columns of users that prompts name; None for a plan without them.

  Raises:
    JobError: items are counted, and there are no counts.
  """
  rows = read_asked(timeline, packed, plan)
  asked, dropped, not_found = rows.asked, dict(rows.dropped), 0
  if plan.negatives:
    num_items, counts = len(items.ids), items.facts.counts
    more = timeline, plan, settings.seed, num_items, counts
    if plan.ranking:
      rows, not_found = _with_candidates(rows, *more)
    else:
      asked, not_found = add_negatives(asked, *more)
      rows = AskedRows.of_events(asked, dropped)
    asked, dropped = rows.asked, dict(rows.dropped)
  found = find_histories(timeline, asked, items.facts, settings)
  enough = found.totals >= settings.min_history
  dropped['history_below_least'] = int(np.sum(~enough))
  if not enough.all():
    rows, found = rows.take(enough), found.take(enough)
  place = schema.SPLITS.index(users_split)
  of_splits = {
    'user': lambda: np.full(len(rows.splits), place),
    'time': lambda: split.of_times(rows.asked.time),
    'column': lambda: rows.splits,
  }[split.by]()
  encoded = _encode(timeline, rows, found, plan, items.ids, users)
  records = {
    name: encoded.filter(pa.array(of_splits == number))
    for number, name in enumerate(schema.SPLITS)
  }
  about = timeline, rows.asked, found, of_splits, plan, dropped, not_found
  held_out = np.zeros(len(timeline.ids), bool)
  held_out[rows.asked.user[of_splits != schema.SPLITS.index('train')]] = True
  return ShardExamples(records, count_examples(*about), held_out)


def _with_candidates(rows: AskedRows, *of_draws) -> tuple[AskedRows, int]:
  """Adds drawn candidates to events, whose own items are the right ones.

  Args:
    rows: events that are examples.
    *of_draws: further arguments of `draw_negatives`.

  Returns:
    (examples without an item, number of items that could not be found). Those for which
    no item could be drawn are dropped as 'too_few_candidates'.
  """
  drawn = draw_negatives(rows.asked, *of_draws)
  packed, place = rank_drawn(rows.asked.item, drawn)
  nothing = np.full(len(place), -1)
  asked = rows.asked._replace(item=nothing, answer=place)
  enough = np.array([bool(items) for items in drawn], bool)
  dropped = rows.dropped | {'too_few_candidates': int(np.sum(~enough))}
  found = rows._replace(asked=asked, fields={CANDIDATES: packed}, dropped=dropped)
  each = of_draws[1].negatives.each
  return found.take(enough), sum(each - len(items) for items in drawn)


def _encode(
  timeline: clean.Timeline,
  rows: AskedRows,
  found: ExampleHistories,
  plan: ExamplePlan,
  item_ids: pa.Array,
  known: UserColumns | None,
) -> pa.Array:
  """Returns one serialized example per row, [n] binary."""
  asked, history = rows.asked, timeline.rows.take(found.rows)
  users = timeline.ids.take(pa.array(asked.user))
  own = rows.fields | {
    f'{schema.FIELD}{name}': known.of_users(users, name) for name in plan.user_fields
  }
  if CANDIDATES in own:
    candidates = unpack_candidates(own.pop(CANDIDATES))
    more = {'example_candidates': tf_example.packed_varints(*candidates)}
  else:
    more = {}
  size = len(asked.user)
  return history_records.encode_examples(
    {
      'example_id': tf_example.single_texts(name_examples(rows, users, item_ids)),
      'user_id': tf_example.single_texts(users),
      'example_time': _present(asked.time, asked.time != clean.EVER),
      'example_item': _present(asked.item, asked.item >= 0),
      'answer': _encode_answers(asked.answer, own.pop(ANSWER_TEXT, None), plan),
      **history_records.encode_interactions(history, found.splits),
      'history_total': tf_example.packed_varints(found.totals, np.arange(size + 1)),
      **more,
      **{name: tf_example.single_texts(texts) for name, texts in own.items()},
    },
    plan.record_kinds,
  )


def _encode_answers(
  chosen: np.ndarray, texts: pa.Array | None, plan: ExamplePlan
) -> pa.Array:
  """Encodes lists of one answer, or of none where there is none."""
  lists = tf_example.text_lists([[], *([option] for option in plan.options)])
  if texts is None:
    return lists.take(pa.array(chosen + 1))
  return pc.if_else(pc.equal(texts, ''), lists[0], tf_example.single_texts(texts))


def _present(values: np.ndarray, there: np.ndarray) -> pa.Array:
  """Encodes lists of one number, or of none where there is none."""
  splits = np.concatenate([[0], np.cumsum(there)])
  return tf_example.packed_varints(values[there], splits)


def name_examples(rows: AskedRows, users: pa.Array, item_ids: pa.Array) -> pa.Array:
  """Returns the ids of examples, [n] strings.

  An example without an id of its own is called after its user, item and time, as in
  'u7:i3:880606923'; a second one of the same name ends in '#2'.
  """
  asked = rows.asked
  item = pa.array(asked.item, mask=asked.item < 0)
  items = item_ids.take(item).cast(pa.string()).fill_null('')
  time = pa.array(asked.time, mask=asked.time == clean.EVER)
  times = time.cast(pa.string()).fill_null('')
  names = pc.binary_join_element_wise(users, items, times, ':')
  if len(names) and (again := as_before(names)).any():
    begin = np.flatnonzero(~again)
    turn = np.arange(len(names)) - begin[np.cumsum(~again) - 1] + 1
    texts = [f'#{x}' if x > 1 else '' for x in turn.tolist()]
    names = pc.binary_join_element_wise(names, pa.array(texts), '')
  return pc.if_else(pc.equal(rows.ids, ''), names, rows.ids)


def earliest_time(
  timeline: clean.Timeline,
  packed: Mapping[str, Sequence[bytes]],
  plans: Sequence[ExamplePlan],
  least: int = 1,
) -> int:
  """Returns the time of the earliest example of all questions; clean.EVER for none.

  Args:
    timeline: ratings of the shard.
    packed: question -> packed rows of its files.
    plans: plans of the questions.
    least: smallest number of interactions in a history; others are no examples.
  """
  earliest = clean.EVER
  for plan in plans:
    asked = read_asked(timeline, packed.get(plan.question, ()), plan).asked
    enough = history_lengths(timeline, asked) >= least
    earliest = min(earliest, int(asked.time[enough].min(initial=clean.EVER)))
  return earliest
