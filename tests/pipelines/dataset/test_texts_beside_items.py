"""Events with items and texts of their own, from dataset files to predictions."""

import json
import logging
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import seqio
import yaml

from persoma_tf import encoders, recipes, testing
from persoma_tf.training import training_run  # noqa: F401  registers what recipes set
from pipelines import build_histories
from pipelines.common.job import JobError
from pipelines.dataset.dataset_file import read_dataset
from pipelines.events import file_blocks
from pipelines.events.check import KnownTexts, read_ratings
from pipelines.histories import history_records
from pipelines.inspect import dataset_view
from pipelines.items import catalogue, item_table
from pipelines.try_dataset import run_chain
from tasks import text_history
from tasks.history_columns import HistoryColumns
from tasks.item_statistics import interaction_vectors
from tasks.item_vectors import ItemVectors, load_words
from tasks.schema import FACTORS
from tests.histories import contents

LIKE = {
  'name': 'like_v1',
  'prompt': 'Will they like {title}?',
  'answer': {'choice': ['Yes', 'No']},
  'examples': {'holdout': {'last': 2}, 'answer': 'value > 3'},
}
FILE = {
  'name': 'books',
  'events': {
    'files': 'reviews.csv',
    'user': 'customer',
    'item': 'isbn',
    'value': 'stars',
    'scale': '1:5:1',
    'time': 'bought_at',
  },
  'items': {'files': 'books.csv', 'item': 'isbn', 'lists': {'subjects': ';'}},
  'texts': [
    'The book {title}',
    'The reader wrote: {review}',
    'Of {title} on {subjects} the reader says {review}',
    'The book has {value} stars',
  ],
  'history': {'most': 5},
  'questions': [LIKE],
  'split': {'train': 0.6, 'validation': 0.2, 'test': 0.2, 'seed': 1},
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """A shop whose reviews are free text, partly none."""
  folder = tmp_path_factory.mktemp('shop')
  rng = np.random.default_rng(0)
  books = pd.DataFrame({'isbn': [f'b{x}' for x in range(12)]})
  books['title'] = [f'Book {x % 9}' for x in range(12)]
  books['subjects'] = rng.choice(['War', 'War;Love', ''], 12)
  books.to_csv(folder / 'books.csv', index=False)
  size = 300
  reviews = pd.DataFrame(
    {
      'customer': rng.integers(0, 25, size).astype(str),
      'isbn': rng.choice(books['isbn'], size),
      'stars': rng.integers(1, 6, size),
      'bought_at': 10**9 + rng.permutation(size),
      'review': [f'good, "really" {x % 90} €' for x in range(size)],
    }
  )
  reviews.loc[rng.random(size) < 0.3, 'review'] = ''
  reviews.loc[4, ['isbn', 'review']] = 'b99', 'of an unknown book'
  reviews.loc[5:7, 'review'] = 'N/A'
  reviews.to_csv(folder / 'reviews.csv', index=False)
  return folder


def write(data, path, **changes):
  path.write_text(yaml.safe_dump({**FILE, 'folder': str(data), **changes}))
  return path


def run(data, output, *flags, **changes):
  path = write(data, output.with_suffix('.yaml'), **changes)
  build_histories.run([f'--dataset={path}', f'--output_dir={output}', *flags])
  return json.loads((output / 'dataset_info.json').read_text())


@pytest.fixture(scope='module')
def made(data, tmp_path_factory):
  folder = tmp_path_factory.mktemp('made')
  return run_chain(write(data, folder / 'books.yaml'), folder / 'made')


def _expected(data):
  """(user, item, time) -> texts of the event: pandas and Python."""
  books = pd.read_csv(data / 'books.csv').fillna('').set_index('isbn')
  reviews = pd.read_csv(data / 'reviews.csv', keep_default_na=False)
  reviews = reviews[reviews['isbn'].isin(books.index)]
  found = {}
  for row in reviews.itertuples():
    book, review = books.loc[row.isbn], row.review if row.review != 'N/A' else ''
    about = f'Of {book.title} on {book.subjects.replace(";", ", ")} the reader says '
    texts = (f'The reader wrote: {review}', f'{about}{review}') if review else ('', '')
    found[str(row.customer), row.isbn, row.bought_at] = texts
  return found


def _events(histories):
  """(user, item, time) -> texts of each event in a record."""
  items = pq.read_table(histories / 'items.parquet')['item_id'].to_pylist()
  texts = pq.read_table(histories / 'event_texts.parquet').to_pylist()
  found = {}
  for file in history_records.list_history_files(str(histories), 'all', 'like_v1'):
    kinds = history_records.schema.example_kinds(())
    for example in history_records.read_history_file(file, kinds):
      shown = (example[f'history_{x}'] for x in ('items', 'timestamps', 'texts'))
      for item, time, row in zip(*map(np.ndarray.tolist, shown), strict=True):
        text = texts[row]['text_1'], texts[row]['text_2']
        found[example['user_id'], items[item], time] = text
  return found


def test_each_event_has_its_text(data, made):
  histories, expected = made.folder / 'histories', _expected(data)
  found = _events(histories)
  assert len(found) > 80
  assert ('', '') in found.values()
  assert {event: expected[event] for event in found} == found
  table = pq.read_table(histories / 'event_texts.parquet')
  texts = [*zip(*(table[x].to_pylist() for x in ('text_1', 'text_2')), strict=True)]
  # The event with an unknown book has none, and is a reject.
  assert texts == sorted({*expected.values()})
  assert made.counts['event_texts'] == len(texts)
  assert made.counts['rows_rejected_by_reason'] == {'unknown_item': 1}
  assert made.info['schema']['history_texts'] == 'int64'
  assert made.info['dataset']['texts'] == [FILE['texts'][0], FILE['texts'][3]]


def test_any_blocks(data, made, tmp_path):
  run(data, tmp_path / 'h', '--block_bytes=500')
  again, before = contents(tmp_path / 'h'), contents(made.folder / 'histories')
  names = [name for name in before if not name.endswith(('.json', 'COMPLETED'))]
  assert 'event_texts.parquet' in names
  assert [again[name] for name in names] == [before[name] for name in names]


def test_each_distinct_text_has_a_vector(made):
  folder = made.folder
  vectors = ItemVectors(str(folder / 'embeddings'))
  table = pq.read_table(folder / 'histories' / 'event_texts.parquet')
  columns = [table[name].to_pylist() for name in ('text_1', 'text_2')]
  assert columns[0][0] == columns[1][0] == ''
  encoder = encoders.load_encoder(str(folder / 'small_encoder'))
  expected = [encoder.encode(column[1:]) for column in columns]
  of_texts = vectors.tables[2]
  assert not of_texts[0].any()  # as of an item with an empty text
  np.testing.assert_allclose(of_texts[1:], np.concatenate(expected, axis=1), atol=1e-5)
  info = json.loads((folder / 'embeddings' / 'encoder_info.json').read_text())
  texts = {*columns[0], *columns[1], *(f'The book Book {x}' for x in range(9))}
  assert info['distinct_texts'] == len(texts - {''}) + len(made.info['rating_values'])
  assert vectors.width == info['width'] == 4 * 16


def test_training_reads_the_vectors_of_the_texts(made):
  """Examples of the task against `gather` on the records."""
  recipes.parse_recipes(
    ['runs/choice.gin'],
    [
      f'HISTORIES_DIR = {str(made.folder / "histories")!r}',
      f'EMBEDDINGS_DIR = {str(made.folder / "embeddings")!r}',
      f'DECODER = {str(made.folder / "small_decoder")!r}',
      *testing.SMALL_RECIPE,
    ],
  )
  vectors, plain = interaction_vectors(), ItemVectors(str(made.folder / 'embeddings'))
  told = 2 + FACTORS  # statistics and factors, which the user is told of the item
  assert vectors.width == plain.width + told
  histories, kinds = str(made.folder / 'histories'), history_records.schema.EXAMPLE
  stored = {}
  for file in history_records.list_history_files(histories, 'train', 'like_v1'):
    for example in history_records.read_history_file(file, kinds):
      stored[example['example_id']] = HistoryColumns.of_record(example)
  task = seqio.get_mixture_or_task('choice_v1')
  lengths = {'inputs': 200, 'targets': 20, 'history_mask': 5}
  rows = [*task.get_dataset(lengths, 'train', shuffle=False).as_numpy_iterator()]
  assert len(rows) == len(stored) > 0
  for row in rows:
    history = stored[row['example_id'].decode()]
    expected = vectors.gather(history, row['user_id'])
    np.testing.assert_array_equal(row['history_embeddings'], expected)
    size, own = len(plain.tables[0][0]), plain.gather(history)
    np.testing.assert_array_equal(expected[:, :size], own[:, :size])
    np.testing.assert_array_equal(expected[:, size + told :], own[:, size:])


def test_predictions(made):
  assert len(made.rows) == made.counts['examples']['like_v1']['test'] > 0
  assert {row['answer'] for row in made.rows} <= {'Yes', 'No'}


def test_a_history_as_text(made):
  """The texts stand behind those of item and value; empty ones are left out."""
  histories = str(made.folder / 'histories')
  words = load_words(str(made.folder / 'embeddings'))

  class Letters:
    encode = staticmethod(lambda text: [*map(ord, text)])
    notice_unknown = staticmethod(lambda *_: None)

  shown = text_history.Interactions(histories, Letters(), words, 'Why?')
  table = pq.read_table(made.folder / 'histories' / 'event_texts.parquet')
  history = HistoryColumns(np.array([3, 3]), np.float32([4, 4]), np.array([7, 0]))
  limits = text_history.HistoryLimits(9, 10_000)
  text = ''.join(map(chr, shown.prompt(history, limits).tolist()))
  row = table.to_pylist()[7]
  title = pq.read_table(f'{histories}/items.parquet')['title'][3].as_py()
  book = f'The book {title}. The book has 4 stars'
  assert text == f'{book}. {row["text_1"]}. {row["text_2"]}\n{book}\nWhy?'


def test_it_is_shown(data, tmp_path):
  found = dataset_view.describe_dataset(str(write(data, tmp_path / 'books.yaml')))
  shown = {tuple(row) for row in found['interactions']}
  assert all(row[0].startswith('The book Book ') for row in shown)
  assert {row[2:] for row in shown} <= {*_expected(data).values()}


def test_each_source_has_its_own_texts(data, tmp_path):
  """Reviews, and purchases in another form with a text of their own."""
  (tmp_path / 'bought.json').write_text(
    '{"who": "3", "what": "b1", "n": 2, "at": 1, "note": "a gift"}\n'
    '{"who": "3", "what": "b2", "n": 2, "at": 2}\n'
  )
  bought = {
    'files': str(tmp_path / 'bought.json'),
    **{'user': 'who', 'item': 'what', 'value': 'n', 'scale': '1:5:1', 'time': 'at'},
    'texts': ['Bought: {note} [[{title}]]'],
  }
  reviews = {**FILE['events'], 'texts': ['{review}']}
  texts = [FILE['texts'][0], FILE['texts'][3]]
  run(data, tmp_path / 'h', events=[reviews, bought], texts=texts)
  table = pq.read_table(tmp_path / 'h' / 'event_texts.parquet')
  wanted = {
    texts[0].removeprefix('The reader wrote: ') for texts in _expected(data).values()
  }
  wanted |= {'Bought: a gift [Book 1]', 'of an unknown book'}  # of a reject, too
  assert {*table['text_1'].to_pylist()} == wanted


def test_files_that_change_meanwhile(data, tmp_path):
  dataset = read_dataset(str(write(data, tmp_path / 'books.yaml')))
  files = dataset.find_files()
  items = catalogue.read_items(files['movies']).table
  (block,) = file_blocks.cut_blocks(files['ratings'], 1 << 20)
  columns = item_table.item_columns(items, ('title', 'subjects'))
  known = KnownTexts(pa.array(['']), columns)
  with pytest.raises(JobError, match='events have texts that they did not have'):
    next(read_ratings(block, columns.ids, dataset.scale, known))


def test_item_lines(data, tmp_path):
  (tmp_path / 'blocks.txt').write_text('b1:\n3,4,7,fine\n4,4,7,\nb2:\n3,5,8,fine\n')
  events = {
    'files': str(tmp_path / 'blocks.txt'),
    'layout': 'item_blocks',
    'header': ['user', 'stars', 'at', 'note'],
    **{'user': 'user', 'value': 'stars', 'scale': '1:5:1', 'time': 'at'},
  }
  texts = [FILE['texts'][0], '{title}: {note}', FILE['texts'][3]]
  info = run(data, tmp_path / 'h', events=events, texts=texts)
  table = pq.read_table(tmp_path / 'h' / 'event_texts.parquet')
  assert table['text_1'].to_pylist() == ['', 'Book 1: fine', 'Book 2: fine']
  assert info['counts']['rows_kept'] == 3


def test_a_name_of_both_is_the_items(data, tmp_path, caplog):
  reviews = pd.read_csv(data / 'reviews.csv').assign(title='Mine')
  reviews.to_csv(tmp_path / 'reviews.csv', index=False)
  events = {**FILE['events'], 'files': str(tmp_path / 'reviews.csv')}
  with caplog.at_level(logging.INFO):
    path = write(data, tmp_path / 'x.yaml', events=events)
    (source,) = read_dataset(str(path)).events
  assert source.of_items == ('title', 'subjects')
  assert '{title} is the column of the items; columns, under events' in caplog.text
  events['columns'] = {'heading': 'title'}
  texts = ['{title}', '{heading}: {review}', '{value}']
  path = write(data, tmp_path / 'x.yaml', events=events, texts=texts)
  dataset = read_dataset(str(path))
  assert dataset.events[0].of_items == ()
  columns = dataset.event_format(dataset.events[0]).columns
  assert columns['field:heading'] == 'title'
  # A name that events give themselves is theirs, even if items have it.
  events['columns'] = {'title': 'review'}
  texts = ['{subjects}', '{title} of {subjects}', '{value}']
  path = write(data, tmp_path / 'x.yaml', events=events, texts=texts)
  dataset = read_dataset(str(path))
  assert dataset.events[0].of_items == ('subjects',)
  columns = dataset.event_format(dataset.events[0]).columns
  assert columns['field:title'] == 'review'


TEXT = yaml.safe_dump(FILE, sort_keys=False)
OF_USERS = 'a column of users'
MISTAKES = {
  'no column of either': ('{review}', '{revew}', '{revew} is no column of items or ev'),
  'the nearest name': ('{review}', '{titel}', 'did you mean {title}?'),
  'the nearest of events': ('{review}', '{reviews}', 'did you mean {review}?'),
  'nothing near': ('{review}', '{xyz}', "expected one of ['bought_at', 'customer', "),
  OF_USERS: (
    'wrote: {review}',
    'wrote: {agee}',
    '{agee} is no column of items or events, nor in users.fields; did you mean {age}?',
  ),
  'a text of items': (
    '  user: customer\n',
    "  user: customer\n  texts: ['{title}']\n",
    'no column of these events; expected a text of items in texts',
  ),
  'a value within': (
    '{review}',
    '{review} {value}',
    "two texts, whose vectors stand side by side, or the value's own column",
  ),
  'no text of items': (
    '- The book {title}\n',
    '',
    'no text with a column of the item; expected one or more of each',
  ),
  'a format': ('{review}', '{review:d}', 'Unknown format code'),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_mistakes(name, data):
  old, new, said = MISTAKES[name]
  users = 'users: {files: u.csv, user: id, fields: [age]}\n' * (name == OF_USERS)
  text = TEXT.replace(old, new, 1) + users
  assert text != TEXT
  (data / 'wrong.yaml').write_text(text)
  with pytest.raises(JobError, match=rf'wrong\.yaml, line \d+: .*{re.escape(said)}'):
    read_dataset(str(data / 'wrong.yaml'))
