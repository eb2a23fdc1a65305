"""README's steps by hand on generated ratings: real encoder and jobs, small decoder."""

import contextlib
import html
import json
import pathlib

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipelines import batch_predict, build_histories, evaluate
from pipelines.common.job import JobError
from tasks import schema
from tests import commands, movielens, tiny

pytestmark = pytest.mark.assets
GENRES = (*movielens.GENRES,)
ROOT = pathlib.Path(__file__).parents[2]
README = [x for x in commands.shown(ROOT / 'README.md') if x.whole]
STEPS = (
  *('pipelines.build_histories', 'pipelines.embed_items', 'persoma_tf.train'),
  *('pipelines.batch_predict', 'pipelines.evaluate'),
  *('pipelines.ask', 'pipelines.inspect', 'pipelines.inspect'),
)


def of_readme(modules):
  """README's first commands of these modules, in the order that they stand there."""
  shown = [command for command in README if command.words[:2] == ('python', '-m')]
  return [command for command in shown if command.words[2] in modules][: len(modules)]


def in_readme_folder(folder):
  """Goes to a folder where README's paths are right."""
  for name in ('persoma_tf', 'studies'):
    (folder / name).symlink_to(ROOT / name)
  return contextlib.chdir(folder)


@pytest.fixture(scope='module')
def readme(tmp_path_factory, assets, tiny_decoder):
  """(folder, what was printed) of README's steps by hand, on 60 users, made small."""
  assets('all-MiniLM-L6-v2')
  assets('smollm2-135m-instruct')  # the vocabulary
  folder = movielens.write(tmp_path_factory.mktemp('run'), users=60)
  small = {
    'pipelines.build_histories': ['--max_history=12', '--train_fraction=0.6'],
    'persoma_tf.train': tiny.flags(tiny_decoder),
    'pipelines.batch_predict': ['--batch_size=5', '--format=parquet'],
  }
  printed = []
  with in_readme_folder(folder):
    for command in of_readme(STEPS):
      recipe = any(word.startswith('--gin_file=') for word in command.words)
      more = small['persoma_tf.train'] if recipe else small.get(command.words[2], [])
      printed.append(commands.run(command, *more))
  return folder, printed


@pytest.fixture(scope='module')
def run(readme):
  """Folder with what each step wrote."""
  return readme[0]


def predict(run, output, *flags):
  batch_predict.run(
    [
      f'--model_dir={run}/model',
      f'--histories_dir={run}/histories',
      f'--embeddings_dir={run}/embeddings',
      f'--output_dir={output}',
      '--batch_size=5',
      *flags,
    ]
  )


def test_readme_shows_these_steps():
  assert [command.words[2] for command in of_readme(STEPS)] == list(STEPS)


def test_one_user(readme):
  run, printed = readme
  said = printed[STEPS.index('pipelines.ask')]
  table = run / 'predictions' / 'predictions-00000-of-00001.parquet'
  (row,) = pq.read_table(table, filters=[('user_id', '=', '42')]).to_pylist()
  assert said.startswith('user 42, split test\n')
  assert f'history: {row["history_length"]} interactions' in said
  liked, disliked = row['draft_liked'], row['draft_disliked']
  sides = [f'liked {", ".join(liked)}'] * bool(liked)
  sides += [f'disliked {", ".join(disliked)}'] * bool(disliked)
  assert f'draft: {"; ".join(sides) or "none"}\n' in said
  assert '  The movie Film' in said


def test_inspect(readme):
  *_, folders, estimate = readme[1]
  assert folders.startswith('histories')
  assert 'trainable' in folders
  assert '5 steps of 2 examples' in estimate


def test_a_study_is_listed(assets, tmp_path):
  assets('ml-100k')
  command, *_ = of_readme(['pipelines.study'])
  assert command.words[-1] == '--dry_run'
  with in_readme_folder(tmp_path):
    assert '0 of 5 cells finished' in commands.run(command)
    assert not (tmp_path / 'runs').exists()


def test_chain(readme):
  run, printed = readme
  table = pq.read_table(run / 'predictions' / 'predictions-00000-of-00001.parquet')
  assert table.schema.equals(schema.predictions_arrow())
  rows = table.to_pylist()
  info = json.loads((run / 'histories' / 'dataset_info.json').read_text())
  assert len(rows) == info['counts']['users']['test'] > 0
  manifest = json.loads((run / 'model' / 'adapter' / 'manifest.json').read_text())
  assert {row['model_id'] for row in rows} == {manifest['model_id']}
  assert {row['history_length'] for row in rows} <= set(range(5, 13))
  assert all(row['log_prob'] < 0 for row in rows)
  bigquery = json.loads((run / 'predictions' / 'bigquery_schema.json').read_text())
  assert [column['name'] for column in bigquery] == table.column_names

  scores = (run / 'report' / 'scores.txt').read_text()
  assert scores in printed[STEPS.index('pipelines.evaluate')]
  report = json.loads((run / 'report' / 'metrics.json').read_text())
  assert report['methods'].keys() == {
    'persoma',
    'constant',
    'draft',
    'counting',
    'rule_on_sample',
    'linear_probe',
    'logistic_regression',
    'nearest_users',
    'swapped_users',
  }
  for name, row in report['methods'].items():
    if name != 'swapped_users':
      assert row['f1_low'] <= row['f1'] <= row['f1_high']
    assert row['users'] == len(rows)
  check_against_pandas(run, report['methods'])
  page = (run / 'report' / 'report.html').read_text()
  assert manifest['model_id'] in page
  assert 'stage histories' in page, 'training curves'
  assert "train.task = 'movielens" in html.unescape(page), 'config.gin'


