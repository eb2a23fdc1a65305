"""The small chain that users try dataset files with; it needs no download.

And what `pipelines.inspect` tells of its folders, since making them takes the time.
"""

import collections
import csv
import html
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from examples.books import make_data
from pipelines import try_dataset
from pipelines.common.job import JobError
from pipelines.inspect import __main__ as inspect_command
from pipelines.inspect import floors, printed
from pipelines.try_dataset import run_chain
from tasks.schema import FACTORS
from tests.pipelines.dataset.test_dataset_file import ROOT, TEXT


def write(folder, old='', new=''):
  make_data.write(folder / 'data', readers=60, count=30, seed=0)
  text = TEXT.replace('../../runs/books/data', 'data').replace(old, new)
  (folder / 'books.yaml').write_text(text)
  return folder / 'books.yaml'


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  folder = tmp_path_factory.mktemp('tried')
  return run_chain(write(folder), folder / 'made', 'train.seed = 1')


def test_books(made):
  lines = (made.folder.parent / 'data' / 'ratings.csv').read_text().splitlines()
  assert (made.counts['rows_rejected'], made.counts['rows_in']) == (4, len(lines) - 1)
  assert len(made.rows) == made.counts['users']['test'] > 0
  for row in made.rows:
    assert row['text'].startswith('The reader enjoys ')
    assert row['task'] == 'book_subjects_v1'
  assert 'train.seed = 1\n' in (made.folder / 'model' / 'config.gin').read_text()
  assert (made.folder / 'report' / 'report.html').exists()


def test_floors_are_those_of_the_report(made, capsys):
  folder = made.folder
  found = floors.describe_floors(f'{folder}/histories', f'{folder}/embeddings')
  report = json.loads((folder / 'report' / 'metrics.json').read_text())['methods']
  bound = report['rule_on_sample']['f1']
  for name, row in found['methods'].items():
    assert row['f1'] == pytest.approx(report[name]['f1'])
    assert row['of_the_bound'] == pytest.approx(report[name]['f1'] / bound)
  assert {*report} - {*found['methods']} <= {'persoma', 'draft', 'swapped_users'}
  best = max(set(found['methods']) - {'rule_on_sample'}, key=lambda x: report[x]['f1'])
  assert found['advice'].startswith(f'{best} has ')
  names = ('histories', 'embeddings')
  with pytest.raises(SystemExit) as ended:
    inspect_command.main([f'--{name}_dir={folder}/{name}' for name in names])
  assert not ended.value.code
  assert capsys.readouterr().out == f'{printed.format_floors(found)}\n'
  with pytest.raises(JobError, match='nowhere'):
    floors.describe_floors(f'{folder}/nowhere', f'{folder}/embeddings')


def test_labels_of_the_future_have_no_bound(made, tmp_path):
  histories = shutil.copytree(made.folder / 'histories', tmp_path / 'histories')
  info = json.loads((histories / 'dataset_info.json').read_text())
  (histories / 'dataset_info.json').write_text(
    json.dumps(info | {'label_mode': 'future'})
  )
  found = floors.describe_floors(str(histories), f'{made.folder}/embeddings')
  best, row = max(found['methods'].items(), key=lambda pair: pair[1]['f1'])
  assert row == {'f1': 1.0}, 'the rule on the same events, in this copy'
  assert found['advice'].startswith(f'{best} has F1 1.000 without a language model: a ')
  assert 'bound' not in printed.format_floors(found)


def test_the_command(tmp_path, capsys):
  (tmp_path / 'made').mkdir()
  (tmp_path / 'made' / 'x').write_text('')
  dataset = write(tmp_path)
  with pytest.raises(JobError, match='is not empty'):
    try_dataset.run([f'--dataset={dataset}', f'--output_dir={tmp_path}/made'])
  with pytest.raises(SystemExit):
    try_dataset.run([f'--output_dir={tmp_path}/other'])
  assert '--dataset' in capsys.readouterr().err


def test_a_wrong_file(tmp_path):
  with pytest.raises(JobError, match=r"books\.yaml, line 26: .*'topics'; expected"):
    run_chain(write(tmp_path, 'of: subjects', 'of: topics'), tmp_path / 'made')


@pytest.fixture(scope='module')
def asked(tmp_path_factory):
  """The chain on a choice from a CSV."""
  folder = tmp_path_factory.mktemp('asked')
  make_data.write(folder / 'data', readers=60, count=30, seed=0)
  text = (ROOT / 'examples' / 'books' / 'like.yaml').read_text()
  (folder / 'like.yaml').write_text(text.replace('../../runs/books/data', 'data'))
  return run_chain(folder / 'like.yaml', folder / 'made')


