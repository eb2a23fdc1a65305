"""Questions with examples in a dataset file: what a right one says, and wrong ones."""

import pytest

from examples.books import make_data
from pipelines.common.job import JobError
from pipelines.dataset.dataset_file import read_dataset
from pipelines.examples.answer_rule import AnswerRule
from pipelines.examples.example_plan import ExamplePlan, Negatives
from tests.pipelines.dataset.test_dataset_file import ROOT

TEXT = (ROOT / 'examples' / 'books' / 'like.yaml').read_text()
_FROM, _TO = TEXT.index('    examples:'), TEXT.index('split:')
HOLDOUT = TEXT[:_FROM] + (
  '    examples:\n      holdout: {last: 5}\n      answer: value > 3\n'
)
HOLDOUT = HOLDOUT.replace(' {occasion}', '') + TEXT[_TO:]
HOLDOUT = HOLDOUT.replace('{"Yes": 1, "No": 0}', '["Yes", "No"]')


def read(folder, text, *changes):
  for old, new in changes:
    assert old in text
    text = text.replace(old, new, 1)
  path = folder / 'like.yaml'
  path.write_text(text)
  return read_dataset(str(path))


def test_files_of_examples(tmp_path):
  found = read(tmp_path, TEXT)
  (asked,) = found.questions
  options = ('Yes', 'No')
  rule = AnswerRule('liked', options, {'1': 'Yes', '0': 'No'})
  assert asked.plan == ExamplePlan(
    'book_like_v1', rule, options, ('occasion',), from_files=True
  )
  assert asked.question.asks_item
  assert asked.question.item_fields == ('title', 'author')
  assert asked.files.columns == {'user': 'customer', 'item': 'isbn', 'time': 'asked_at'}
  assert asked.files.time_unit == 'ms'
  assert not found.lists
  assert found.item_columns() == ('title', 'published', 'author', 'subjects')
  assert found.about()['questions']['book_like_v1'] == {
    'kind': 'choice',
    'prompt': asked.question.prompt,
    'options': ['Yes', 'No'],
    'fields': ['occasion'],
    'asks_item': True,
  }


def test_own_events(tmp_path):
  plan = read(tmp_path, HOLDOUT).questions[0].plan
  assert (plan.last, plan.after, plan.answer.sign) == (5, None, '>')
  drawn = ('      answer: value > 3\n', '      negatives: {each: 4, by: popularity}\n')
  plan = read(tmp_path, HOLDOUT, drawn).questions[0].plan
  assert (plan.answer, plan.negatives) == (None, Negatives(4, 'popularity'))
  after = ('{last: 5}', '{after: 2019-03-01}')
  assert read(tmp_path, HOLDOUT, after).questions[0].plan.after == 1_551_398_400


def test_options_are_texts(tmp_path):
  stars = ('{"Yes": 1, "No": 0}', '[1, 2, 3, 4, 5]'), ('liked', 'stars')
  plan = read(tmp_path, TEXT, *stars).questions[0].plan
  assert plan.options == ('1', '2', '3', '4', '5')
  assert plan.answer.values == {x: x for x in plan.options}


def test_numbers(tmp_path):
  stars = ('choice: ["Yes", "No"]', 'number: {from: 0.5, to: 2, step: 0.5}')
  value = ('      answer: value > 3\n', '')
  (asked,) = read(tmp_path, HOLDOUT, stars, value).questions
  assert asked.plan.options == ('0.5', '1', '1.5', '2')
  assert (asked.plan.answer.column, asked.plan.answer.sign) == ('value', '')
  assert asked.words()['kind'] == 'number'