def test_what_is_finished_is_not_made_again(run):
  before = {path: path.stat().st_mtime_ns for path in run.rglob('*')}
  with contextlib.chdir(run):
    for command in of_readme(['pipelines.evaluate']):
      commands.run(command)
  assert before == {path: path.stat().st_mtime_ns for path in run.rglob('*')}


def check_against_pandas(run, methods):
  """`rule_on_sample` and `counting`, from the CSV files alone."""
  ratings, movies = (pd.read_csv(run / f'{x}.csv') for x in ('ratings', 'movies'))
  table = pq.read_table(run / 'predictions' / 'predictions-00000-of-00001.parquet')
  users = [int(name) for name in table['user_id'].to_pylist()]
  names = movies.assign(genre=movies.genres.str.split('|')).explode('genre')
  newest = ratings.sort_values(['timestamp', 'movieId'], ascending=[False, True])
  truth, sampled, counted = [], [], []
  for user in users:
    rows = newest[newest.userId == user]
    truth.append(classes(rows, names))
    sampled.append(classes(rows[:12], names))
    order = rows[:12].merge(names[['movieId', 'genre']]).genre.value_counts()
    order = sorted(order.index, key=lambda name: (-order[name], name))[:3]
    counted.append([name in order for name in GENRES] + [False] * len(GENRES))
  for name, answers in (('rule_on_sample', sampled), ('counting', counted)):
    assert methods[name]['f1'] == pytest.approx(weighted_f1(truth, answers)), name


def classes(rows, names):
  """The label rule: [2G] bool."""
  rated = rows.merge(names[['movieId', 'genre']]).groupby('genre').rating
  table = rated.agg(['mean', 'count']).reset_index()
  table = table[table['count'] >= 3]
  row = []
  for chosen, up in (
    (table[table['mean'] > 3.5], False),
    (table[table['mean'] < 3], True),
  ):
    order = chosen.sort_values(['mean', 'count', 'genre'], ascending=[up, False, True])
    row += [name in set(order.genre[:3]) for name in GENRES]
  return row


def weighted_f1(truth, answers):
  truth, answers = np.array(truth), np.array(answers)
  score = 0.0
  for true, said in zip(truth.T, answers.T, strict=True):
    if true.any():
      score += true.sum() * 2 * (true & said).sum() / (true.sum() + said.sum())
  return score / truth.sum()


@pytest.mark.parametrize('kind', ['avro', 'json'])
def test_formats_hold_the_same_answers(run, tmp_path, kind):
  predict(run, tmp_path / 'out', f'--format={kind}', '--batch_size=64')
  from pipelines.predictions.prediction_files import read_predictions

  parquet, other = (
    read_predictions(f'{run}/predictions', 'parquet'),
    read_predictions(f'{tmp_path}/out', kind),
  )
  assert [row['user_id'] for row in parquet] == [row['user_id'] for row in other]
  assert [row['text'] for row in parquet] == [row['text'] for row in other]


def test_folders_that_do_not_belong_together(run, tmp_path):
  build_histories.run(
    [
      f'--ratings={run}/ratings.csv',
      f'--movies={run}/movies.csv',
      f'--output_dir={tmp_path}/other',
    ]
  )
  with pytest.raises(JobError, match='was made from other histories'):
    batch_predict.run(
      [
        f'--model_dir={run}/model',
        f'--histories_dir={tmp_path}/other',
        f'--embeddings_dir={run}/embeddings',
        f'--output_dir={tmp_path}/out',
      ]
    )
  with pytest.raises(JobError, match=r'not a finished folder.*persoma_tf\.train'):
    batch_predict.run(
      [
        f'--model_dir={tmp_path}',
        f'--histories_dir={run}/histories',
        f'--embeddings_dir={run}/embeddings',
        f'--output_dir={tmp_path}/out',
      ]
    )
  with pytest.raises(JobError, match='for other histories'):
    evaluate.run(
      [
        f'--predictions_dir={run}/predictions',
        f'--histories_dir={tmp_path}/other',
        f'--output_dir={tmp_path}/report',
      ]
    )
