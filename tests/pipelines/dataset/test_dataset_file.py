"""Dataset files: what a right one says, and what wrong ones are told."""

import pathlib
import re

import pytest
import yaml

from pipelines.common.job import JobError
from pipelines.dataset.dataset_file import read_dataset
from pipelines.dataset.table_part import join_place
from pipelines.dataset.yaml_parts import read_yaml
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
  assert pathlib.Path(found.events[0].files).resolve() == folder / 'ratings.csv'
  assert pathlib.Path(found.items.files).resolve() == folder / 'books.csv'
  for role in ('user', 'item', 'value', 'time'):
    assert found.events[0].columns[role] == plain['events'][role]
  assert found.items.lists == plain['items']['lists']
  assert [text.source for text in found.texts] == plain['texts']
  assert found.item_columns() == (
    *('title', 'published', 'author', 'subjects', 'blurb'),
  )
  question = plain['questions'][0]
  lists = question['answer']['lists']
  assert found.lists.name == question['name']
  assert found.lists.question.prompt == question['prompt']
  assert found.lists.question.dislikes == lists['dislikes']
  assert (found.lists.rule.min_count, found.lists.rule.top) == (
    lists['rule']['least'],
    2,
  )
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
  assert found.lists.question == MOVIELENS


def test_keys_may_be_left_out(tmp_path):
  changes = [
    (re.search(r'split:.*\n', TEXT)[0], ''),
    (re.search(r'history:.*\n', TEXT)[0], ''),
    ('folder: ../../runs/books/data\n', ''),
    ('  time: bought_at\n  time_unit: ms\n', ''),
  ]
  found = read(tmp_path, *changes)
  assert (found.split.train, found.history.most) == (0.8, 50)
  assert found.events[0].files == str(tmp_path / 'ratings.csv')
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
    *('split:', '  - {name: y_v1, prompt: a}\nsplit:', 32),
    "no key answer; expected one of ['lists', 'choice', 'number', 'rank', 'text']",
  ),
  'no likes': (
    '        likes: The reader enjoys\n',
    '',
    25,
    'no key likes; expected a text',
  ),
  'no value': (
    '  value: stars\n',
    '',
    8,
    'events.scale: there is no value: expected a column of events as value',
  ),
  'an empty section': (
    'history: {most: 40}',
    'history:',
    20,
    'history: nothing; expected keys',
  ),
  'an apostrophe': (
    'name: book_subjects_v1',
    "name: reader's",
    22,
    'expected a name with',
  ),
  'a unit of nothing': ('  time: bought_at\n', '', 10, 'there is no time'),
  'a format': ('{value} stars', '{value:d} stars', 19, 'Unknown format code'),
  'texts of items alone': (
    *('  - "The book is rated with {value} stars"\n', '', 16),
    'no text with {value}; expected one or more of each',
  ),
  'an alias of nothing': (
    *('lists: {sub', 'columns: {autor: a}\n  lists: {sub', 15),
    'items.columns.autor: nothing uses this name; did you mean author?',
  ),
  'an alias of a key': (
    *('  user: customer', '  columns: {user: a}\n  user: customer', 6),
    'events.columns.user: is a key of its own',
  ),
  'a column twice': (
    *('  user: customer', '  header: [a, a]\n  user: a', 6),
    'header: a column stands twice',
  ),
  'a long number': ('most: 2', f'most: {"9" * 5000}', 30, 'expected a whole number'),
  'an unknown layout': (
    *('  user: customer', '  layout: netflix\n  user: customer', 6),
    "events.layout: 'netflix'; expected one of ['rows', 'item_blocks']",
  ),
  'an item beside blocks': (
    *('  item: isbn\n', '  item: isbn\n  layout: item_blocks\n', 7),
    'events.item: lines such as 7: name the items in layout item_blocks; leave out',
  ),
  'blocks without a header': (
    *('  item: isbn\n', '  layout: item_blocks\n', 7),
    'events.layout: expected header: [...] with the columns of a row, two or more',
  ),
  'blocks with one column': (
    *('  item: isbn\n', '  layout: item_blocks\n  header: [customer]\n', 8),
    'events.header: expected header: [...] with the columns of a row, two or more',
  ),
  'blocks that lack a column': (
    *('  item: isbn\n', '  layout: item_blocks\n  header: [customer, star]\n', 9),
    "events.value: 'stars' is no column of header ['customer', 'star']; did you mean",
  ),
  'a colon between columns': (
    '  item: isbn\n',
    '  delimiter: "::"\n  layout: item_blocks\n  header: [customer, stars]\n',
    7,
    "events.delimiter: '::'; expected a delimiter without the colon",
  ),
  'blocks of items': (
    *('  lists:', '  layout: item_blocks\n  lists:', 15),
    'items.layout: unknown key',
  ),
  'another answer': (
    '      lists:',
    '      guess:',
    25,
    'guess: unknown key; expected one of',
  ),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_mistakes(name, tmp_path):
  old, new, line, told = MISTAKES[name]
  with pytest.raises(JobError) as caught:
    read(tmp_path, (old, new))
  said = str(caught.value)
  assert told in said
  assert f'books.yaml, line {line}:' in said


