"""One user at a time: the rows of the table, other items, other words, refusals."""

import functools
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from persoma_tf.inference.decoding_settings import Decoding
from pipelines import ask, batch_predict
from pipelines.common.job import JobError
from pipelines.predictions import prediction_files
from pipelines.predictions.asker import Asker
from tests import choices

FLOAT32 = Decoding(weights='float32')
_load = functools.cache(Asker)


@pytest.fixture
def folders(choice_model, choice_folder):
  """Folders of the model, histories and embeddings."""
  return (choice_model, *(choice_folder[0] / x for x in ('histories', 'embeddings')))


@pytest.fixture
def asker(folders):
  """One for all tests: it needs no settings of gin once it is loaded."""
  return _load(*folders, FLOAT32)


@pytest.fixture
def flags(folders):
  names = ('model_dir', 'histories_dir', 'embeddings_dir')
  return [f'--{x}={y}' for x, y in zip(names, folders, strict=True)]


@pytest.fixture
def examples(choice_folder):
  """The examples of one test user, the oldest first."""
  asked = choice_folder[1]['test']
  own = [x for x in asked if x['user_id'] == asked[-1]['user_id']]
  return sorted(own, key=lambda x: x['example_time'])


def same(row, other):
  """Tells whether rows are equal but for the order of sums in batches."""
  for name in row:
    if isinstance(row[name], float) or name.endswith('probabilities'):
      np.testing.assert_allclose(row[name], other[name], atol=1e-2)
    else:
      assert row[name] == other[name], name
  return True


def test_the_answer_is_the_row_of_the_table(asker, flags, examples, tmp_path):
  more = ['--format=json', '--batch_size=4', '--weights=float32']
  batch_predict.run([*flags, f'--output_dir={tmp_path}/out', '--soft_prompts', *more])
  table = prediction_files.read_predictions(f'{tmp_path}/out', 'json')
  rows = {row['example_id']: row for row in table}
  files = (tmp_path / 'out').glob('soft_prompts-*')
  soft = [row for file in files for row in pq.read_table(file).to_pylist()]
  soft = {row['example_id']: row['soft_prompt'] for row in soft}
  assert len(examples) > 1
  for example in examples:
    name = example['example_id']
    reply = asker.ask(example['user_id'], example=name)
    assert same(reply.row, rows[name])
    assert reply.split == 'test'
    assert reply.known == {'answer': example['answer']}
    np.testing.assert_allclose(reply.soft_prompt.ravel(), soft[name], atol=1e-3)
  newest = asker.ask(examples[0]['user_id'], choices.NAME)
  assert newest.row['example_id'] == examples[-1]['example_id']


def test_any_item_can_be_asked_about(asker, folders, examples):
  items = pq.read_table(folders[1] / 'items.parquet')
  user, odds = examples[0]['user_id'], set()
  for row in range(6):
    reply = asker.ask(user, item=items['item_id'][row].as_py())
    assert reply.row['item_id'] == items['item_id'][row].as_py()
    assert items['title'][row].as_py() in reply.prompt
    assert reply.row['history_length'] == min(12, len(examples[-1]['history_items']))
    assert reply.known == {'answer': []}
    odds.add(reply.row['draft_probabilities'][0])
  assert len(odds) == 6
  own = items['item_id'][examples[0]['example_item'][0]].as_py()
  one = asker.ask(user, example=examples[0]['example_id'])
  other = asker.ask(user, example=examples[0]['example_id'], item=own)
  assert same({**other.row, 'example_id': one.row['example_id']}, one.row)


def test_other_words(asker, examples):
  user = examples[0]['user_id']
  own = asker.ask(user)
  same_words = asker.ask(user, prompt=choices.WORDS['prompt'].strip())
  assert same_words.prompt == own.prompt
  assert same(same_words.row, own.row)
  reply = asker.ask(user, prompt='{title} for them? [{asked_because}|No reason.] Say:')
  because = examples[-1]['field_asked_because']
  assert reply.prompt.endswith(f' for them? {(*because, "No reason.")[0]} Say:')
  assert reply.prompt.startswith('\n'), 'the white space of the own prompt'
  assert reply.row['answer'] in ('Yes', 'No')
  assert reply.row['draft_probabilities'] == own.row['draft_probabilities']
  assert reply.row['decoder_probabilities'] != own.row['decoder_probabilities']


@pytest.mark.parametrize(
  ('asked', 'reason'),
  [
    ({'question': 'stars_v1'}, f'answers question {choices.NAME}, not stars_v1: expec'),
    ({'user': 'nobody'}, "no example of question .* of user 'nobody': expected"),
    ({'example': 'none'}, r"no example 'none' .*: expected one of \['reader-"),
    ({'item': 'none'}, r"items.parquet has no item 'none': expected .*, such as \w+"),
    ({'prompt': 'For {autor}?'}, r"names autor, but .* only \[.*'author'.*\] of an it"),
    ({'prompt': 'For {title?'}, r"prompt='For \{title\?': .* expected a column and }"),
  ],
)
def test_what_cannot_be_asked_says_what_would_be_right(asker, examples, asked, reason):
  with pytest.raises(JobError, match=reason):
    asker.ask(**{'user': examples[0]['user_id'], **asked})


def test_the_command(asker, flags, examples, capsys):
  user, named = examples[0]['user_id'], f'--example={examples[0]["example_id"]}'
  flags = [*flags, f'--user={user}', named, '--weights=float32']
  ask.run([*flags, '--json', f'--question={choices.NAME}', '--shown=2'])
  told = json.loads(capsys.readouterr().out)
  reply = asker.ask(user, example=examples[0]['example_id'], shown=2)
  assert same(told.pop('row'), reply.row)
  np.testing.assert_allclose(told.pop('soft_prompt'), reply.soft_prompt, atol=1e-4)
  assert told.pop('seconds') > 0
  assert told.pop('options') == ['Yes', 'No'] == list(reply.options)
  assert len(told['history']) == 2
  expected = reply._asdict()
  assert told == {name: expected[name] for name in told}


def test_a_reply_can_be_read(asker, examples):
  reply = asker.ask(examples[-1]['user_id'], shown=1)
  row, (tokens, width) = reply.row, reply.soft_prompt.shape
  lines = str(reply).splitlines()
  head = f'user {row["user_id"]}, split test, example {row["example_id"]}, item '
  assert lines[0] == head + row['item_id']
  assert lines[1] == f'history: {row["history_length"]} interactions, the newest:'
  assert lines[2] == f'  {reply.history[0]}'
  assert lines[3:5] == [
    f'soft prompt: {tokens} tokens of {width} numbers',
    f'prompt: {reply.prompt!r}',
  ]
  for line, answer, odds in (
    (lines[5], row['draft_answer'], row['draft_probabilities']),
    (lines[6], row['answer'], row['decoder_probabilities']),
  ):
    pairs = sorted(zip(odds, reply.options, strict=True), reverse=True)
    shown = ', '.join(f'{option} {value:.3f}' for value, option in pairs)
    assert line.partition(': ')[2] == f'{answer}; probabilities {shown}'
  known = examples[-1]['answer']
  assert lines[8] == f'the data say: {f"answer {known[0]}" if known else "nothing"}'
