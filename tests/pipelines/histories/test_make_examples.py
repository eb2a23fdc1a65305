"""Examples: their histories against plain Python, and nothing of them from later."""

import itertools
import zlib
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from pipelines.events import shuffle
from pipelines.examples.answer_rule import AnswerRule
from pipelines.examples.example_plan import (
  ExamplePlan,
  ExampleSplit,
  Negatives,
  Ranking,
)
from pipelines.examples.example_rows import pack_examples, rows_schema
from pipelines.histories import clean, history_records
from pipelines.histories.history_settings import HistorySettings
from pipelines.histories.make_examples import earliest_time, make_examples
from pipelines.histories.make_histories import count_items
from pipelines.histories.samplers import SAMPLERS
from pipelines.items.item_table import ItemFacts, ItemLookup
from tasks import schema
from tasks.labels import LabelRule
from tests.pipelines.histories.test_make_histories import table

NUM_ITEMS, MOST = 12, 4
OPTIONS = ('Yes', 'No')
IDS = pa.array([f'i{number}' for number in range(NUM_ITEMS)])
VALUE = AnswerRule.parse('value > 3', OPTIONS, {})
LAST = ExamplePlan('q_v1', VALUE, OPTIONS, last=2)
FILES = ExamplePlan('q_v1', VALUE, OPTIONS, from_files=True)


def settings(sampler='recency', **others):
  return HistorySettings(sampler, MOST, 1, 0, LabelRule(), **others)


def items(counts=None) -> ItemLookup:
  """Items with genres, vectors and relevances, drawn once."""
  rng = np.random.default_rng(5)
  genres = sparse.csr_array((rng.random((NUM_ITEMS, 3)) < 0.4).astype(float))
  vectors = rng.normal(size=(NUM_ITEMS, 4)).astype(np.float32)
  facts = ItemFacts(('A', 'B', 'C'), genres, counts, vectors, rng.random(NUM_ITEMS))
  return ItemLookup(IDS, facts)


def draw_rows(seed, users=3, each=14):
  """Ratings with repeated items and many in the same second."""
  rng = np.random.default_rng(seed)
  return sorted(
    {
      (f'u{user}', int(rng.integers(NUM_ITEMS)), float(rng.integers(1, 6)), int(time))
      for user in range(users)
      for time in rng.integers(100, 112, each)
    }
  )


def packed(*rows, own=()):
  """Rows (user, item, time, answer, id, split, *own) of examples' files."""
  columns = zip(*rows, strict=True)
  arrays = [
    pa.array(column, field.type)
    for column, field in zip(columns, rows_schema(own), strict=True)
  ]
  return [pack_examples(pa.record_batch(arrays, schema=rows_schema(own)))]


def ask(user, item, time, answer=0, name='', split=-1):
  return user, item, time, answer, name, split


def make(rows, plan=LAST, asked=(), how=None, counts=None, split=None):
  """The decoded examples of rows, by id, and the statistics."""
  how = how or settings()
  timeline = clean.read_timeline(table(*rows), how.ranks)
  of_split = split or ExampleSplit()
  made = make_examples(timeline, asked, plan, of_split, 'train', items(counts), how)
  kinds = plan.record_kinds
  found = {
    name: [history_records.decode_example(x, kinds) for x in records.to_pylist()]
    for name, records in made.records.items()
  }
  every = itertools.chain.from_iterable(found.values())
  return {example['example_id']: example for example in every}, made.statistics, found


def history_before(rows, user, time):
  """(item, rating, time), newest first: plain Python."""
  newest = {}
  for name, item, rating, when in rows:
    if name == user and when < time:
      newest[item] = max(newest.get(item, (0, 0)), (when, rating))
  order = sorted(newest.items(), key=lambda x: (-x[1][0], x[0]))
  return [(item, rating, when) for item, (when, rating) in order]


def shown(example):
  columns = (
    example[f'history_{x}'].tolist() for x in ('items', 'ratings', 'timestamps')
  )
  return [*zip(*columns, strict=True)]