def test_any_number_within_bounds(tmp_path):
  minutes = ('choice: {"Yes": 1, "No": 0}', 'number: {from: 0, to: 90, step: 15}')
  rule = read(tmp_path, TEXT, minutes).questions[0].plan.answer
  assert not rule.rounds
  assert rule.expected == "one of ['0', '15', '30', '45', '60', '75', '90']"
  rounded = minutes[1].replace('15}', '15, round: true}')
  rule = read(tmp_path, TEXT, (minutes[0], rounded)).questions[0].plan.answer
  assert rule.rounds
  assert rule.expected == 'a number from 0 to 90'
  with pytest.raises(JobError, match=r"number.round: 'up'; expected true or false"):
    read(tmp_path, TEXT, (minutes[0], rounded.replace('true', 'up')))


def test_a_number_is_not_true_or_false(tmp_path):
  stars = ('choice: ["Yes", "No"]', 'number: {from: 0, to: 1}')
  drawn = ('      answer: value > 3\n', '      negatives: {each: 1}\n')
  for changes in ([stars], [stars, drawn]):
    with pytest.raises(JobError, match='a number beside a comparison or negatives'):
      read(tmp_path, HOLDOUT, *changes)


def test_the_answer_is_not_told_in_the_prompt(tmp_path):
  fields = ('fields: [occasion]', 'fields: [occasion, liked]')
  with pytest.raises(JobError, match=r"line 31: .*'liked' is the answer"):
    read(tmp_path, TEXT, ('{occasion}', '{occasion} {liked}'), fields)


# name: (what stands for the numbers, what is said).
NUMBERS = {
  'no end': ('{from: 1}', 'number: no key to; expected a number'),
  'a mistyped key': ('{from: 1, to: 5, stop: 1}', 'unknown key; did you mean step?'),
  'downwards': ('{from: 5, to: 1}', 'number: from 5 to 1 in steps of 1; expected a'),
  'no step': ('{from: 1, to: 5, step: 0}', 'in steps of 0; expected a step above 0'),
  'half a step': ('{from: 1, to: 5, step: 3}', 'that is some steps above the first'),
  'a word': ('{from: one, to: 5}', "number.from: 'one'; expected a number"),
  'options': ('[1, 2]', 'number: a list; expected keys with values'),
}


@pytest.mark.parametrize('name', NUMBERS)
def test_mistakes_in_numbers(name, tmp_path):
  written, told = NUMBERS[name]
  with pytest.raises(JobError, match=r'like.yaml, line \d+: .*') as caught:
    read(tmp_path, HOLDOUT, ('choice: ["Yes", "No"]', f'number: {written}'))
  assert told in str(caught.value)


def test_free_words(tmp_path):
  text = ('choice: {"Yes": 1, "No": 0}', 'text: {max_tokens: 9}')
  (asked,) = read(tmp_path, TEXT, text).questions
  assert (asked.plan.answer, asked.plan.text_answer) == (None, 'liked')
  assert asked.words() == {
    'kind': 'text',
    'prompt': asked.question.prompt,
    'max_tokens': 9,
    'fields': ['occasion'],
    'asks_item': True,
  }
  for wrong, told in (
    ('{most: 9}', 'unknown key; expected one of'),
    ('{max_tokens: 1}', 'max_tokens: 1; expected at least 2'),
    ('[a, b]', 'text: a list; expected keys with values'),
  ):
    with pytest.raises(JobError, match=r'like.yaml, line 24: .*') as caught:
      read(tmp_path, TEXT, (text[0], f'text: {wrong}'))
    assert told in str(caught.value)
  with pytest.raises(JobError, match='no text; expected files with the answers'):
    read(tmp_path, HOLDOUT, ('choice: ["Yes", "No"]', 'text: {}'))


RANKED = (
  ('      answer: value > 3\n', '      negatives: {each: 2}\n'),
  ('choice: ["Yes", "No"]', 'rank: {most: 3, candidate: "{title} of {published}"}'),
)
_NAMED = HOLDOUT.partition('prompt: ')[2].partition('\n')[0]


