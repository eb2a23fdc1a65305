"""Jobs with examples, from dataset files to records, against pandas."""

import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from pipelines import build_histories
from pipelines.common.job import JobError
from pipelines.histories import history_records
from pipelines.inspect import dataset_view
from tasks import schema
from tests.histories import contents

T = 1_400_000_000
ASKED = {'files': 'asked.csv', 'user': 'who', 'item': 'what', 'time': 'when'}
ASKED |= {'answer': 'liked', 'fields': ['why']}
LIKE = {
  'name': 'like_v1',
  'prompt': 'Will they like {title} {why}?',
  'answer': {'choice': {'Yes': 1, 'No': 0}},
  'examples': ASKED,
}
LAST = {
  'name': 'last_v1',
  'prompt': 'Will they like {title}?',
  'answer': {'choice': ['Yes', 'No']},
  'examples': {'holdout': {'last': 3}, 'answer': 'value > 3'},
}
LISTS = {
  'name': 'genres_v1',
  'prompt': 'Genres:',
  'answer': {
    'lists': {
      'of': 'genres',
      'likes': 'They like',
      'dislikes': ' and avoid',
      'rule': {'least': 2, 'liked_above': 3.5, 'disliked_below': 3},
    }
  },
}
FILE = {
  'name': 'shop',
  'events': {
    'files': 'events.csv',
    'user': 'user',
    'item': 'item',
    'value': 'stars',
    'time': 'time',
    'scale': '1:5:1',
  },
  'items': {'files': 'items.csv', 'item': 'id', 'lists': {'genres': '|'}},
  'texts': ['The thing {title}', 'It has {value} stars'],
  'history': {'most': 5},
  'questions': [LIKE, LAST, LISTS],
  'split': {'train': 0.5, 'validation': 0.2, 'test': 0.3, 'seed': 3},
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """A shop: events with ties, examples with everything that can be wrong."""
  folder = tmp_path_factory.mktemp('shop')
  rng = np.random.default_rng(0)
  items = pd.DataFrame({'id': [f'i{x}' for x in range(30)]})
  items['title'] = 'Thing ' + items['id']
  items['genres'] = rng.choice(['A', 'B', 'A|C', ''], 30)
  items.to_csv(folder / 'items.csv', index=False)
  events = pd.DataFrame(
    {
      'user': rng.integers(0, 40, 900),
      'item': rng.choice(items['id'], 900),
      'stars': rng.integers(1, 6, 900),
      'time': T + rng.integers(1_000, 1_300, 900),
    }
  ).astype({'user': str})
  events.to_csv(folder / 'events.csv', index=False)
  size = 400
  asked = pd.DataFrame(
    {
      'who': rng.integers(0, 42, size).astype(str),
      'what': rng.choice(items['id'], size),
      'when': (T + rng.integers(990, 1_310, size)).astype(str),
      'why': rng.choice(['as a present', 'für 5 €', ''], size),
      'liked': rng.choice(['1', '0', '', '0.0'], size),
      'fold': rng.choice(schema.SPLITS, size),
    }
  )
  asked.loc[3, 'what'], asked.loc[5, 'when'] = 'i99', 'soon'
  asked.loc[7, 'liked'], asked.loc[11, 'fold'] = 'perhaps', 'half'
  asked.to_csv(folder / 'asked.csv', index=False)
  return folder


def run(data, output, *flags, **changes):
  text = yaml.safe_dump({**FILE, 'folder': str(data), **changes}, sort_keys=False)
  path = output.with_suffix('.yaml')
  path.write_text(text)
  flags = ['--max_reject_fraction=0.1', *flags]
  build_histories.run([f'--dataset={path}', f'--output_dir={output}', *flags])
  return json.loads((output / 'dataset_info.json').read_text())


def examples(output, question, split='all', fields=('why',)):
  """The records of a question."""
  kinds = schema.example_kinds(fields)
  files = history_records.list_history_files(str(output), split, question)
  return [x for file in files for x in history_records.read_history_file(file, kinds)]


@pytest.fixture(scope='module')
def made(data, tmp_path_factory):
  output = tmp_path_factory.mktemp('made') / 'h'
  return output, run(data, output)


def _history(events, user, time):
  mine = events[(events.user == user) & (events.time < time)]
  order = {'by': ['time', 'stars', 'item'], 'ascending': [False, False, True]}
  mine = mine.sort_values(**order).drop_duplicates('item')
  return mine.sort_values(['time', 'number'], ascending=[False, True])


def test_files_of_examples(data, made):
  output, info = made
  events = pd.read_csv(data / 'events.csv', dtype={'user': str})
  order = {name: x for x, name in enumerate(sorted(f'i{x}' for x in range(30)))}
  events['number'] = events['item'].map(order)
  asked = pd.read_csv(data / 'asked.csv', dtype=str, keep_default_na=False)
  asked = asked[asked.what.isin(order) & (asked.when != 'soon')]
  asked = asked[asked.liked != 'perhaps']
  expected = {}
  for row in asked.drop_duplicates().itertuples():
    history = _history(events, row.who, int(row.when))
    if len(history):
      key = row.who, row.what, row.when, row.liked.replace('.0', ''), row.why
      expected[key] = history
  named = {'Yes': '1', 'No': '0'}
  found = {}
  for each in examples(output, 'like_v1'):
    item = [*order][int(each['example_item'][0])]
    answer = named[each['answer'][0]] if each['answer'] else ''
    key = each['user_id'], item, str(each['example_time'][0]), answer
    found[(*key, each['field_why'][0])] = each
  assert found.keys() == expected.keys()
  for key, history in expected.items():
    each, newest = found[key], history.head(5)
    assert each['history_items'].tolist() == newest.number.tolist()
    assert each['history_ratings'].tolist() == newest.stars.tolist()
    assert each['history_timestamps'].tolist() == newest.time.tolist()
    assert each['history_total'] == len(history)
  assert info['counts']['example_rows']['like_v1']['rows_rejected_by_reason'] == {
    'unknown_item': 1,
    'not_a_number': 1,
    'unknown_answer': 1,
  }


def test_counts_add_up(made):
  output, info = made
  rows = info['counts']['example_rows']
  assert rows['like_v1']['rows_in'] == 400
  for question, counts in info['counts']['examples'].items():
    for split, number in counts.items():
      fields = ('why',) if question == 'like_v1' else ()
      assert len(examples(output, question, split, fields)) == number
    about = rows[question]
    found = about['rows_in'] + about['from_events']
    lost = about['rows_rejected'] + sum(about['dropped'].values())
    assert found == sum(counts.values()) + lost
    answered = info['examples'][question]['answers']
    assert {x: sum(y.values()) for x, y in answered.items()} == counts
  rejects = (output / 'rejects-00000-of-00001.jsonl').read_text().splitlines()
  found = [json.loads(line) for line in rejects]
  assert [(x['reason'], x['record']['line']) for x in found] == [
    ('unknown_item', 5),
    ('not_a_number', 7),
    ('unknown_answer', 9),
  ]
  assert found[2]['record']['field'] == 'liked'
  assert found[2]['record']['expected'] == "one of ['0', '1']"


def test_users_and_their_examples_are_in_one_split(made):
  output, _ = made
  splits = {}
  for split in schema.SPLITS:
    for file in history_records.list_history_files(str(output), split):
      for history in history_records.read_history_file(file):
        splits[history['user_id']] = split
  assert {*splits.values()} == {*schema.SPLITS}
  for question, fields in (('like_v1', ('why',)), ('last_v1', ())):
    for split in schema.SPLITS:
      of_split = examples(output, question, split, fields)
      assert {splits[x['user_id']] for x in of_split} == {split}


def test_questions_change_nothing_of_others(data, made, tmp_path):
  """The histories of users are those without any examples."""
  output, _ = made
  run(data, tmp_path / 'alone', questions=[LISTS])
  alone = contents(tmp_path / 'alone')
  both = contents(output)
  shards = [name for name in alone if name.endswith('.tfrecord')]
  assert len(shards) == 3
  assert all(alone[name] == both[name] for name in shards)
  run(data, tmp_path / 'asked', questions=[LAST])
  asked = contents(tmp_path / 'asked')
  assert not any(x.endswith('.tfrecord') and '/' not in x for x in asked)
  names = [x for x in both if x.startswith('questions/last_v1/')]
  assert len(names) == 3
  assert all(asked[x] == both[x] for x in names)


_MANY = ('--direct_running_mode=multi_processing', '--direct_num_workers=2')


@pytest.mark.parametrize(
  'flags', [('--block_bytes=300',), ('--runner=DirectRunner', *_MANY)], ids=str
)
def test_any_workers_and_blocks(data, made, tmp_path, flags):
  output, _ = made
  run(data, tmp_path / 'h', *flags)
  again, before = contents(tmp_path / 'h'), contents(output)
  names = [name for name in before if not name.endswith(('.json', 'COMPLETED'))]
  assert all(again[name] == before[name] for name in names)
  assert len(names) == 11


def test_compressed_files_and_shards(data, made, tmp_path):
  output, _ = made
  text = (data / 'asked.csv').read_bytes()
  (data / 'asked.csv.gz').write_bytes(gzip.compress(text))
  asked = {**LIKE, 'examples': {**ASKED, 'files': 'asked.csv.gz'}}
  flags = '--num_shards=3', '--compression=GZIP'
  run(data, tmp_path / 'h', *flags, questions=[asked])
  ids = lambda folder: sorted(x['example_id'] for x in examples(folder, 'like_v1'))
  assert ids(tmp_path / 'h') == ids(output)


def _as_json(asked, folder):
  """Numbers, truth values and nothing."""
  rows = asked.to_dict('records')
  values = {'1': True, '0': False, '0.0': False, '': None}
  for row in rows:
    row['liked'] = values.get(row['liked'], row['liked'])
    row['when'] = int(row['when']) if row['when'].isdigit() else row['when']
  text = ''.join(json.dumps(row) + '\n' for row in rows)
  (folder / 'asked.json').write_text(text)
  return 'asked.json', {'Yes': True, 'No': False}


def _as_parquet(asked, folder):
  """Truth values as such, and times of Arrow; bad rows are not possible there."""
  good = asked[(asked.when != 'soon') & (asked.liked != 'perhaps')].copy()
  values = {'1': True, '0': False, '0.0': False, '': None}
  good['liked'] = good['liked'].map(values).astype('boolean')
  good['when'] = pd.to_datetime(good['when'].astype(int), unit='s')
  good.to_parquet(folder / 'asked.parquet')
  return 'asked.parquet', {'Yes': 'true', 'No': 'false'}


@pytest.mark.parametrize('make', [_as_json, _as_parquet])
def test_other_files(data, made, tmp_path, make):
  asked = pd.read_csv(data / 'asked.csv', dtype=str, keep_default_na=False)
  name, options = make(asked, data)
  question = {
    **LIKE,
    'answer': {'choice': options},
    'examples': {**ASKED, 'files': name},
  }
  run(data, tmp_path / 'h', questions=[question])
  expected = examples(made[0], 'like_v1')
  found = examples(tmp_path / 'h', 'like_v1')
  for each in (*expected, *found):
    each['example_id'] = each['example_id'].partition('#')[0]
  key = lambda example: sorted((name, str(x)) for name, x in example.items())
  assert sorted(map(key, found)) == sorted(map(key, expected))


def test_by_time(data, tmp_path):
  split = {'by': 'time', 'validation': T + 1_200, 'test': '2014-05-13T17:14:10'}
  flags = ('--num_shards=2',)
  info = run(data, tmp_path / 'h', *flags, questions=[LIKE, LAST], split=split)
  first = {'train': 0, 'validation': T + 1_200, 'test': T + 1_250}
  last = {'train': T + 1_200, 'validation': T + 1_250, 'test': T + 9_999}
  for name in schema.SPLITS:
    times = [
      int(x['example_time'][0]) for x in examples(tmp_path / 'h', 'like_v1', name)
    ]
    assert times
    assert first[name] <= min(times) <= max(times) < last[name]
  assert info['counts']['users']['test'] == 0
  files = [x for x in contents(tmp_path / 'h') if 'like_v1/test' in x]
  assert sorted(files) == [
    f'questions/like_v1/test-{x:05}-of-00002.tfrecord' for x in range(2)
  ]


def test_by_column(data, tmp_path):
  split = {'by': 'column', 'column': 'fold'}
  info = run(data, tmp_path / 'h', questions=[LIKE], split=split)
  asked = pd.read_csv(data / 'asked.csv', dtype=str, keep_default_na=False)
  folds = asked.set_index(['who', 'what', 'when'])['fold'].to_dict()
  for name in schema.SPLITS:
    for each in examples(tmp_path / 'h', 'like_v1', name):
      key = tuple(each['example_id'].partition('#')[0].split(':'))
      assert '#' in each['example_id'] or folds[key] == name
  reasons = info['counts']['example_rows']['like_v1']['rows_rejected_by_reason']
  assert reasons['unknown_split'] == 1


def test_popularity_is_counted_before_the_first_example(data, tmp_path):
  """Events after it change the records of none but those that hold them."""
  first = {**LAST, 'examples': {'holdout': {'after': T + 1_250}, 'answer': 'value > 3'}}
  drawn = {
    'holdout': {'after': T + 1_250},
    'negatives': {'each': 2, 'by': 'popularity'},
  }
  negative = {**LAST, 'name': 'drawn_v1', 'examples': drawn}
  changes = {'questions': [first, negative]}
  changes['history'] = {'sampler': 'popularity', 'most': 3}
  run(data, tmp_path / 'a', **changes)
  events = pd.read_csv(data / 'events.csv')
  later = events.time > T + 1_250
  events.loc[later, 'item'] = 'i7'
  other = tmp_path / 'other'
  other.mkdir()
  (other / 'items.csv').write_bytes((data / 'items.csv').read_bytes())
  events.to_csv(other / 'events.csv', index=False)
  run(other, tmp_path / 'b', **changes)
  of = lambda folder: {
    (x['user_id'], *x['example_time']): x['history_items'].tolist()
    for x in examples(tmp_path / folder, 'last_v1', fields=())
    if x['example_time'][0] == T + 1_250
  }
  before, after = of('a'), of('b')
  both = before.keys() & after.keys()
  assert len(both) > 3
  assert all(after[key] == before[key] for key in both)


def test_without_times(data, tmp_path):
  """The order of the rows is the truth, whatever the blocks."""
  events = {key: value for key, value in FILE['events'].items() if key != 'time'}
  run(data, tmp_path / 'a', questions=[LAST], events=events)
  run(data, tmp_path / 'b', '--block_bytes=200', questions=[LAST], events=events)
  found = examples(tmp_path / 'a', 'last_v1', fields=())
  again = examples(tmp_path / 'b', 'last_v1', fields=())
  assert list(map(str, found)) == list(map(str, again))
  rows = pd.read_csv(data / 'events.csv', dtype={'user': str})
  rows['rank'] = rows.groupby('user').cumcount()
  kept = rows.drop_duplicates(['user', 'item'], keep='last')
  last = kept.groupby('user').tail(3)
  expected = {f'{x.user}:{x.item}:{x.rank}' for x in last.itertuples() if x.rank}
  assert {x['example_id'] for x in found} == expected


def test_it_is_shown_before_it_is_run(data, tmp_path):
  text = yaml.safe_dump({**FILE, 'folder': str(data)}, sort_keys=False)
  (tmp_path / 'shop.yaml').write_text(text)
  found = dataset_view.describe_dataset(str(tmp_path / 'shop.yaml'))
  asked = found['questions']['like_v1']
  assert asked['rejected']['unknown_answer']['value'] == 'perhaps'
  assert asked['examples'] == 400 - 3 - sum(asked['dropped'].values())
  prompt = asked['prompts'][0]
  assert prompt['prompt'].startswith('Will they like Thing i')
  assert found['questions']['last_v1']['prompts'][0]['answer'] in ('Yes', 'No')
  assert found['prompts']


def test_no_examples_are_told(data, tmp_path):
  late = {**LAST, 'examples': {'holdout': {'after': T + 5_000}, 'answer': 'value > 3'}}
  with pytest.raises(JobError, match='question last_v1 has no examples'):
    run(data, tmp_path / 'h', questions=[late])


def test_too_many_rejects_are_told(data, tmp_path):
  own = {**ASKED, 'answer': 'why'}
  del own['fields']
  asked = {**LIKE, 'prompt': 'Will they like {title}?', 'examples': own}
  with pytest.raises(Exception, match='rows of --dataset, like_v1 are rej'):
    run(data, tmp_path / 'h', questions=[asked])


def test_columns_of_users(data, tmp_path):
  """Prompts name columns of a table of users; repeated and bad rows are counted."""
  rng = np.random.default_rng(1)
  users = pd.DataFrame({'id': [str(x) for x in range(35)]})
  users['city'] = rng.choice(['Bonn', 'Ulm', ''], 35)
  users.to_csv(data / 'users.csv', index=False)
  with open(data / 'users.csv', 'a') as file:
    file.write('3,Zwickau\n,Bonn\n1,2,3\n')
  asked = {**LIKE, 'prompt': 'Will someone of {city} like {title} {why}?'}
  of_users = {'files': 'users.csv', 'user': 'id', 'fields': ['city']}
  info = run(data, tmp_path / 'h', questions=[asked, LAST], users=of_users)
  cities = users.set_index('id').city.to_dict()
  fields = 'why', 'city'
  found = examples(tmp_path / 'h', 'like_v1', fields=fields)
  assert found
  for each in found:
    assert each['field_city'] == [cities.get(each['user_id'], '')]
  assert info['dataset']['questions']['like_v1']['fields'] == [*fields]
  assert info['dataset']['questions']['last_v1']['fields'] == []
  assert info['counts']['user_rows'] == {
    'rows_in': 38,
    'rows_kept': 35,
    'rows_rejected': 2,
    'rows_rejected_by_reason': {'empty_field': 1, 'wrong_column_count': 1},
    'dropped': {'repeated_user': 1},
  }
  shown = dataset_view.describe_dataset(str(tmp_path / 'h.yaml'))
  prompts = [x['prompt'] for x in shown['questions']['like_v1']['prompts']]
  assert all(re.match('Will someone of (Bonn|Ulm|) like Thing', x) for x in prompts)


def test_a_folder_is_made_again(data, tmp_path):
  """With other questions, after a run that stopped, and after one that was killed."""
  output = tmp_path / 'h'
  late = {**LAST, 'examples': {'holdout': {'after': T + 5_000}, 'answer': 'value > 3'}}
  with pytest.raises(JobError, match='has no examples'):
    run(data, output, questions=[late])
  run(data, output, questions=[LIKE])
  killed = output / f'attempt-{"0" * 32}' / 'questions' / 'like_v1'
  killed.mkdir(parents=True)
  (killed / 'train-00000-of-00001.tfrecord').write_bytes(b'')
  run(data, output, '--overwrite', questions=[LAST])
  folders = [path for path in output.rglob('*') if path.is_dir()]
  assert sorted(path.name for path in folders) == ['last_v1', 'questions']
  assert examples(output, 'last_v1', fields=())


def test_ids_of_ones_own_and_numbers_of_seven_digits(data, tmp_path):
  """An id need only be unique for its user; values are not rounded."""
  folder = tmp_path / 'other'
  folder.mkdir()
  (folder / 'items.csv').write_bytes((data / 'items.csv').read_bytes())
  rows = [f'{u},i{x},{1_234_565 + x},{T + x}\n' for u in 'ab' for x in range(4)]
  (folder / 'events.csv').write_text('user,item,stars,time\n' + ''.join(rows))
  asked = ''.join(f'{u},i5,{T + 9},1,x,{n}\n' for u in 'ab' for n in (1, 2))
  (folder / 'asked.csv').write_text(f'who,what,when,liked,why,number\n{asked}')
  events = {**FILE['events'], 'scale': '0:9000000:1'}
  numbered = {**LIKE, 'examples': {**ASKED, 'id': 'number'}}
  above = {'holdout': {'last': 3}, 'answer': 'value > 1234567'}
  value = {**LAST, 'examples': above}
  run(folder, tmp_path / 'h', questions=[numbered, value], events=events)
  found = examples(tmp_path / 'h', 'like_v1')
  names = [(x['user_id'], x['example_id']) for x in found]
  assert sorted(names) == [('a', '1'), ('a', '2'), ('b', '1'), ('b', '2')]
  found = examples(tmp_path / 'h', 'last_v1', fields=())
  answers = {x['example_id'].split(':')[1]: x['answer'] for x in found}
  assert answers == {'i1': ['No'], 'i2': ['No'], 'i3': ['Yes']}


def test_values_that_name_no_option(data, tmp_path):
  stars = {
    **LAST,
    'answer': {'choice': {'low': 1, 'high': 5}},
    'examples': {'holdout': {'last': 3}, 'answer': 'value'},
  }
  info = run(data, tmp_path / 'h', questions=[stars])
  dropped = info['counts']['example_rows']['last_v1']['dropped']
  answers = [x['answer'] for x in examples(tmp_path / 'h', 'last_v1', fields=())]
  assert dropped['unknown_answer'] > 10
  assert {*map(tuple, answers)} == {('low',), ('high',)}


def test_words_are_looked_for_in_items(data, tmp_path):
  """And `inspect` shows it; the texts of events would tell what comes later."""
  words = {'sampler': 'sparse_retrieval', 'most': 2, 'query': 'i7 i8'}
  run(data, tmp_path / 'h', questions=[LAST], history=words)
  shown = dataset_view.describe_dataset(str(tmp_path / 'h.yaml'))
  assert shown['questions']['last_v1']['answers'].keys() == {'Yes', 'No'}


def test_free_words_are_kept_as_they_are(tmp_path):
  items = pd.DataFrame({'id': ['i1', 'i2'], 'title': ['One', 'Two'], 'genres': 'A'})
  items.to_csv(tmp_path / 'items.csv', index=False)
  users = [f'u{x}' for x in range(6)]
  events = pd.DataFrame({'user': users, 'item': 'i1', 'stars': 2, 'time': T})
  # What is valued again counts anew: an example in between has the first value.
  again = events.assign(stars=5, time=T + 100)
  pd.concat([events, again]).to_csv(tmp_path / 'events.csv', index=False)
  said = ['None', '-', ' N/A ', '', 'für "5" €, gern', 'x']
  asked = pd.DataFrame({'who': users, 'when': T + 50, 'name': said})
  asked.to_csv(tmp_path / 'asked.csv', index=False)
  question = {'name': 'name_v1', 'prompt': 'Name:', 'answer': {'text': {}}}
  own = {'files': 'asked.csv', 'user': 'who', 'time': 'when', 'answer': 'name'}
  info = run(tmp_path, tmp_path / 'made', questions=[{**question, 'examples': own}])
  found = examples(tmp_path / 'made', 'name_v1', fields=())
  answers = {x['user_id']: [*x['answer']] for x in found}
  wanted = [[text.strip()] if text else [] for text in said]
  assert answers == dict(zip(users, wanted, strict=True))
  assert {y for x in found for y in x['history_ratings'].tolist()} == {2.0}
  assert info['rating_values'] == [2.0, 5.0]