def test_a_choice_from_a_csv(asked):
  with open(asked.folder.parent / 'data' / 'asked.csv', newline='') as file:
    rows = {
      f'{x["customer"]}:{x["isbn"]}:{int(x["asked_at"]) // 1000}': x
      for x in csv.DictReader(file)
      if x['asked_at'].isdigit()
    }
  assert len(asked.rows) == asked.counts['examples']['book_like_v1']['test'] > 0
  for row in asked.rows:
    known = rows[row['example_id']]
    assert (row['user_id'], row['item_id']) == (known['customer'], known['isbn'])
    assert row['answer'] in ('Yes', 'No')
    assert sum(row['draft_probabilities']) == pytest.approx(1, abs=1e-4)
  answered = [x for x in asked.rows if rows[x['example_id']]['liked']]
  right = [
    (row['answer'] == 'Yes') == (rows[row['example_id']]['liked'] == '1')
    for row in answered
  ]
  report = json.loads((asked.folder / 'report' / 'metrics.json').read_text())
  scores = report['methods']['persoma']
  assert scores['examples'] == len(answered) < len(asked.rows)
  assert scores['accuracy'] == pytest.approx(sum(right) / len(right))
  config = (asked.folder / 'model' / 'config.gin').read_text()
  assert "own_question.name = 'book_like_v1'" in config


def test_free_words(tmp_path):
  """The chain on a text from a CSV."""
  make_data.write(tmp_path / 'data', readers=60, count=30, seed=0)
  text = (ROOT / 'examples' / 'books' / 'shelf.yaml').read_text()
  (tmp_path / 'shelf.yaml').write_text(text.replace('../../runs/books/data', 'data'))
  made = run_chain(tmp_path / 'shelf.yaml', tmp_path / 'made')
  assert try_dataset.recipe_of(made.info['dataset']['questions']) == 'runs/text.gin'
  with open(tmp_path / 'data' / 'shelves.csv', newline='') as file:
    named = {row['customer']: row['shelf'] for row in csv.DictReader(file)}
  assert len(made.rows) == made.counts['examples']['book_shelf_v1']['test'] > 0
  for row in made.rows:
    assert row['user_id'] in named
    assert row['answer'] == (row['text'].strip() or None)
  report = json.loads((made.folder / 'report' / 'metrics.json').read_text())
  scored = [row for row in made.rows if named[row['user_id']]]
  right = [row['answer'] == named[row['user_id']] for row in scored]
  ours = report['methods']['persoma']
  assert ours['examples'] == len(scored) < len(made.rows)
  assert ours['exact_match'] == np.mean(right)
  assert {'most_frequent', 'swapped_users'} < {*report['methods']}


def test_floors_of_a_choice(asked, capsys):
  folders = [str(asked.folder / name) for name in ('histories', 'embeddings')]
  found = floors.describe_floors(*folders)
  report = json.loads((asked.folder / 'report' / 'metrics.json').read_text())['methods']
  for name, row in found['methods'].items():
    assert row['auc'] == pytest.approx(report[name]['auc'])
  assert 'without a language model' in found['advice']


def test_make_takes_the_recipe_of_the_question(made, asked):
  """The words of the Makefile, as a shell reads them."""
  text = (ROOT / 'Makefile').read_text().replace('\\\n', ' ')
  words = re.search(r'CHOSEN = \$(.*)', text)[1].replace('$(PYTHON)', sys.executable)
  for chain, recipe in ((made, 'runs/dataset.gin'), (asked, 'runs/choice.gin')):
    assert try_dataset.recipe_of(chain.info['dataset']['questions']) == recipe
    command = f'echo {words.replace("$(RUN)", str(chain.folder))}'
    assert subprocess.check_output(['sh', '-c', command], cwd=ROOT, text=True) == (
      f'{recipe}\n'
    )


@pytest.mark.parametrize(
  ('kinds', 'recipe'),
  [
    (['number'], 'runs/choice.gin'),
    (['lists', 'choice', 'number', 'text'], 'runs/questions.gin'),
    (['text', 'number'], 'runs/questions.gin'),
    (['text', 'text'], 'runs/questions.gin'),
    (['text'], 'runs/text.gin'),
    (['choice', 'rank'], 'runs/choice.gin'),
    (['rank', 'choice'], 'runs/rank.gin'),
  ],
)
def test_the_recipe_follows_from_the_questions(kinds, recipe):
  questions = {f'q{at}_v1': {'kind': kind} for at, kind in enumerate(kinds)}
  assert try_dataset.recipe_of(questions) == recipe


