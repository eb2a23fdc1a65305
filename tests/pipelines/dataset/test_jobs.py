"""Jobs on dataset files, against the flags; the same data in files of other forms."""

import csv
import gzip
import json
import pickle
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from persoma_tf import testing
from pipelines import build_histories, embed_items
from pipelines.common.job import JobError
from pipelines.dataset import dataset_flags
from pipelines.embeddings import encoder_texts
from pipelines.inspect import dataset_view
from tasks import interaction_texts
from tasks.interaction_texts import OwnTexts
from tasks.item_vectors import ItemVectors
from tests.histories import build, contents, histories
from tests.pipelines.dataset.test_dataset_file import ROOT

MOVIELENS = (ROOT / 'examples' / 'movielens' / 'genres.yaml').read_text()


def write(folder, *changes):
  """Writes MovieLens's dataset file beside its data."""
  text = re.sub('folder: .*\n', '', MOVIELENS)
  for old, new in changes:
    assert old in text
    text = text.replace(old, new, 1)
  (folder / 'genres.yaml').write_text(text)
  return folder / 'genres.yaml'


def run(dataset, output, *flags):
  build_histories.run([f'--dataset={dataset}', f'--output_dir={output}', *flags])
  return json.loads((output / 'dataset_info.json').read_text())


def records(output):
  """The bytes of all shards."""
  return {name: data for name, data in contents(output).items() if '.tfrecord' in name}


@pytest.fixture(scope='module')
def data(tiny, tmp_path_factory):
  """A MovieLens folder of one's own."""
  folder = tmp_path_factory.mktemp('data')
  for name in ('ratings.csv', 'movies.csv'):
    (folder / name).write_bytes((tiny / name).read_bytes())
  return folder


@pytest.fixture(scope='module')
def expected(data, tmp_path_factory):
  """The folder that the flags make."""
  output = tmp_path_factory.mktemp('flags') / 'histories'
  build(data, output)
  return output


@pytest.mark.parametrize('cut', ['0.5', '2001-09-09T01:55:00'])
def test_labels_of_the_future(cut, data, tmp_path):
  rule = 'disliked_below: 3.0', f'disliked_below: 3.0, after: {cut}'
  info = run(write(data, rule), tmp_path / 'own', '--num_shards=1')
  flags = '--label_mode=future', f'--label_cutoff={cut}'
  build(data, tmp_path / 'flags', *flags)
  assert info['label_mode'] == 'future'
  assert records(tmp_path / 'own') == records(tmp_path / 'flags') != {}
  with pytest.raises(JobError, match=r'rule.after: .soon.: expected a share between'):
    run(write(data, (rule[0], 'disliked_below: 3.0, after: soon')), tmp_path / 'x')
  without_time = (rule, ('  time: timestamp\n', ''))
  with pytest.raises(JobError, match=r'rule.after: the events have no time'):
    run(write(data, *without_time), tmp_path / 'x')


def test_labels_of_the_future_are_asked_alone(tmp_path):
  text = (ROOT / 'examples' / 'movielens' / 'all.yaml').read_text()
  text = text.replace('disliked_below: 3.0', 'disliked_below: 3.0, after: 0.5')
  (tmp_path / 'all.yaml').write_text(text)
  with pytest.raises(JobError, match=r'rule.after: the histories of users end there'):
    run(tmp_path / 'all.yaml', tmp_path / 'x')


def test_the_flags_make_the_same(data, expected, tmp_path):
  info = run(write(data), tmp_path / 'h', '--num_shards=1')
  assert records(tmp_path / 'h') == records(expected)
  before = json.loads((expected / 'dataset_info.json').read_text())
  assert before['counts'] == info['counts']
  assert before['label_rule'] == info['label_rule']
  assert before['genres'] == info['genres']
  items = pq.read_table(tmp_path / 'h' / 'items.parquet')
  assert items.drop_columns('fields').equals(pq.read_table(expected / 'items.parquet'))
  known = None, 'fields', items, info['rating_values']
  words = OwnTexts.of(info['dataset']['texts'])
  assert encoder_texts.template_texts(*known, words) == (
    encoder_texts.template_texts(*known)
  )


def _as_json(data, folder):
  """JSON lines, with numbers and lists as such."""
  for name in ('ratings', 'movies'):
    rows = pd.read_csv(data / f'{name}.csv').to_dict('records')
    for row in rows:
      if name == 'movies':
        row['genres'] = row['genres'].split('|')
    text = '\n'.join(map(json.dumps, rows)) + '\n'
    (folder / f'{name}.json.gz').write_bytes(gzip.compress(text.encode()))
  return [('ratings.csv', '"*ings.json.gz"'), ('movies.csv', 'movies.json.gz')]