@pytest.mark.parametrize('seed', range(5))
def test_a_history_is_what_was_before(seed):
  rows = draw_rows(seed)
  asked = [ask(f'u{x % 3}', x % NUM_ITEMS, 99 + x % 15) for x in range(60)]
  found, statistics, _ = make(rows, FILES, packed(*asked))
  expected = {}
  for user, item, time, *_ in asked:
    if history := history_before(rows, user, time):
      expected[f'{user}:i{item}:{time}'] = history
  assert found.keys() == expected.keys()
  for name, example in found.items():
    assert shown(example) == expected[name][:MOST]
    assert example['history_total'] == len(expected[name])
  asked_at = [
    (example['user_id'], example['example_time'][0]) for example in found.values()
  ]
  same_second = [sum((x[0], x[3]) == one for x in rows) for one in asked_at]
  assert statistics.events_left_out == sum(same_second)
  assert statistics.ties == sum(map(bool, same_second))
  assert statistics.dropped['history_below_least'] == len({*asked}) - len(found)


@pytest.mark.parametrize('seed', range(3))
def test_the_last_events_are_examples(seed):
  rows = draw_rows(seed)
  found, *_ = make(rows)
  expected = {}
  for user in {row[0] for row in rows}:
    for item, rating, when in history_before(rows, user, 1_000)[:2]:
      expected[f'{user}:i{item}:{when}'] = rating
  assert {x for x in expected if found.get(x)} == found.keys()
  for name, example in found.items():
    assert example['answer'] == ['Yes' if expected[name] > 3 else 'No']
    assert (
      shown(example)
      == history_before(rows, example['user_id'], example['example_time'][0])[:MOST]
    )


def _changed(rows, time):
  """Rows whose part from a time on is deleted, changed, or has more."""
  before = [row for row in rows if row[3] < time]
  later = [row for row in rows if row[3] >= time]
  yield before
  yield before + [(user, item, 6 - rating, when) for user, item, rating, when in later]
  yield before + [(user, item, rating, when + 7) for user, item, rating, when in later]
  more = [
    (f'u{user}', item, 1.0, when)
    for user in range(3)
    for item in range(NUM_ITEMS)
    for when in (time, time + 1, time + 50)
  ]
  yield rows + more


def _with_texts(rows):
  """Rows with texts of their own, which follow from all that they are."""
  return [(*row, zlib.crc32(repr(row).encode()) % 1_000) for row in rows]


def _records(rows, asked, sampler, plan=FILES):
  """The bytes of each example, by id; items are counted as the job counts them."""
  how = settings(sampler)
  found, counts = {}, None
  read = table(*rows)
  timeline = clean.read_timeline(read)
  if SAMPLERS[sampler].needs == 'counts':
    first = earliest_time(timeline, {plan.question: asked}, [plan])
    counts = count_items(read, NUM_ITEMS, how, first)
  how = asked, plan, ExampleSplit(), 'train', items(counts), how
  for data in make_examples(timeline, *how).records['train'].to_pylist():
    found[history_records.decode_example(data, schema.EXAMPLE)['example_id']] = data
  return found


@pytest.mark.parametrize('add', [list, _with_texts], ids=['plain', 'with texts'])
@pytest.mark.parametrize('sampler', SAMPLERS)
def test_nothing_from_later_is_in_a_record(sampler, add):
  """Every event from an example's time on is changed, deleted, and others are added."""
  rows, checked = draw_rows(7, each=20), 0
  asked = packed(*(ask(f'u{x % 3}', x % NUM_ITEMS, 104 + x) for x in range(8)))
  whole = _records(add(rows), asked, sampler)
  assert len(whole) == 8
  for name, record in whole.items():
    for other in _changed(rows, int(name.split(':')[2])):
      assert _records(add(other), asked, sampler)[name] == record
      checked += 1
  assert checked == 8 * 4
  changed = (_records(add(x), asked, sampler) for x in _changed(rows, 104))
  assert any(records != whole for records in changed)


def test_a_history_has_the_texts_of_its_events():
  rows = _with_texts(draw_rows(4))
  found, *_ = make(rows, FILES, packed(ask('u0', 1, 108), ask('u1', 2, 111)))
  assert len(found) == 2
  texts = {row[:4]: row[4] for row in rows}
  for example in found.values():
    user = example['user_id']
    expected = [
      texts[user, item, rating, when] for item, rating, when in shown(example)
    ]
    assert example['history_texts'].tolist() == expected


