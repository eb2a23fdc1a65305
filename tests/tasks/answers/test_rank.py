"""Rankings: how candidates are written, read, ordered and told in a row."""

import dataclasses

import numpy as np
import pytest

from tasks import questions, schema
from tasks.answers.rank import Rank

NEXT = Rank('next_v1', 'Next:', ('1', '2', '3', '4'))
EXAMPLE = {'example_id': 'e1', 'user_id': 'u1', 'candidates': ['a', 'b', 'c']}


def test_a_row_has_the_candidates_best_first():
  row = NEXT.row(EXAMPLE, ' 3', -0.5, 7, [0.2, 0.5, 0.3, 0.0], [0.1, 0.1, 0.3, 0.5])
  assert (row['answer'], row['draft_answer'], row['parse_ok']) == ('c', 'b', True)
  assert row['candidates'] == ['b', 'c', 'a']
  assert row['draft_probabilities'] == pytest.approx([0.5, 0.3, 0.2])
  assert row['decoder_probabilities'] == pytest.approx([0.2, 0.6, 0.2])  # of three
  words = {'kind': 'rank', 'asks_item': False}
  named = {x.name for x in schema.prediction_columns(words)}
  assert {*row} == named - {'model_id', 'run_id', 'predicted_at'}


def test_a_row_without_a_draft_or_without_any_probabilities():
  row = NEXT.row(EXAMPLE, ' 1', -0.5, 7, (), [0.1, 0.2, 0.3, 0.4])
  assert (row['draft_answer'], row['candidates']) == (None, ['c', 'b', 'a'])
  row = NEXT.row(EXAMPLE, ' 1', -0.5, 7)
  assert (row['candidates'], row['draft_probabilities']) == (['a', 'b', 'c'], [])
  unlikely = NEXT.row(EXAMPLE, ' 1', -0.5, 7, (), [0.0, 0.0, 0.0, 1.0])
  assert unlikely['decoder_probabilities'] == pytest.approx([1 / 3] * 3)


def test_a_number_without_a_candidate_is_no_answer():
  for text in (' 4', ' 5', ' b', ''):
    row = NEXT.row(EXAMPLE, text, -0.5, 7)
    assert (row['answer'], row['parse_ok']) == (None, False)


def test_words_that_make_no_ranking():
  with pytest.raises(ValueError, match='expected numbers from 1 on'):
    Rank('next_v1', 'Next:', ('2', '3'))
  with pytest.raises(ValueError, match='the candidates are what is asked about'):
    Rank('next_v1', 'Next:', ('1', '2'), asks_item=True)


def test_a_prompt_lists_the_candidates():
  listed = dataclasses.replace(
    NEXT, prompt='{mood}:\n{candidates}\nNext:', fields=('mood',), candidate='{title}'
  )
  assert listed.item_fields == ('title',)
  rows = [{'title': 'Heat'}, {'title': 'Toy Story'}]
  text = listed.write_prompt(rows, {'mood': 'sad'})
  assert text == 'sad:\n1. Heat\n2. Toy Story\nNext:'
  assert NEXT.write_prompt([], {}) == 'Next:'
  for words in ({'candidate': ''}, {'prompt': 'Next:'}, {'fields': ()}):
    with pytest.raises(ValueError, match=r'expected (a text if|only names)'):
      dataclasses.replace(listed, **words)


def test_the_words_of_a_dataset_file_make_the_same_question():
  words = {'kind': 'rank', 'prompt': 'Next:', 'options': ['1', '2', '3', '4']}
  found = questions.from_words('next_v1', words | {'fields': [], 'asks_item': False})
  assert found == NEXT
  assert found.num_asked == 4
  assert found.record_kinds == schema.EXAMPLE | schema.CANDIDATES
  targets, slots = NEXT.label('3', lambda text: [*text.encode()])
  assert (bytes(targets).decode(), slots) == (' 3', [2])
  assert np.array(NEXT.slot_options.first_words).tolist() == [0]