def _as_parquet(data, folder):
  ratings = pd.read_csv(data / 'ratings.csv')
  ratings['timestamp'] = pd.to_datetime(ratings['timestamp'], unit='s')
  ratings.to_parquet(folder / 'ratings.parquet')
  movies = pd.read_csv(data / 'movies.csv')
  movies['genres'] = movies['genres'].str.split('|')
  table = pa.Table.from_pandas(movies)
  pq.write_table(table, folder / 'movies.parquet')
  return [('ratings.csv', 'ratings.parquet'), ('movies.csv', 'movies.parquet')]


def _without_header(data, folder):
  """Other dates, another delimiter, columns in another order."""
  ratings = pd.read_csv(data / 'ratings.csv')
  time = pd.to_datetime(ratings['timestamp'], unit='s')
  ratings['timestamp'] = [f'{x.year}/{x.month}/{x.day} {x:%H:%M:%S} UTC' for x in time]
  order = ['timestamp', 'rating', 'movieId', 'userId']
  ratings[order].to_csv(folder / 'r.txt', sep='\t', header=False, index=False)
  movies = pd.read_csv(data / 'movies.csv')
  movies.to_csv(
    folder / 'm.txt', sep=';', header=False, index=False, quoting=csv.QUOTE_ALL
  )
  header = f'  header: [{", ".join(order)}]\n  delimiter: tab\n  time_unit: iso\n'
  of_items = '  header: [movieId, title, genres]\n  delimiter: ";"\n'
  return [
    ('  files: ratings.csv\n', f'  files: r.txt\n{header}'),
    ('  files: movies.csv\n', f'  files: m.txt\n{of_items}'),
  ]


def _as_item_blocks(data, folder):
  """The form of the Netflix Prize, in two files, one of them compressed."""
  ratings = pd.read_csv(data / 'ratings.csv')
  ratings['timestamp'] = pd.to_datetime(ratings['timestamp'], unit='s')
  files = [b'', b'']
  for number, (item, rows) in enumerate(ratings.groupby('movieId')):
    rows = rows[['userId', 'rating', 'timestamp']].to_csv(header=False, index=False)
    files[number % 2] += f'{item}:\n{rows}'.encode()
  (folder / 'blocks_1.txt').write_bytes(files[0].replace(b'\n', b'\r\n'))
  (folder / 'blocks_2.txt').write_bytes(gzip.compress(files[1]))
  keys = ['files: blocks_*.txt', 'layout: item_blocks', 'time_unit: iso']
  keys.append('header: [userId, rating, timestamp]')
  return [
    ('  files: ratings.csv\n', ''.join(f'  {key}\n' for key in keys)),
    ('  item: movieId\n', ''),
    ('movies.csv', str(data / 'movies.csv')),
  ]


@pytest.mark.parametrize('block_bytes', [300, 5000, 1 << 23])
def test_item_blocks(block_bytes, data, expected, tmp_path):
  """One worker reads what another one has the item of."""
  dataset = write(tmp_path, *_as_item_blocks(data, tmp_path))
  flags = ['--num_shards=1', f'--block_bytes={block_bytes}']
  info = run(dataset, tmp_path / 'h', *flags)
  assert records(tmp_path / 'h') == records(expected)
  before = json.loads((expected / 'dataset_info.json').read_text())
  assert info['counts'] == before['counts']  # lines with items do not count


def test_rejects_of_item_blocks(data, tmp_path):
  changes = _as_item_blocks(data, tmp_path)
  file = tmp_path / 'blocks_1.txt'
  lines = file.read_text().splitlines()
  wrong = ['5,3,2005-09-06', *lines, 'none:', '5,4,2005-09-06', '5,4', '', 'end']
  file.write_text('\n'.join(wrong))
  dataset = write(tmp_path, *changes)
  info = run(dataset, tmp_path / 'h', '--block_bytes=300')
  ratings, counts = pd.read_csv(data / 'ratings.csv'), info['counts']
  assert counts['rows_in'] == len(ratings) + 5
  assert counts['rows_kept'] == len(ratings)
  rows = [
    json.loads(line)
    for path in (tmp_path / 'h').glob('rejects-*')
    for line in path.read_text().splitlines()
  ]
  found = {row['record']['line']: row for row in rows}
  assert {line: row['reason'] for line, row in found.items()} == {
    1: 'no_item_line',
    len(wrong) - 3: 'unknown_item',
    len(wrong) - 2: 'wrong_column_count',
    len(wrong) - 1: 'blank_line',
    len(wrong): 'wrong_column_count',
  }
  unknown = found[len(wrong) - 3]['record']
  assert (unknown['field'], unknown['value']) == ('item', 'none')
  assert unknown['file'].endswith('blocks_1.txt')
  shown = dataset_view.describe_dataset(str(dataset))
  assert shown['rows']['read'] == shown['rows']['kept'] + shown['rows']['rejected']
  assert shown['rows']['rejected'] == 5


