"""Questions that are answered in free words: targets, rows, words in JSON."""

import pytest

from tasks import questions, schema
from tasks.answers.text import Text

SHELF = Text('shelf_v1', '\nThe shelf is called:', asks_item=False, max_tokens=6)


def ids(text):
  """A vocabulary of characters."""
  return [ord(x) for x in text]


def test_an_answer_follows_the_prompt_and_is_cut(caplog):
  tokens, slots = SHELF.label('Wars', ids)
  assert bytes(tokens) == b' Wars'
  assert slots == []
  assert not caplog.records
  assert bytes(SHELF.label('Magical wars', ids)[0]) == b' Magi'
  assert 'more than max_tokens=6 tokens are cut' in caplog.text
  assert SHELF.longest(ids) == 5, 'and the end'
  assert SHELF.grammar(ids, 0) is None
  assert SHELF.slot_options.first_words == ()


def test_a_row_has_the_columns_of_the_table():
  example = {'example_id': 'e1', 'user_id': 'u1'}
  row = SHELF.row(example, ' Magical wars\n', -2.0, 7)
  assert (row['answer'], row['text']) == ('Magical wars', ' Magical wars\n')
  assert row['parse_ok']
  words = {'kind': 'text', 'asks_item': False}
  named = {x.name for x in schema.prediction_columns(words)}
  assert named - {*row} == {'model_id', 'run_id', 'predicted_at'}
  assert {*row} < named
  nothing = SHELF.row(example, ' ', -2.0, 7)
  assert (nothing['answer'], nothing['parse_ok']) == (None, False)


def test_the_words_of_a_question_bring_it_back():
  words = {'kind': 'text', 'prompt': SHELF.prompt, 'asks_item': False, 'max_tokens': 6}
  assert questions.from_words('shelf_v1', words) == SHELF
  with pytest.raises(ValueError, match='max_tokens=1: expected at least 2'):
    questions.from_words('shelf_v1', words | {'max_tokens': 1})
  with pytest.raises(ValueError, match=r'only names in fields=\(\), as there is no'):
    Text('shelf_v1', 'Of {title}:', asks_item=False)
