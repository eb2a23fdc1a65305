"""The words of a choice: prompts, targets, answers, automaton, rows."""

import pytest

from tasks import questions
from tasks.answers.choice import Choice
from tests.grammar_walks import Walks

LIKE = Choice(
  'book_like_v1',
  '\nAsked {why}: will they like {title}[ by {author}]?\nAnswer:',
  ['Yes', 'No'],
  fields=['why'],
)


def ids(text):
  """A vocabulary of characters."""
  return [ord(x) for x in text]


def test_names_of_the_prompt():
  assert LIKE.item_fields == ('title', 'author')
  values = {'why': 'in May', 'title': 'Rivers', 'author': None}
  expected = '\nAsked in May: will they like Rivers?\nAnswer:'
  assert LIKE.template.write(values) == expected


def test_an_answer_follows_after_a_space():
  targets = lambda choice: [choice.target(x) for x in choice.options]
  assert targets(LIKE) == [' Yes', ' No']
  assert LIKE.option_tokens(ids) == [ids(' Yes'), ids(' No')]
  behind_a_line = Choice('a_v1', 'Like {title}?\n', ('Yes', 'No'))
  assert targets(behind_a_line) == ['Yes', 'No']
  assert targets(Choice('a_v1', 'Like {title}', ('Yes', 'No'))) == [' Yes', ' No']


def test_a_word_has_the_token_that_it_has_behind_the_prompt():
  """A vocabulary that puts a space before all texts, as many do."""
  pieces = {'▁Answer:': 1, '▁Yes': 2, '▁No': 3, '▁': 4, 'Yes': 5, 'No': 6}

  def encode(text):
    left, found = '▁' + text.replace(' ', '▁').lstrip('▁').replace('\n', ''), []
    while left:
      piece = max((x for x in pieces if left.startswith(x)), key=len)
      found.append(pieces[piece])
      left = left.removeprefix(piece)
    return found

  assert LIKE.option_tokens(encode) == [[2], [3]]


def test_the_draft_repeats_the_end_of_the_prompt():
  form = LIKE.draft_form
  assert (form.parts, form.words) == (['Answer:', None], [' Yes', ' No'])
  assert form.options == LIKE.slot_options
  assert list(form.options.others(2)) == []
  for prompt in ('{title}', 'Like {title}?\n', 'Like: {{x}}'):
    other = Choice('a_v1', prompt, ('Yes', 'No'))
    assert other.draft_form.parts == [None]


@pytest.mark.parametrize(
  ('text', 'option'),
  [(' Yes', 'Yes'), ('No.', 'No'), ('Yes\n', 'Yes'), ('yes', None), ('', None)],
)
def test_answers(text, option):
  found = LIKE.parse(text)
  assert (found.option, found.ok) == (option, option is not None)


def test_an_option_may_end_in_a_full_stop_and_begin_as_another():
  choice = Choice('a_v1', 'x', ('No', 'No.', 'No way'), asks_item=False)
  targets = [choice.target(x) for x in choice.options]
  assert [choice.parse(x).option for x in targets] == [*choice.options]
  walks = Walks(choice.grammar(ids, 0))
  for option in targets:
    assert 0 in walks.after(ids(option))
    assert walks.after([*ids(option), 0]) == {0}, 'the end follows itself'
  assert walks.after(ids(' No w')) == {ord('a')}


def test_a_thousand_options():
  options = tuple(f'Shelf {number:03}' for number in range(1000))
  choice = Choice('a_v1', 'x', options, asks_item=False)
  targets = [choice.target(x) for x in options]
  walks = Walks(choice.grammar(ids, 0))
  drawn = walks.random(500, 12, seed=0).tolist()
  texts = {bytes(row[: row.index(0)]).decode() for row in drawn}
  assert texts <= {*targets}
  assert len(texts) > 300
  assert all(walks.after(ids(target)) == {0} for target in targets[::100])


def test_rows():
  example = {'example_id': 'e', 'user_id': 'u', 'item_id': 'i', 'answer': ['No']}
  row = LIKE.row(example, ' Yes', -0.5, 3, [0.25, 0.75], [0.9, 0.1])
  assert row == {
    **{'example_id': 'e', 'user_id': 'u', 'item_id': 'i', 'answer': 'Yes'},
    **{'draft_answer': 'No', 'draft_probabilities': [0.25, 0.75], 'text': ' Yes'},
    'decoder_probabilities': [0.9, 0.1],
    **{'log_prob': -0.5, 'parse_ok': True, 'history_length': 3, 'task': LIKE.name},
  }
  row = Choice('a_v1', 'x', ('A', 'B'), asks_item=False).row(example, '?', -1, 0)
  assert 'item_id' not in row
  assert (row['answer'], row['draft_answer'], row['parse_ok']) == (None, None, False)
  assert row['draft_probabilities'] == row['decoder_probabilities'] == []


@pytest.mark.parametrize(
  'changes',
  [
    {'name': 'like'},
    {'prompt': ''},
    {'options': ['Yes']},
    {'options': ['Yes', 'Yes']},
    {'options': ['Yes', ' No']},
    {'options': ['Yes', '']},
    {'asks_item': False},
  ],
)
def test_words_that_cannot_work(changes):
  words = {'name': 'a_v1', 'prompt': 'Like {title}?', 'options': ['Yes', 'No']}
  with pytest.raises(ValueError, match=r"Question '.*': .*: expected"):
    Choice(**words | changes)
  with pytest.raises(ValueError, match='is not closed'):
    Choice('a_v1', 'Like [{title}?', ['Yes', 'No'])


def test_a_vocabulary_must_tell_options_apart():
  LIKE.check(ids, None)
  with pytest.raises(ValueError, match="no tokens of its own for option 'Yes'"):
    LIKE.check(lambda text: [7] * len(text.split()), None)
  with pytest.raises(ValueError, match="no tokens of its own for option 'No'"):
    LIKE.check(ids, ord('o'))


def test_kinds_of_questions():
  words = {'prompt': 'x', 'options': ['A', 'B'], 'asks_item': False}
  found = questions.from_words('a_v1', {'kind': 'choice', **words})
  assert found == Choice('a_v1', **words)
  with pytest.raises(ValueError, match="question a_v1: kind='guess': expected one of"):
    questions.from_words('a_v1', {'kind': 'guess', **words})