def test_candidates_in_the_prompt(tmp_path):
  shown = (_NAMED, '"\\n{candidates}\\nNext:"')
  found = read(tmp_path, HOLDOUT, *RANKED, shown)
  assert found.questions[0].question.candidate == '{title} of {published}'
  assert {'title', 'published'} <= {*found.item_columns()}
  for change, told in (
    ((shown[1], '"Next:"'), 'candidate: no prompt shows it; expected {candidates} in'),
    ((', candidate: "{title} of {published}"', ''), '{candidates} needs the text of'),
    (('{published}"', '{published"'), 'expected a column and }'),
    (('{candidates}', '{candidates}{title}'), '{title} is no field of the examples'),
  ):
    with pytest.raises(JobError, match=r'like.yaml, line \d+: .*') as caught:
      read(tmp_path, HOLDOUT, *RANKED, shown, change)
    assert told in str(caught.value)


def test_splits(tmp_path):
  split = '{train: 0.7, validation: 0.1, test: 0.2}'
  found = read(
    tmp_path, TEXT, (split, '{by: time, validation: 2018-01-01, test: 1525132800}')
  )
  assert found.example_split.times == (1_514_764_800, 1_525_132_800)
  assert found.split.fractions == {'train': 1.0, 'validation': 0.0, 'test': 0.0}
  found = read(tmp_path, TEXT, (split, '{by: column, column: fold}'))
  assert found.example_split.column == 'fold'
  assert found.example_format(found.questions[0]).columns['split'] == 'fold'


