"""Texts of interactions that name columns of users, from files to histories."""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipelines.common.job import JobError
from pipelines.dataset.dataset_file import read_dataset
from pipelines.inspect import dataset_view
from tests.histories import contents
from tests.pipelines.dataset.test_texts_beside_items import (
  FILE,
  _events,
  data,  # noqa: F401  a fixture
  run,
  write,
)

TEXTS = [
  'The book {title}',
  'Of {title}[ a reader of {age}] says {review}',
  '[Read by a {job}]',
  'The book has {value} stars',
]


@pytest.fixture
def changes(tmp_path):
  """Some users without a row or a column, one with two rows."""
  (tmp_path / 'users.csv').write_text(
    'id,age,job\n0,20,miner\n1,31,\n2,,cook\n3,N/A,cook\n3,40,miner\n'
    + ''.join(f'{user},{user + 20},clerk\n' for user in range(6, 25, 2))
  )
  users = {'files': str(tmp_path / 'users.csv'), 'user': 'id', 'fields': ['age', 'job']}
  return {'users': users, 'texts': TEXTS}


def _expected(data, users):  # noqa: F811
  """(user, item, time) -> texts of the event: pandas and Python."""
  told = pd.read_csv(users['files'], keep_default_na=False, dtype=str)
  told = told.replace('N/A', '').sort_values(['id', 'age', 'job'])
  told = told.drop_duplicates('id').set_index('id')
  books = pd.read_csv(data / 'books.csv').set_index('isbn')['title']
  found = {}
  for row in pd.read_csv(data / 'reviews.csv', keep_default_na=False).itertuples():
    user, review = str(row.customer), row.review.replace('N/A', '')
    age, job = told.loc[user] if user in told.index else ('', '')
    by = f' a reader of {age}' if age else ''
    first = f'Of {books.get(row.isbn)}{by} says {review}' if review or age else ''
    second = f'Read by a {job}' if job else ''
    found[user, row.isbn, row.bought_at] = first, second
  return found


def test_each_event_has_its_text(data, tmp_path, changes):  # noqa: F811
  info = run(data, tmp_path / 'h', **changes)
  found, expected = _events(tmp_path / 'h'), _expected(data, changes['users'])
  assert len(found) > 80
  assert {event: expected[event] for event in found} == found
  assert {('', ''), ('', 'Read by a miner')} & {*found.values()}
  table = pq.read_table(tmp_path / 'h' / 'event_texts.parquet')
  assert info['counts']['event_texts'] == table.num_rows
  shown = dataset_view.describe_dataset(
    str(write(data, tmp_path / 'x.yaml', **changes))
  )
  assert {tuple(x[2:]) for x in shown['interactions']} <= {*expected.values()}


def test_any_blocks(data, tmp_path, changes):  # noqa: F811
  run(data, tmp_path / 'h', '--num_shards=2', **changes)
  small = '--num_shards=2', '--block_bytes=500'
  run(data, tmp_path / 'again', *small, **changes)
  before, again = contents(tmp_path / 'h'), contents(tmp_path / 'again')
  names = [name for name in before if not name.endswith(('.json', 'COMPLETED'))]
  assert [again[name] for name in names] == [before[name] for name in names]


def test_a_name_of_events_is_theirs(data, tmp_path, changes):  # noqa: F811
  reviews = pd.read_csv(data / 'reviews.csv').assign(job='own')
  reviews.to_csv(tmp_path / 'reviews.csv', index=False)
  changes['users']['fields'] = ['age']
  events = {**FILE['events'], 'files': str(tmp_path / 'reviews.csv')}
  path = write(data, tmp_path / 'x.yaml', events=events, **changes)
  assert read_dataset(str(path)).events[0].of_users == ('age',)
  changes['users']['fields'] = ['age', 'job']
  path = write(data, tmp_path / 'x.yaml', events=events, **changes)
  with pytest.raises(JobError, match="no prompt or text names 'job'"):
    read_dataset(str(path))


def test_texts_that_stand_for_items(data, tmp_path, changes):  # noqa: F811
  events = {'files': 'reviews.csv', 'user': 'customer', 'time': 'bought_at'}
  without = {**FILE, **changes, 'events': events, 'texts': ['{review} {age}']}
  del without['items']
  (tmp_path / 'x.json').write_text(json.dumps({**without, 'folder': str(data)}))
  with pytest.raises(JobError, match=r'\{age\} is a column of users, and the text'):
    read_dataset(str(tmp_path / 'x.json'))