def test_ranks_stand_for_times():
  """Only the order counts; rows that come later change nothing of earlier ones."""
  numbers = [5, 70, 71, 900, 901, 1_500]
  rows = [('u0', item, 4.0, number) for item, number in enumerate(numbers)]
  found, *_ = make(rows, how=settings(ranks=True))
  assert found.keys() == {'u0:i4:4', 'u0:i5:5'}
  assert shown(found['u0:i4:4']) == [(x, 4.0, x) for x in (3, 2, 1, 0)]
  again = [*rows, ('u0', 1, 2.0, 9_000)]
  later, *_ = make(again, how=settings(ranks=True))
  assert shown(later['u0:i5:5']) == [(x, 4.0, x) for x in (4, 3, 2, 1)]
  assert shown(later['u0:i1:6']) == [(5, 4.0, 5), (4, 4.0, 4), (3, 4.0, 3), (2, 4.0, 2)]


@pytest.mark.parametrize('by', ['uniform', 'popularity'])
def test_drawn_items_are_of_no_event(by):
  plan = ExamplePlan('q_v1', None, OPTIONS, last=2, negatives=Negatives(3, by))
  rows = draw_rows(3, each=6)
  counts = np.arange(NUM_ITEMS) if by == 'popularity' else None
  found, statistics, _ = make(rows, plan, counts=counts)
  events = {(user, item, when) for user, item, _, when in rows}
  known = {(user, item) for user, item, *_ in rows}
  drawn = 0
  for example in found.values():
    user, item = example['user_id'], int(example['example_item'][0])
    positive = (user, item, int(example['example_time'][0])) in events
    assert example['answer'] == ['Yes' if positive else 'No']
    assert positive or (user, item) not in known
    assert by == 'uniform' or positive or counts[item]
    drawn += not positive
  assert drawn == 3 * (len(found) - drawn) - statistics.not_found
  assert statistics.not_found == 0
  again, *_ = make(rows[::-1], plan, counts=counts)
  assert again.keys() == found.keys()


def test_drawn_items_follow_the_counts():
  """Over many users, against the shares."""
  rows = [(f'u{user}', 0, 4.0, when) for user in range(400) for when in (1,)]
  rows += [(f'u{user}', 1, 4.0, 2) for user in range(400)]
  counts = np.array([0, 0, 6, 3, 1, *[0] * (NUM_ITEMS - 5)])
  plan = ExamplePlan(
    'q_v1', None, OPTIONS, last=1, negatives=Negatives(1, 'popularity')
  )
  found, *_ = make(rows, plan, counts=counts)
  drawn = [int(x['example_item'][0]) for x in found.values() if x['answer'] == ['No']]
  shares = np.bincount(drawn, minlength=NUM_ITEMS) / len(drawn)
  np.testing.assert_allclose(shares, counts / 10, atol=0.08)
  plan = ExamplePlan('q_v1', None, OPTIONS, last=1, negatives=Negatives(1))
  drawn = [int(x['example_item'][0]) for x in make(rows, plan)[0].values()]
  assert {*drawn} == {*range(1, NUM_ITEMS)}


def test_who_knows_all_items_gets_no_other():
  rows = [('u0', item, 4.0, 100 + item) for item in range(NUM_ITEMS)]
  plan = ExamplePlan('q_v1', None, OPTIONS, last=1, negatives=Negatives(2))
  found, statistics, _ = make(rows, plan)
  assert len(found) == 1
  assert statistics.not_found == 2