@pytest.mark.parametrize('form', [_as_json, _as_parquet, _without_header])
def test_files_of_other_forms(form, data, expected, tmp_path):
  changes = form(data, tmp_path)
  run(write(tmp_path, *changes), tmp_path / 'h', '--num_shards=1')
  assert records(tmp_path / 'h') == records(expected)


def test_rows_without_times_are_in_their_order(data, tmp_path):
  """In several blocks and two files."""
  ratings = pd.read_csv(data / 'ratings.csv').sample(frac=1, random_state=0)
  ratings = ratings.drop(columns='timestamp')
  half = len(ratings) // 2
  ratings[:half].to_csv(tmp_path / 'ratings-0.csv', index=False)
  ratings[half:].to_csv(tmp_path / 'ratings-1.csv', index=False)
  (tmp_path / 'movies.csv').write_bytes((data / 'movies.csv').read_bytes())
  changes = [('  time: timestamp\n', ''), ('ratings.csv', 'ratings-*.csv')]
  dataset = write(tmp_path, *changes)
  info = run(dataset, tmp_path / 'h', '--block_bytes=1000')
  assert info['dataset']['times'] == 'order of the rows'
  items = pq.read_table(tmp_path / 'h' / 'items.parquet')['item_id'].to_pylist()
  for user, history in histories(tmp_path / 'h').items():
    newest_first = ratings[ratings.userId == int(user)].movieId[::-1]
    found = [int(items[item]) for item in history['history_items']]
    assert found == newest_first.tolist()
  run(dataset, tmp_path / 'again', '--block_bytes=1000000')
  made, again = (histories(tmp_path / name) for name in ('h', 'again'))
  assert made.keys() == again.keys()
  for user, history in made.items():
    np.testing.assert_array_equal(
      history['history_items'], again[user]['history_items']
    )


def test_several_sources(data, expected, tmp_path):
  """Half of the ratings as CSV, half as JSON lines with other names."""
  ratings = pd.read_csv(data / 'ratings.csv')
  ratings[::2].to_csv(tmp_path / 'ratings.csv', index=False)
  more = ratings[1::2].rename(columns={'userId': 'who', 'rating': 'stars'})
  more.to_json(tmp_path / 'more.json', orient='records', lines=True)
  (tmp_path / 'movies.csv').write_bytes((data / 'movies.csv').read_bytes())
  block = re.search(r'events:\n((?:  .*\n)+)', MOVIELENS)[1]
  listed = '  - ' + block.strip().replace('\n', '\n  ') + '\n'
  other = listed.replace('ratings.csv', 'more.json').replace('userId', 'who')
  other = other.replace('value: rating', 'value: stars')
  dataset = write(tmp_path, (block, listed + other))
  info = run(dataset, tmp_path / 'h', '--num_shards=1')
  assert records(tmp_path / 'h') == records(expected)
  assert info['counts']['rows_in'] == len(ratings)
  names = [file['name'] for file in info['inputs']['ratings']]
  assert names == ['ratings.csv', 'more.json']
  shown = dataset_view.describe_dataset(str(dataset))
  assert [path.rpartition('/')[2] for path in shown['events']] == names


def test_lines_that_are_no_json(data, tmp_path):
  changes = _as_json(data, tmp_path)
  file = tmp_path / 'ratings.json.gz'
  lines = gzip.decompress(file.read_bytes()).decode().splitlines()
  lines[3] = lines[3][:-5]
  lines[7] = json.dumps({**json.loads(lines[7]), 'rating': None})
  lines[9] = '[1]'
  file.write_bytes(gzip.compress('\n'.join(lines).encode()))
  dataset = write(tmp_path, *changes)
  info = run(dataset, tmp_path / 'h')
  reasons = {'not_json': 2, 'empty_field': 1}
  assert info['counts']['rows_rejected_by_reason'] == reasons
  rows = [
    json.loads(line)['record']
    for path in (tmp_path / 'h').glob('rejects-*')
    for line in path.read_text().splitlines()
  ]
  assert [row['line'] for row in rows] == [4, 8, 10]
  assert rows[0]['raw'] == lines[3]
  assert rows[0]['expected'] == 'a JSON object'
  assert (rows[1]['field'], rows[1]['value']) == ('rating', '')