# name: (old text, new text, line, what is said).
FILES = {
  'a field without an item': (
    '      item: isbn\n      time: asked_at',
    '      time: asked_at',
    23,
    '{title} is no field of the examples, and they have no item',
  ),
  'a mistyped key': ('      fields:', '      field:', 31, 'did you mean fields?'),
  'no examples': (TEXT[_FROM:_TO], '', 22, 'no key examples; expected files, or hold'),
  'no user': ('      user: customer\n', '', 25, 'no key user; expected the column'),
  'one option': ('{"Yes": 1, "No": 0}', '["Yes"]', 24, "['Yes']; expected two options"),
  'an option twice': ('{"Yes": 1, "No": 0}', '[a, a]', 24, 'an option stands twice'),
  'an option with a space': (
    '{"Yes": 1, "No": 0}',
    '["Yes ", b]',
    24,
    "'Yes '; expected an option without outer spaces",
  ),
  'a list as an option': (
    '{"Yes": 1, "No": 0}',
    '[[a], b]',
    24,
    'a list; expected a text or a number',
  ),
  'no version': ('book_like_v1', 'book_like', 22, 'a name with a version, such as'),
  'a comparison to a word': (
    'answer: liked',
    'answer: liked > many',
    32,
    "compares to 'many'; expected a number",
  ),
  'a field that is nowhere': (
    'fields: [occasion]',
    'fields: [occassion]',
    31,
    "'occassion' is not in the prompt; did you mean occasion?",
  ),
  'a field that nothing uses': (
    'fields: [occasion]',
    'fields: [occasion, price]',
    31,
    "'price' is not in the prompt",
  ),
  'the value in the prompt': (
    '{occasion}?',
    '{occasion} {value}?',
    23,
    '{value} is of an event, which is not known yet',
  ),
  'an open brace': ('{occasion}', '{occasion', 23, 'expected a column and }'),
  'no prompt': (
    'prompt: "\\nWill the reader like {title} by {author} {occasion}?\\nAnswer:"',
    'prompt: ""',
    23,
    'an empty text; expected the text before the answer',
  ),
  'a unit without a time': (
    '      time: asked_at\n',
    '',
    29,
    'there is no time: expected a column of questions[0].examples as time',
  ),
  'an unknown unit': (
    '      time_unit: ms\n      fields',
    '      time_unit: hours\n      fields',
    30,
    "'hours'; expected one of",
  ),
  'a time, where events have none': (
    '  time: bought_at\n  time_unit: ms\n',
    '',
    27,
    'the events have no time that it could be compared to',
  ),
  'both kinds of answers': (
    '{choice: {"Yes": 1, "No": 0}}',
    '{choice: [a, b], lists: {}}',
    24,
    "['choice', 'lists']; expected one of",
  ),
  'an unknown split': (
    'split: {train',
    'split: {by: weekday, train',
    33,
    "'weekday'; expected one of ['user', 'time', 'column']",
  ),
  'a split by time with shares': (
    'split: {train',
    'split: {by: time, train',
    33,
    'train: unknown key',
  ),
  'test before validation': (
    '{train: 0.7, validation: 0.1, test: 0.2}',
    '{by: time, validation: 2019-01-01, test: 2018-01-01}',
    33,
    'is before validation; expected its first time',
  ),
  'a year': (
    '{train: 0.7, validation: 0.1, test: 0.2}',
    '{by: time, validation: 2018, test: 2019}',
    33,
    '2018; expected a date such as 2015-01-31, or seconds since 1970 from 1973',
  ),
  'milliseconds': (
    '{train: 0.7, validation: 0.1, test: 0.2}',
    '{by: time, validation: 1500000000000, test: 2019-01-01}',
    33,
    '1500000000000; expected a date',
  ),
  'texts of options beside a comparison': (
    'answer: liked',
    'answer: liked > 0',
    24,
    'expected a list of two options, the first for what is true',
  ),
  'one text of two options': (
    '{"Yes": 1, "No": 0}',
    '{"Yes": 1, "No": 1, "Perhaps": 0}',
    24,
    'two options have the same text in the data',
  ),
  'a sign that is none': (
    'answer: liked',
    'answer: liked => 1',
    32,
    "'liked => 1' has =>; expected one of",
  ),
  'a name that nothing uses': (
    '      user: customer',
    '      columns: {price: eur}\n      user: customer',
    27,
    'nothing uses this name',
  ),
  'no date': (
    '{train: 0.7, validation: 0.1, test: 0.2}',
    '{by: time, validation: May, test: 2018-01-01}',
    33,
    "'May'; expected a date such as 2015-01-31, or seconds since 1970",
  ),
  'no such column of a header': (
    '      user: customer\n',
    '      user: customer\n      header: [customer, isbn, asked_at, occasion]\n',
    33,
    "'liked' is no column of header",
  ),
}
HELD_OUT = {
  'last and after': (
    '{last: 5}',
    '{last: 5, after: 2019-03-01}',
    26,
    'expected last: a number',
  ),
  'none of the last': ('{last: 5}', '{last: 0}', 26, '0; expected at least 1'),
  'another column': (
    'answer: value > 3',
    'answer: stars > 3',
    27,
    "'stars'; expected value, the value of the user's own event",
  ),
  'no value': (
    'value > 3',
    'value > 7',
    27,
    '7 is no value; expected one from 1 to 5',
  ),
  'no keys': ('{last: 5}', '5', 26, 'expected {last: 5} or {after: 2015-01-31}'),
  'no answer': (
    '      answer: value > 3\n',
    '',
    25,
    'no key answer; expected a column',
  ),
  'an answer beside negatives': (
    '      answer: value > 3\n',
    '      answer: value > 3\n      negatives: {each: 2}\n',
    27,
    'beside negatives; events have the first option',
  ),
  'negatives of nothing': (
    'answer: value > 3',
    'negatives: {each: 0}',
    27,
    '0; expected at least 1',
  ),
  'negatives by something else': (
    'answer: value > 3',
    'negatives: {by: luck}',
    27,
    "'luck'; expected one of ['uniform', 'popularity']",
  ),
  'a column that own events lack': (
    'split: {train: 0.7, validation: 0.1, test: 0.2}',
    'split: {by: column, column: fold}',
    25,
    'split by: column needs files with this column',
  ),
}
CASES = [
  *((TEXT, *case) for case in FILES.values()),
  *((HOLDOUT, *case) for case in HELD_OUT.values()),
]


@pytest.mark.parametrize(
  ('text', 'old', 'new', 'line', 'said'), CASES, ids=[*FILES, *HELD_OUT]
)
def test_mistakes(tmp_path, text, old, new, line, said):
  with pytest.raises(JobError) as caught:
    read(tmp_path, text, (old, new))
  assert f'like.yaml, line {line}: ' in str(caught.value)
  assert said in str(caught.value)