def test_item_blocks(tmp_path):
  header = 'layout: item_blocks\n  header: [day, stars, bought_at, customer]'
  found = read(tmp_path, ('item: isbn', header)).event_format
  (source,) = read(tmp_path, ('item: isbn', header)).events
  assert source.layout == 'item_blocks'
  assert found(source).absent == ('item',)
  assert found(source).columns == {
    'user': 'customer',
    'rating': 'stars',
    'timestamp': 'bought_at',
  }
  (source,) = read(tmp_path, ('item: isbn', 'item: isbn\n  layout: rows')).events
  assert found(source).absent == ()


def test_sources(tmp_path):
  block = re.search(r'events:\n((?:  .*\n)+)', TEXT)[1]
  listed = '  - ' + block.strip().replace('\n', '\n  ') + '\n'
  other = listed.replace('ratings.csv', 'more.json').replace('customer', 'who')
  found = read(tmp_path, (block, listed + other))
  assert [x.columns['user'] for x in found.events] == ['customer', 'who']
  names = [x.files.rpartition('/')[2] for x in found.events]
  assert names == ['ratings.csv', 'more.json']
  assert found.event_format(found.events[1]).columns['user'] == 'who'
  for old, new, told in (
    ('1:5:1', '1:10:1', r'line 16: events\[1\].scale: .*as in the first source'),
    ('    time: bought_at\n    time_unit: ms\n', '', r'line 12: .*in all, or in none'),
  ):
    assert old in other
    with pytest.raises(JobError, match=told):
      read(tmp_path, (block, listed + other.replace(old, new)))


@pytest.mark.parametrize(
  ('place', 'folder', 'files', 'found'),
  [
    ('gs://b/d', '', 'ratings.csv', 'gs://b/d/ratings.csv'),
    ('gs://b/d/e', '../data', 'part-*.csv', 'gs://b/d/data/part-*.csv'),
    ('/x', 'gs://b/data', 'ratings.csv', 'gs://b/data/ratings.csv'),
    ('/x', '', 'gs://b/ratings.csv', 'gs://b/ratings.csv'),
    ('gs://b', '', '/y/ratings.csv', '/y/ratings.csv'),
    ('', '', 'ratings.csv', 'ratings.csv'),
    ('x', 'data', 'file:///y/ratings.csv', '/y/ratings.csv'),
    ('/x', '../data', 'r.csv', '/data/r.csv'),
  ],
)
def test_where_files_are(place, folder, files, found):
  assert join_place(join_place(place, folder or '.'), files) == found


def test_other_names_of_columns(tmp_path):
  found = read(
    tmp_path,
    ('  user: customer\n', '  user: who\n  columns: {who: "user_id:token"}\n'),
    ('  lists:', '  columns: {author: "written by"}\n  lists:'),
  )
  assert found.events[0].columns['user'] == 'user_id:token'
  movies = found.item_format()
  assert movies.columns['field:author'] == 'written by'
  assert movies.columns['title'] == 'title'


@pytest.mark.parametrize(
  ('data', 'told'),
  [
    ('name: é'.encode('latin-1'), 'is not UTF-8'),
    (b'a: &a [*a]', 'nested too deep, or hold themselves'),
    (b'[' * 5000, 'nested too deep'),
    (b'- a', 'line 1: a list; expected keys with values'),
  ],
)
def test_files_that_are_none(data, told, tmp_path):
  (tmp_path / 'x.yaml').write_bytes(data)
  with pytest.raises(JobError, match=told):
    read_dataset(str(tmp_path / 'x.yaml'))


def test_texts_and_numbers(tmp_path):
  """As YAML 1.2 and JSON read them."""
  text = 'a: [Yes, 1:5:1, 2015-01-31, !!str 5, "6", 7, -1.5, 1e3, true, ~]'
  parts = read_yaml('x', text).get('a').value
  assert [part.value for part in parts] == [
    *('Yes', '1:5:1', '2015-01-31', '5', '6', 7, -1.5),
    *('1e3', True, None),
  ]


def test_columns_that_no_header_has(tmp_path):
  header = '  header: [isbn, title, author, published, subjects, blurb]\n'
  files = '  files: books.csv\n'
  read(tmp_path, (files, files + header))
  told = (
    r'line 20: texts\[1\]: \{blurb\} is no column of items or events; did you mean '
  )
  user = '  user: customer\n'
  events = (user, f'  header: [customer, isbn, stars, bought_at]\n{user}')
  with pytest.raises(JobError, match=told + r'\{blurbs\}\?'):
    read(tmp_path, events, (files, files + header.replace(', blurb', ', blurbs')))


def test_a_file_that_is_not_there(tmp_path):
  with pytest.raises(JobError, match=r'--dataset: .*none.yaml'):
    read_dataset(str(tmp_path / 'none.yaml'))
  (tmp_path / 'empty.yaml').write_text('# nothing\n')
  with pytest.raises(JobError, match=r'empty\.yaml is empty; expected a dataset file'):
    read_dataset(str(tmp_path / 'empty.yaml'))