def test_flags_that_the_file_decides(data, tmp_path):
  dataset = write(data)
  for flag in ('max_history=9', 'max_history=50', 'seed=0', 'ratings=x.csv'):
    with pytest.raises(JobError, match=f'--{flag} beside --dataset: expected this'):
      run(dataset, tmp_path / 'h', f'--{flag}')
  with pytest.raises(SystemExit):
    build_histories.run([f'--output_dir={tmp_path}/h', f'--ratings={data}/x.csv'])


SAME = {
  'a comment': ('name:', '# a comment\nname:'),
  'a licence': ('license: see', 'license: not to see'),
}
OTHER = {
  'value': ('value: rating', 'value: timestamp'),
  'time_unit': ('time: timestamp', 'time: timestamp\n  time_unit: ms'),
  'time': ('  time: timestamp\n', ''),
  'separator': ('genres: "|"', 'genres: "/"'),
  'quotes': ('files: movies.csv', 'files: movies.csv\n  quotes: none'),
  'text': ('The movie is rated', 'The film is rated'),
  'prompt': ('Genres:', 'Kinds:'),
  'words': ('The user likes', 'This user likes'),
  'rule': ('least: 3', 'least: 2'),
  'split': ('questions:', 'split: {train: 0.5, test: 0.5}\nquestions:'),
}


def settings(dataset):
  """What the folder's fingerprint is made from, without its files."""
  config = build_histories.Config('h', dataset=str(dataset))
  config, found = dataset_flags.read_flags(config, (), ())
  return {**config.settings(), 'dataset': found.about()}


@pytest.mark.parametrize('name', [*SAME, *OTHER])
def test_what_makes_another_folder(name, tmp_path):
  before = settings(write(tmp_path))
  after = settings(write(tmp_path, (SAME | OTHER)[name]))
  assert (before == after) is (name in SAME)
  assert json.loads(json.dumps(before)) == before
  moved = tmp_path / 'moved'
  moved.mkdir()
  assert settings(write(moved)) == before


def test_a_stale_folder_is_refused(data, tmp_path):
  run(write(data), tmp_path / 'h')
  with pytest.raises(JobError, match='--overwrite'):
    run(write(data, OTHER['separator']), tmp_path / 'h')
  write(data)


def test_json_values_of_other_types_are_rejects(data, tmp_path):
  changes = _as_json(data, tmp_path)
  file = tmp_path / 'ratings.json.gz'
  lines = gzip.decompress(file.read_bytes()).decode().splitlines()
  row = json.loads(lines[0])
  wrong = [
    {**row, 'userId': ['a']},
    {**row, 'rating': [1]},
    {**row, 'timestamp': {'t': 5}},
    {**row, 'movieId': ['i1']},
  ]
  more = [*map(json.dumps, wrong), '{"userId": "\\ud800"}', '[' * 100_000]
  file.write_bytes(gzip.compress('\n'.join([*lines, *more]).encode()))
  info = run(write(tmp_path, *changes), tmp_path / 'h')
  counts = info['counts']
  assert counts['rows_in'] == len(lines) + len(more)
  assert counts['rows_rejected_by_reason'] == {
    'not_a_number': 2,
    'not_json': 2,
    'unknown_item': 1,
  }
  assert sum(counts['users'].values()) == 41  # '["a"]' is a name


def test_json_that_is_no_json_lines(data, tmp_path):
  changes = _as_json(data, tmp_path)
  rows = pd.read_csv(data / 'movies.csv').to_dict('records')
  for text in (json.dumps(rows, indent=1), '[' + json.dumps(rows) + ']'):
    (tmp_path / 'movies.json.gz').write_bytes(gzip.compress(text.encode()))
    with pytest.raises(JobError, match='expected one JSON object a line'):
      run(write(tmp_path, *changes), tmp_path / 'h')
  changes = [*_as_json(data, tmp_path)]
  dataset = write(
    tmp_path, *changes, ('user: userId', 'header: [userId]\n  user: userId')
  )
  with pytest.raises(JobError, match=r"'movieId' is no column of header"):
    run(dataset, tmp_path / 'h')
  header = 'header: [userId, movieId, rating, timestamp]\n  user: userId'
  with pytest.raises(JobError, match='names its columns itself; leave out header'):
    run(write(tmp_path, *changes, ('user: userId', header)), tmp_path / 'h')


