"""Data without items, values and times: texts of events stand for items."""

import json
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from persoma_tf import testing
from pipelines import build_histories, embed_items
from pipelines.common.job import JobError
from pipelines.dataset.dataset_file import read_dataset
from pipelines.histories import history_records
from pipelines.inspect import dataset_view
from tasks.history_columns import HistoryColumns
from tasks.interaction_texts import OwnTexts
from tasks.item_vectors import ItemVectors
from tests.histories import contents

CHURN = {
  'name': 'churn_v1',
  'prompt': 'Will they come back?',
  'answer': {'choice': ['Yes', 'No']},
  'examples': {'files': 'asked.csv', 'user': 'who', 'answer': 'back'},
}
FILE = {
  'name': 'notes',
  'events': [
    {
      'files': 'notes-*.csv',
      'user': 'who',
      'texts': ['They wrote: {note}', '[on {page}]'],
    },
    {
      'files': 'calls.json',
      'user': 'caller',
      'texts': ['They called for {minutes} minutes', '[about {topic}]'],
    },
  ],
  'questions': [CHURN],
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  folder = tmp_path_factory.mktemp('notes')
  rng = np.random.default_rng(0)
  notes = pd.DataFrame(
    {
      'who': rng.integers(0, 25, 200).astype(str),
      'note': rng.choice(['good, really', 'bad', 'für 5 €', '', 'N/A'], 200),
      'page': rng.choice(['start', '', 'prices'], 200),
    }
  )
  notes[:120].to_csv(folder / 'notes-1.csv', index=False)
  notes[120:].to_csv(folder / 'notes-2.csv', index=False)
  calls = pd.DataFrame(
    {
      'caller': rng.integers(0, 25, 90).astype(str),
      'minutes': rng.integers(1, 9, 90),
      'topic': rng.choice(['a bill', None], 90),
    }
  )
  calls.to_json(folder / 'calls.json', orient='records', lines=True)
  asked = pd.DataFrame({'who': [str(x) for x in range(25)]})
  asked['back'] = rng.choice(['Yes', 'No', ''], 25)
  asked.to_csv(folder / 'asked.csv', index=False)
  return folder


def run(data, output, *flags, **changes):
  path = output.with_suffix('.yaml')
  path.write_text(yaml.safe_dump({**FILE, 'folder': str(data), **changes}))
  build_histories.run(
    [f'--dataset={path}', f'--output_dir={output}', '--max_reject_fraction=1', *flags]
  )
  return json.loads((output / 'dataset_info.json').read_text())


@pytest.fixture(scope='module')
def made(data, tmp_path_factory):
  output = tmp_path_factory.mktemp('made') / 'h'
  return output, run(data, output)


def _expected(data):
  """(user, texts) of each event in the order of the rows: pandas."""
  names = ('notes-1.csv', 'notes-2.csv')
  notes = pd.concat([pd.read_csv(data / x, dtype=str) for x in names]).fillna('')
  calls = pd.read_json(data / 'calls.json', lines=True, dtype={'caller': str})
  rows = []
  for row in notes.itertuples():
    note = '' if row.note == 'N/A' else row.note
    rows.append(
      (row.who, (f'They wrote: {note}', f'on {row.page}' if row.page else ''))
    )
  for row in calls.itertuples():
    topic = f'about {row.topic}' if isinstance(row.topic, str) else ''
    rows.append((row.caller, (f'They called for {row.minutes} minutes', topic)))
  return rows


def test_each_text_is_an_item(data, made):
  output, info = made
  rows = [row for row in _expected(data) if row[1] != ('They wrote: ', '')]
  empty = len(_expected(data)) - len(rows)
  assert empty
  items = pq.read_table(output / 'items.parquet')
  texts = [(x['text_1'], x['text_2']) for x in items['fields'].to_pylist()]
  assert texts == sorted({text for _, text in rows})
  assert len({*items['item_id'].to_pylist()}) == items.num_rows
  assert info['counts']['rows_in'] == len(rows) + empty == 290
  assert info['counts']['rows_rejected_by_reason'] == {'empty_text': empty}
  assert info['dataset']['texts'] == ['{text_1}', '{text_2}']
  found = {}
  for file in history_records.list_history_files(str(output), 'all', 'churn_v1'):
    kinds = history_records.schema.example_kinds(())
    for example in history_records.read_history_file(file, kinds):
      found[example['user_id']] = [texts[x] for x in example['history_items']]
      assert {*example['history_ratings'].tolist()} <= {1.0}
  expected = {}
  for user, text in rows:
    mine = expected.setdefault(user, {})
    mine.pop(text, None)
    mine[text] = None  # the newest event with a text counts
  assert found == {user: [*texts][::-1][:50] for user, texts in expected.items()}


def test_any_blocks(data, made, tmp_path):
  output, _ = made
  run(data, tmp_path / 'h', '--block_bytes=100')
  again, before = contents(tmp_path / 'h'), contents(output)
  names = [name for name in before if not name.endswith(('.json', 'COMPLETED'))]
  assert [again[name] for name in names] == [before[name] for name in names]


def test_events_without_a_text_are_rejected(data, tmp_path):
  events = [{**FILE['events'][0], 'texts': ['{note}']}]
  info = run(data, tmp_path / 'h', events=events)
  rows = pd.concat([pd.read_csv(data / f'notes-{x}.csv') for x in (1, 2)])
  empty = int(rows.note.isna().sum())  # pandas reads N/A as nan, too
  assert info['counts']['rows_rejected_by_reason'] == {'empty_text': empty}
  assert info['counts']['rows_kept'] + empty < 200


def test_each_distinct_text_has_a_vector(made, tmp_path):
  output, info = made
  encoder = testing.write_encoder(tmp_path / 'encoder')
  flags = [f'--histories_dir={output}', f'--encoder={encoder}']
  embed_items.run([*flags, f'--output_dir={tmp_path / "e"}'])
  vectors = ItemVectors(str(tmp_path / 'e'))
  items = pq.read_table(output / 'items.parquet')
  assert [table.shape for table in vectors.tables] == [(items.num_rows, 32)]
  assert vectors.width == 32
  shown = vectors.gather(HistoryColumns(np.array([2, 0]), np.float32([1, 1])))
  np.testing.assert_array_equal(shown, vectors.tables[0][[2, 0]])
  words = OwnTexts.of(info['dataset']['texts'])
  empty = [not text for text in words.item_texts(items)[1]]
  assert any(empty)
  assert not vectors.tables[0][np.array(empty), 16:].any()


def test_it_is_shown(data, tmp_path):
  (tmp_path / 'notes.yaml').write_text(yaml.safe_dump({**FILE, 'folder': str(data)}))
  found = dataset_view.describe_dataset(str(tmp_path / 'notes.yaml'))
  assert found['interactions'][0][0].startswith('They ')
  assert found['questions']['churn_v1']['prompts'][0]['prompt'] == CHURN['prompt']


def test_values_without_items(data, tmp_path):
  """Calls have a value, which is a text of its own."""
  events = {
    'files': 'calls.json',
    'user': 'caller',
    'value': 'minutes',
    'scale': '1:8:1',
  }
  texts = ['about [{topic}|nothing]', 'for {value:.0f} minutes']
  info = run(data, tmp_path / 'h', events=events, texts=texts)
  assert info['dataset']['texts'] == ['{text_1}', 'for {value:.0f} minutes']
  assert info['rating_values'] == [*map(float, range(1, 9))]


TEXT = yaml.safe_dump(FILE, sort_keys=False)
MISTAKES = {
  'an item without items': (
    'user: who',
    'item: page\n  user: who',
    'there are no item',
  ),
  'another number of texts': (
    "- '[about {topic}]'",
    '',
    '1 texts; expected 2, as in the first source',
  ),
  'a value in a text of events': (
    'They wrote: {note}',
    '{value}',
    '{value} is a text of all events',
  ),
  'no texts': ("texts:\n  - 'They wrote: {note}'\n  - '[on {page}]'", '', 'no text of'),
  'a scale without a value': (
    'user: caller',
    'user: caller\n  scale: 1:5:1',
    'no value',
  ),
  'lists': (
    'choice:\n    - Yes\n    - No\n  examples:\n    files: asked.csv\n    user: who\n'
    '    answer: back\n',
    'lists: {}\n',
    'lists name categories of items',
  ),
  'own events': (
    '    files: asked.csv\n    user: who\n    answer: back\n',
    '    holdout: {last: 1}\n',
    'there are no items that an example could be about',
  ),
  'a search in texts of events': (
    'name: notes',
    'name: notes\nhistory: {sampler: sparse_retrieval, query: good}',
    'here these are of events, also later ones; expected another sampler',
  ),
  'an example about an item': (
    'examples:\n    files',
    'examples:\n    item: page\n    files',
    'there are no items that an example could be about',
  ),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_mistakes(name, tmp_path):
  old, new, said = MISTAKES[name]
  text = re.sub(r"'(Yes|No)'", r'\1', TEXT)
  assert old in text
  (tmp_path / 'notes.yaml').write_text(text.replace(old, new, 1))
  with pytest.raises(JobError, match=re.escape(said)):
    read_dataset(str(tmp_path / 'notes.yaml'))