def test_ids_and_repeated_rows():
  rows = draw_rows(1)
  asked = [
    ask('u0', 1, 111),
    ask('u0', 1, 111),  # the same row
    ask('u0', 1, 111, 1),  # another answer
    ask('u0', 2, 111, 0, 'mine'),
    ask('u0', 3, 111, 0, 'mine'),  # the id of another row
    ask('u9', 3, 111),
    ask('u1', -1, clean.EVER, -1),  # no item, no time, no answer
  ]
  found, statistics, _ = make(rows, FILES, packed(*asked))
  assert found.keys() == {'u0:i1:111', 'u0:i1:111#2', 'mine', 'u1::'}
  assert {x: n for x, n in statistics.dropped.items() if n} == {
    'duplicate': 1,
    'repeated_id': 1,
    'user_without_events': 1,
  }
  last = found['u1::']
  assert (*last['example_item'], *last['example_time'], *last['answer']) == ()
  assert shown(last) == history_before(rows, 'u1', clean.EVER)[:MOST]
  assert statistics.answers['train'] == {'Yes': 2, 'No': 1, '': 1}


def test_splits_by_time_and_by_column():
  rows = draw_rows(2)
  asked = packed(*(ask('u0', 1, 105 + x, split=x % 3) for x in range(6)))
  by_time = ExampleSplit('time', (107, 109))
  *_, found = make(rows, FILES, asked, split=by_time)
  times = {split: [int(x['example_time'][0]) for x in found[split]] for split in found}
  assert times == {'train': [105, 106], 'validation': [107, 108], 'test': [109, 110]}
  *_, found = make(rows, FILES, asked, split=ExampleSplit('column'))
  assert [int(x['example_time'][0]) for x in found['validation']] == [106, 109]


def test_fields_are_features():
  plan = ExamplePlan('q_v1', None, OPTIONS, ('why',), from_files=True)
  row = (*ask('u0', 1, 111, -1), 'für 5 €')
  found, *_ = make(draw_rows(1), plan, packed(row, own=('field_why',)))
  assert found['u0:i1:111']['field_why'] == ['für 5 €']


def test_answers_in_free_words():
  plan = ExamplePlan('q_v1', None, ('text',), from_files=True, text_answer='name')
  rows = (*ask('u0', 1, 111, 0), 'für 5 €, gern'), (*ask('u0', 2, 111, -1), '')
  found, statistics, _ = make(draw_rows(1), plan, packed(*rows, own=('answer_text',)))
  assert found['u0:i1:111']['answer'] == ['für 5 €, gern']
  assert found['u0:i2:111']['answer'] == []
  assert sum((Counter(x) for x in statistics.answers.values()), Counter()) == {
    'text': 1,
    '': 1,
  }


def test_nobody_and_nothing():
  found, statistics, _ = make([])
  assert not found
  assert statistics.users == statistics.longest == 0
  assert not make([], FILES, packed(ask('u0', 1, 5)))[0]
  assert clean.read_timeline(
    pa.Table.from_batches([], shuffle.RATINGS).combine_chunks()
  )


RANKED = ExamplePlan(
  *('q_v1', None, ('1', '2', '3', '4')),
  last=2,
  negatives=Negatives(3),
  ranking=Ranking(),
)


def test_candidates_are_the_event_and_what_its_user_never_had():
  rows = draw_rows(3)
  found, statistics, _ = make(rows, RANKED)
  newest = {}
  for user, item, _, time in rows:
    of_user = newest.setdefault(user, {})
    of_user[item] = max(time, of_user.get(item, 0))
  events = {
    (user, time, item)
    for user, of_user in newest.items()
    for item, time in sorted(of_user.items(), key=lambda x: (-x[1], x[0]))[:2]
  }
  seen = set()
  for example in found.values():
    user, items = example['user_id'], example['example_candidates'].tolist()
    (answer,), (time,) = example['answer'], example['example_time'].tolist()
    right = items[int(answer) - 1]
    assert not len(example['example_item']), 'it would tell the answer'
    seen.add((user, time, right))
    assert len({*items}) == len(items)
    assert {*items} & {*newest[user]} == {right}
    assert shown(example) == history_before(rows, user, time)[:MOST]
  assert seen == events
  assert statistics.not_found + sum(
    len(x['example_candidates']) for x in found.values()
  ) == 4 * len(found)


def test_an_event_beside_which_nothing_can_be_drawn_is_dropped():
  rows = [('u0', item, 4.0, 100 + item) for item in range(NUM_ITEMS)]
  found, statistics, _ = make(rows, RANKED)
  assert not found
  assert statistics.dropped['too_few_candidates'] == 2
  assert statistics.not_found == 6
