"""Dataset files: what a right one says, and what wrong ones are told."""

import pathlib
import re

import pytest
import yaml

from pipelines.common.job import JobError
from pipelines.dataset.dataset_file import read_dataset
from tasks.questions import MOVIELENS

ROOT = pathlib.Path(__file__).parents[3]
BOOKS = ROOT / 'examples' / 'books' / 'books.yaml'
TEXT = BOOKS.read_text()


def read(folder, *changes):
  """The books' file with texts replaced."""
  text = TEXT
  for old, new in changes:
    assert old in text
    text = text.replace(old, new, 1)
  path = folder / 'books.yaml'
  path.write_text(text)
  return read_dataset(str(path))


def test_the_books(tmp_path):
  """Against the file as a YAML library reads it."""
  found, plain = read(tmp_path), yaml.safe_load(TEXT)
  folder = (tmp_path / plain['folder']).resolve()
  assert pathlib.Path(found.events.files).resolve() == folder / 'ratings.csv'
  assert pathlib.Path(found.items.files).resolve() == folder / 'books.csv'
  for role in ('user', 'item', 'value', 'time'):
    assert found.events.columns[role] == plain['events'][role]
  assert found.items.lists == plain['items']['lists']
  assert [text.source for text in found.texts] == plain['texts']
  assert found.item_columns() == (
    *('title', 'published', 'author', 'subjects', 'blurb'),
  )
  question = plain['questions'][0]
  lists = question['answer']['lists']
  assert found.question.name == question['name']
  assert found.question.prompt == question['prompt']
  assert found.question.dislikes == lists['dislikes']
  assert (found.rule.min_count, found.rule.top) == (lists['rule']['least'], 2)
  assert found.split.fractions == plain['split']
  assert (found.history.most, found.history.sampler) == (40, 'recency')
  assert found.about()['questions'] == {
    'book_subjects_v1': {
      'prompt': question['prompt'],
      **{key: lists[key] for key in ('likes', 'dislikes', 'none', 'most')},
    }
  }


def test_movielens_asks_the_question_of_the_flags():
  found = read_dataset(str(ROOT / 'examples' / 'movielens' / 'genres.yaml'))
  assert found.question == MOVIELENS


def test_keys_may_be_left_out(tmp_path):
  changes = [
    (re.search(r'split:.*\n', TEXT)[0], ''),
    (re.search(r'history:.*\n', TEXT)[0], ''),
    ('folder: ../../runs/books/data\n', ''),
    ('  time: bought_at\n  time_unit: ms\n', ''),
  ]
  found = read(tmp_path, *changes)
  assert (found.split.train, found.history.most) == (0.8, 50)
  assert found.events.files == str(tmp_path / 'ratings.csv')
  assert found.about()['times'] == 'order of the rows'


# What is wrong -> (old text, new text, line, what is told).
MISTAKES = {
  'no YAML': ('events:', 'events: [', 6, 'no valid YAML: '),
  'a tab': ('  files: ratings', '\tfiles: ratings', 5, 'no valid YAML: '),
  'a mistyped section': (
    'events:',
    'event:',
    4,
    'event: unknown key; did you mean events?',
  ),
  'a mistyped key': (
    '  time_unit',
    '  timeunit',
    11,
    'unknown key; did you mean time_unit?',
  ),
  'no column': (
    '  user: customer\n',
    '',
    4,
    'events: no key user; expected the column',
  ),
  'a key twice': (
    '  item: isbn\n',
    '  item: isbn\n  item: x\n',
    8,
    'this key stands twice',
  ),
  'a list for a text': ('user: customer', 'user: [a]', 6, 'a list; expected a text'),
  'a wrong unit': (
    'time_unit: ms',
    'time_unit: min',
    11,
    "'min'; expected one of ['s'",
  ),
  'a wrong scale': ('scale: 1:5:1', 'scale: 5:1', 9, 'events.scale: '),
  'an unknown sampler': (
    *('{most: 40}', '{most: 40, sampler: recent}', 20),
    "'recent'; did you mean recency?",
  ),
  'a number below': (
    '{most: 40}',
    '{most: 0}',
    20,
    'history.most: 0; expected at least',
  ),
  'an open bracket': ('"{blurb}"', '"[{blurb}"', 18, 'a [ is not closed; expected ]'),
  'a text of nothing': ('"{blurb}"', '"blurb"', 18, "'blurb' has no field in braces"),
  'a mixed text': ('"{blurb}"', '"{blurb} {value}"', 18, "{value} beside ['blurb']"),
  'an unlisted column': (
    'of: subjects',
    'of: subject',
    26,
    "'subject'; expected one of",
  ),
  'a name without a version': (
    *('name: book_subjects_v1', 'name: book_subjects', 22),
    "name='book_subjects': expected a name with a version",
  ),
  'words that cannot be read': (
    *('dislikes: " and avoids"', 'dislikes: and avoids', 28),
    "dislikes='and avoids': expected words after exactly one space",
  ),
  'thresholds apart': ('liked_above: 3.8', 'liked_above: 2', 31, 'is less than'),
  'a threshold off the scale': (
    'liked_above: 3.8',
    'liked_above: 38',
    31,
    '38; expected',
  ),
  'shares': ('test: 0.2', 'test: 0.4', 32, 'add up to 1.2; expected 1'),
  'two questions': (
    *('split:', '  - {name: y_v1, prompt: a}\nsplit:', 21),
    '2 questions; expected one',
  ),
  'another answer': (
    '      lists:',
    '      choice:',
    25,
    'choice: unknown key; expected one of',
  ),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_mistakes(name, tmp_path):
  old, new, line, told = MISTAKES[name]
  with pytest.raises(JobError) as caught:
    read(tmp_path, (old, new))
  said = str(caught.value)
  assert told in said
  assert f'books.yaml, line {line}' in said


def test_columns_that_no_header_has(tmp_path):
  header = '  header: [isbn, title, author, published, subjects, blurb]\n'
  files = '  files: books.csv\n'
  read(tmp_path, (files, files + header))
  with pytest.raises(JobError, match="'blurb' is no column of header"):
    read(tmp_path, (files, files + header.replace(', blurb', ', blurbs')))


def test_a_file_that_is_not_there(tmp_path):
  with pytest.raises(JobError, match=r'--dataset: .*none.yaml'):
    read_dataset(str(tmp_path / 'none.yaml'))
  (tmp_path / 'empty.yaml').write_text('# nothing\n')
  with pytest.raises(JobError, match=r'empty\.yaml is empty; expected a dataset file'):
    read_dataset(str(tmp_path / 'empty.yaml'))