def test_vectors_and_the_history_as_text(data, tmp_path):
  """What embed_items and the text baseline make of templates."""
  dataset = write(data, ('{title} is listed with', '{title}. Genres:'))
  info = run(dataset, tmp_path / 'h')
  write(data)
  words = pickle.loads(pickle.dumps(OwnTexts.of(info['dataset']['texts'])))
  items = pq.read_table(tmp_path / 'h' / 'items.parquet')
  names = interaction_texts.item_names(items, words)
  sentence = interaction_texts.interaction_sentence(names[0], 4.5, words)
  title, genres = pd.read_csv(data / 'movies.csv').loc[0, ['title', 'genres']]
  listed = genres.replace('|', ', ')
  said = (
    f'The movie {title}. Genres: genres {listed}. The movie is rated with 4.5 stars'
  )
  assert sentence == said
  ids = items['item_id'].to_pylist()
  given = pa.table({'item': ids, 'vector': [[float(x), 1.0] for x in range(len(ids))]})
  pq.write_table(given, tmp_path / 'vectors.parquet')
  encoder = testing.write_encoder(tmp_path / 'encoder')
  flags = [f'--histories_dir={tmp_path}/h', f'--encoder={encoder}']
  flags.append(f'--item_vectors={tmp_path}/vectors.parquet')
  embed_items.run([*flags, f'--output_dir={tmp_path}/e'])
  vectors = ItemVectors(f'{tmp_path}/e')
  assert vectors.width == 2 + 16
  np.testing.assert_array_equal(vectors.tables[0][:, 0], np.arange(len(ids)))
  with pytest.raises(JobError, match='--item_noun=film: the histories are of the'):
    embed_items.run([*flags, f'--output_dir={tmp_path}/f', '--item_noun=film'])


def test_a_column_that_no_file_has(data, tmp_path):
  dataset = write(data, ('{title} is', '{name} is'))
  told = r'genres\.yaml, line 18: .*\{name\} is no column of items or events; expected'
  with pytest.raises(JobError, match=told):
    run(dataset, tmp_path / 'h')
  dataset = write(data, ('user: userId', 'user: user'))
  with pytest.raises(JobError, match=r'the column user \(did you mean userId\?\) of'):
    run(dataset, tmp_path / 'h')
  write(data)


def test_the_first_rows_are_shown(data, expected):
  found = dataset_view.describe_dataset(str(write(data)), examples=2)
  ratings, movies = (pd.read_csv(data / f'{x}.csv') for x in ('ratings', 'movies'))
  assert found['rows'] == {
    'read': len(ratings),
    'kept': len(ratings),
    'rejected': 0,
    'all_files_read': True,
  }
  assert found['users'] == ratings.userId.nunique()
  lengths = ratings.groupby('userId').size()
  assert found['history_length'] == {
    'median': np.median(lengths),
    'longest': lengths.max(),
  }
  made = histories(expected)
  for prompt in found['prompts']:
    likes = ', '.join(made[prompt['user']]['liked']) or 'none'
    assert prompt['answer'].startswith(f'The user likes {likes} and')
  assert len(found['interactions']) == 2
  for item, value in found['interactions']:
    title = re.fullmatch(r'The movie (.*) is listed with .*', item)[1]
    assert title in set(movies.title)
    assert re.fullmatch(r'The movie is rated with \d\.\d stars', value)


def test_what_is_rejected_is_shown(data, tmp_path):
  text = (data / 'ratings.csv').read_text()
  (tmp_path / 'ratings.csv').write_text(f'{text}9,1,77,1000000000\r\n9,none,3,1\r\n')
  (tmp_path / 'movies.csv').write_bytes((data / 'movies.csv').read_bytes())
  found = dataset_view.describe_dataset(str(write(tmp_path)))
  assert found['rows']['rejected'] == 2
  outside = found['rejected']['rating_outside_scale']
  assert (outside['rows'], outside['value'], outside['column']) == (1, '77', 'rating')
  assert 'the rating scale' in outside['expected']
  assert found['rejected']['unknown_item']['value'] == 'none'