def test_one_model_answers_all_questions(tmp_path):
  make_data.write(tmp_path / 'data', readers=60, count=30, seed=0)
  text = (ROOT / 'examples' / 'books' / 'like.yaml').read_text()
  text = text.replace('../../runs/books/data', 'data')
  found = re.search(r'(?s)\nquestions:\n(.*?\n)(?=\w)', TEXT)[1]
  asked = tmp_path / 'all.yaml'
  asked.write_text(text.replace('questions:\n', f'questions:\n{found}'))
  made = run_chain(asked, tmp_path / 'made')
  counts = made.counts
  expected = {
    'book_subjects_v1': counts['users']['test'],
    'book_like_v1': counts['examples']['book_like_v1']['test'],
  }
  assert collections.Counter(row['task'] for row in made.rows) == expected
  for name in expected:
    assert (made.folder / 'predictions' / name / 'COMPLETED').exists()
    assert (made.folder / 'report' / name / 'scores.txt').exists()


def test_a_ranking_from_a_csv(tmp_path):
  make_data.write(tmp_path / 'data', readers=60, count=30, seed=0)
  rng = np.random.default_rng(0)
  with open(tmp_path / 'data' / 'asked.csv', newline='') as file:
    asked = [x for x in csv.DictReader(file) if x['asked_at'].isdigit()]
  with open(tmp_path / 'data' / 'books.csv', newline='') as file:
    texts = {x['isbn']: '{title} by {author}'.format(**x) for x in csv.DictReader(file)}
  books = sorted(texts)
  asked = [x for x in asked if x['isbn'] in books]
  rows = [['customer', 'asked_at', 'shown', 'chosen']]
  for row in asked:
    shown = {row['isbn'], *rng.choice(books, rng.integers(1, 5))} | {books[0], books[1]}
    rows.append(
      [row['customer'], row['asked_at'], ';'.join(sorted(shown)), row['isbn']]
    )
  rows[1][2], rows[2][2], rows[3][3] = 'unknown;isbn-0001', books[0], ''
  with open(tmp_path / 'data' / 'ranked.csv', 'w', newline='') as file:
    csv.writer(file).writerows(rows)
  text = (ROOT / 'examples' / 'books' / 'like.yaml').read_text()
  start, end = text.index('questions:'), text.index('split:')
  text = f"""{text[:start]}questions:
  - name: book_next_v1
    prompt: "\\nBooks:\\n{{candidates}}\\nNumber of the book:"
    answer: {{rank: {{most: 8, candidate: "{{title}} by {{author}}"}}}}
    examples:
      files: ranked.csv
      user: customer
      time: asked_at
      time_unit: ms
      candidates: shown
      separator: ";"
      answer: chosen
{text[end:]}"""
  (tmp_path / 'next.yaml').write_text(text.replace('../../runs/books/data', 'data'))
  made = run_chain(tmp_path / 'next.yaml', tmp_path / 'made')
  counts = made.counts['example_rows']['book_next_v1']
  reasons = {'unknown_candidate': 1, 'too_few_candidates': 1}
  assert counts['rows_rejected_by_reason'].items() >= reasons.items()
  given = {(x[0], int(x[1]) // 1000): {*x[2].split(';')} for x in rows[1:]}
  assert len(made.rows) == made.counts['examples']['book_next_v1']['test'] > 0
  for row in made.rows:
    time = int(row['example_id'].split(':')[2].partition('#')[0])
    assert {*row['candidates']} == given[row['user_id'], time]
    assert row['draft_answer'] == row['candidates'][0]
    odds = row['draft_probabilities']
    assert odds == sorted(odds, reverse=True)
    assert sum(odds) == pytest.approx(1, abs=1e-4)
  trained = load_file(made.folder / 'model' / 'adapter' / 'adapter.safetensors')
  not_centred = trained['adapter/standardize/mean'] == 0
  assert not_centred.sum() == FACTORS
  assert trained['adapter/draft/forgetting'].shape == (3,)
  report = json.loads((made.folder / 'report' / 'metrics.json').read_text())
  assert {*report['methods']} == {
    *('persoma', 'draft', 'random', 'popularity', 'candidate_share', 'pooled_cosine')
  }
  page = (made.folder / 'report' / 'report.html').read_text()
  assert 'A ranking by soft prompt: book_next_v1' in page
  assert all(f'<b>{method}</b>' in page for method in report['methods'])
  lists = re.findall(
    r'Books:\n((?:\d+\. .+\n)+)Number of the book:', html.unescape(page)
  )
  listed = [re.findall(r'(?m)^(\d+)\. (.+)$', x) for x in lists]
  known = [sorted(texts[x] for x in row['candidates']) for row in made.rows]
  assert listed
  assert all(
    [text for _, text in sorted(x, key=lambda y: y[1])] in known for x in listed
  )
  assert all([int(at) for at, _ in x] == [*range(1, len(x) + 1)] for x in listed)
  found = floors.describe_floors(
    *(f'{made.folder}/{x}' for x in ('histories', 'embeddings'))
  )
  for name, scores in found['methods'].items():
    assert scores['mrr'] == pytest.approx(report['methods'][name]['mrr'])