def test_what_a_search_needs(tmp_path):
  search = ('history: {', 'history: {sampler: sparse_retrieval, ')
  with pytest.raises(JobError, match='no key query; expected the words that sparse'):
    read(tmp_path, HOLDOUT, search)
  found = read(tmp_path, HOLDOUT, search, ('most: 40', 'most: 40, query: crime'))
  assert found.history.query == 'crime'


def test_what_needs_times(tmp_path):
  """Without times nothing can be counted before the first example of all users."""
  no_time = ('  time: bought_at\n  time_unit: ms\n', '')
  sampler = ('history: {', 'history: {sampler: popularity, ')
  with pytest.raises(JobError, match='popularity counts events before the first ex'):
    read(tmp_path, HOLDOUT, no_time, sampler)
  drawn = ('answer: value > 3', 'negatives: {by: popularity}')
  with pytest.raises(JobError, match='the events have no time; expected uniform'):
    read(tmp_path, HOLDOUT, no_time, drawn)
  split = '{train: 0.7, validation: 0.1, test: 0.2}'
  by_time = (split, '{by: time, validation: 1500000000, test: 1600000000}')
  with pytest.raises(JobError, match='by: time needs a time of events and examples'):
    read(tmp_path, HOLDOUT, no_time, by_time)
  after = ('{last: 5}', '{after: 2019-03-01}')
  with pytest.raises(JobError, match='the events have no time; expected last'):
    read(tmp_path, HOLDOUT, no_time, after)


def test_users_are_not_divided_by_time(tmp_path):
  books = (ROOT / 'examples' / 'books' / 'books.yaml').read_text()
  split = 'split: {train: 0.7, validation: 0.1, test: 0.2}'
  by_time = (split, 'split: {by: time, validation: 1500000000, test: 1600000000}')
  with pytest.raises(JobError, match='is asked about users; expected by: user'):
    read(tmp_path, books, by_time)
  lists = books[books.index('  - name: book') : books.index('split:')]
  with pytest.raises(JobError, match='a second question with lists'):
    read(
      tmp_path, books, ('split:', lists.replace('subjects_v1', 'more_v1') + 'split:')
    )
  with pytest.raises(JobError, match="'book_subjects_v1' stands twice"):
    read(
      tmp_path,
      HOLDOUT.replace('book_like_v1', 'book_subjects_v1'),
      ('split:', lists + 'split:'),
    )


def test_keys_of_files_beside_holdout(tmp_path):
  both = (
    '      holdout: {last: 5}\n',
    '      holdout: {last: 5}\n      user: customer\n',
  )
  with pytest.raises(JobError, match=r'examples\.user: of examples from files; beside'):
    read(tmp_path, HOLDOUT, both)


# (old text, new text, what is said of the files that make_data writes).
IN_FILES = {
  'no such events': ('files: ratings.csv', 'files: rating.csv', 'line 5: events.files'),
  'no such examples': (
    'files: asked.csv',
    'files: x*.csv',
    'line 26: questions[0].exa',
  ),
  'no such column': (
    'value: stars',
    'value: star',
    'line 5: events.files: {folder}/ra',
  ),
  'no such answer': ('answer: liked', 'answer: like', 'line 26: questions[0].examples'),
}


@pytest.mark.parametrize('name', IN_FILES)
def test_mistakes_that_files_show_have_the_place_of_their_files(name, tmp_path):
  old, new, told = IN_FILES[name]
  make_data.write(tmp_path, readers=3, count=5, seed=0)
  text = TEXT.replace('../../runs/books/data', str(tmp_path))
  with pytest.raises(JobError, match=r'(no such file|lacks the column)') as caught:
    read(tmp_path, text, (old, new)).find_files()
  assert f'like.yaml, {told.format(folder=tmp_path)}' in str(caught.value)
