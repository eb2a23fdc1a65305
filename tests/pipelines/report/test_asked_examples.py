"""Reading examples: all of them, what is no example, and candidates alone."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.common import tfrecord
from pipelines.common.job import JobError
from pipelines.histories import tf_example
from pipelines.report import asked_examples, asked_question, example_results
from tasks.answers.rank import Rank
from tests import choice_tables as choices

SPLITS = choices.draw()
RANK = Rank('next_v1', '\nNumber:', ('1', '2', '3'))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp('choice')
  choices.write_histories(path / 'histories', SPLITS)
  return path


@pytest.fixture(scope='module')
def question(folder):
  return asked_question.questions_of(f'{folder}/histories')[choices.NAME]


def test_examples_as_they_were_written(folder, question):
  read = asked_examples.read_asked_examples(f'{folder}/histories', question, 'test')
  assert len(read.samples.asked) == len(SPLITS['test'])
  for row, wanted in enumerate(SPLITS['test']):
    samples = read.samples
    assert samples.example_ids[row] == wanted['example_id']
    assert samples.user_ids[row] == wanted['user_id']
    assert samples.asked[row] == wanted['example_item'][0]
    option = samples.answers[row]
    known = [question.options[option]] if option >= 0 else []
    assert known == wanted['answer']
    np.testing.assert_array_equal(samples.items[row], wanted['history_items'])
    np.testing.assert_array_equal(samples.values[row], wanted['history_ratings'])
    assert read.totals[row] == wanted['history_total']
    assert read.fields[row] == {'weekday': wanted['field_weekday']}
  every = asked_examples.read_asked_examples(f'{folder}/histories', question, 'all')
  assert len(every.samples.asked) == sum(map(len, SPLITS.values()))


def test_records_that_are_no_examples_are_left_out(folder, question, tmp_path):
  histories = choices.write_histories(tmp_path / 'h', SPLITS)
  some = [dict(x) for x in SPLITS['test'][:3]]
  some[1]['example_item'] = [choices.ITEMS]
  path = histories / 'questions' / choices.NAME / 'test-00000-of-00001.tfrecord'
  choices.write_shard(path, some)
  path.write_bytes(
    path.read_bytes() + tfrecord.frame_records(pa.array([b'no record'], pa.binary()))
  )
  read = asked_examples.read_asked_examples(str(histories), question, 'test')
  assert read.samples.example_ids == [some[0]['example_id'], some[2]['example_id']]
  assert [x.split(' of ')[0] for x in read.left_out] == ['record 1', 'record 3']
  covered = example_results.cover_examples(read, 2)
  assert (covered.examples_in_split, covered.rejects) == (4, 2)
  with pytest.raises(JobError, match=r'2 of 4 examples have no prediction, such as'):
    example_results.cover_examples(read, 1)
  some[1] = {**some[0], 'answer': ['Perhaps']}
  choices.write_shard(path, some)
  with pytest.raises(JobError, match=r"'Perhaps' is none of the options \['Yes', 'No'"):
    asked_examples.read_asked_examples(str(histories), question, 'test')


def write_rankings(histories, *examples):
  """A folder with examples (user, candidates, answer) and five items."""
  shards = histories / 'questions' / RANK.name
  shards.mkdir(parents=True)
  pq.write_table(pa.table({'item_id': [*'abcde']}), histories / 'items.parquet')
  kinds, records = RANK.record_kinds, []
  for number, (user, candidates, answer) in enumerate(examples):
    values = {name: [] for name in kinds} | {
      'user_id': [user],
      'example_id': [f'x{number}'],
      'example_time': [number],
      'history_total': [2],
      'history_items': [0, 1],
      'history_ratings': [4.0, 2.5],
      'history_timestamps': [1, 0],
      'example_candidates': candidates,
      'answer': answer,
    }
    features = {name: (kind, values[name]) for name, kind in kinds.items()}
    records.append(tf_example.encode_example_features(features))
  shard = tfrecord.frame_records(pa.array(records, pa.binary()))
  (shards / 'train-00000-of-00001.tfrecord').write_bytes(shard)
  return str(histories)


def test_candidates_without_their_histories(tmp_path):
  rows = ('u', [4, 2, 0], ['2']), ('v', [3, 1], []), ('u', [9, 1], ['1'])
  histories = write_rankings(tmp_path, *rows)
  found = [*asked_examples.read_asked_candidates(histories, RANK, 'train')]
  assert [x.name for x in found] == [('u', 'x0'), ('v', 'x1')]  # there is no item 9
  assert [x.items.tolist() for x in found] == [[4, 2, 0], [3, 1]]
  assert [x.answer for x in found] == [1, -1]
  every = asked_examples.read_asked_examples(histories, RANK, 'train')
  assert every.samples.names == [x.name for x in found]
  assert every.samples.answers.tolist() == [x.answer for x in found]
  assert [*map(list, every.candidates)] == [x.items.tolist() for x in found]
  assert [*asked_examples.read_asked_candidates(histories, RANK, 'test')] == []


def test_an_answer_that_is_no_candidate(tmp_path):
  histories = write_rankings(tmp_path, ('u', [4, 2, 0], ['7']))
  with pytest.raises(JobError, match=r"the answer '7' is none of the options"):
    [*asked_examples.read_asked_candidates(histories, RANK, 'train')]
