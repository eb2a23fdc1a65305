"""The whole chain on generated ratings: real encoder, small decoder, real jobs."""

import html
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from persoma_tf import train
from pipelines import batch_predict, build_histories, embed_items, evaluate, schema
from pipelines.job import JobError
from tests import movielens

pytestmark = pytest.mark.assets
GENRES = (*movielens.GENRES,)


@pytest.fixture(scope='module')
def run(tmp_path_factory, assets):
  """Folder with histories and embeddings of 60 users."""
  assets('all-MiniLM-L6-v2')
  folder = tmp_path_factory.mktemp('run')
  data = movielens.write(folder, users=60)
  build_histories.run(
    [
      f'--ratings={data}/ratings.csv',
      f'--movies={data}/movies.csv',
      f'--output_dir={folder}/histories',
      '--max_history=12',
      '--train_fraction=0.6',
      '--validation_fraction=0.1',
    ]
  )
  embed_items.run(
    [f'--histories_dir={folder}/histories', f'--output_dir={folder}/embeddings']
  )
  return folder


def predict(run, output, *flags):
  batch_predict.run(
    [
      f'--model_dir={run}/model',
      f'--histories_dir={run}/histories',
      f'--embeddings_dir={run}/embeddings',
      f'--output_dir={output}',
      '--batch_size=5',
      '--format=parquet',
      *flags,
    ]
  )


def test_chain(run, recipe, capsys):
  recipe(f"HISTORIES_DIR = '{run}/histories'", f"EMBEDDINGS_DIR = '{run}/embeddings'")
  train.train(f'{run}/model')
  predict(run, f'{run}/predictions')
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

  flags = [f'--predictions_dir={run}/predictions', f'--histories_dir={run}/histories']
  flags += [f'--model_dir={run}/model']
  evaluate.run([*flags, f'--output_dir={run}/report'])
  printed = capsys.readouterr().out
  assert (run / 'report' / 'scores.txt').read_text() in printed
  report = json.loads((run / 'report' / 'metrics.json').read_text())
  assert report['methods'].keys() == {
    'persoma',
    'constant',
    'counting',
    'rule_on_sample',
  }
  for row in report['methods'].values():
    assert row['f1_low'] <= row['f1'] <= row['f1_high']
    assert row['users'] == len(rows)
  check_against_pandas(run, report['methods'])
  page = (run / 'report' / 'report.html').read_text()
  assert manifest['model_id'] in page
  assert 'stage histories' in page, 'training curves'
  assert "train.task = 'movielens" in html.unescape(page), 'config.gin'
  evaluate.run([*flags, f'--output_dir={run}/report'])  # finished: nothing to do


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
  assert (run / 'model' / 'COMPLETED').exists(), 'test_chain runs first'
  predict(run, tmp_path / 'out', f'--format={kind}', '--batch_size=64')
  from pipelines.transforms.prediction_files import read

  parquet, other = read(f'{run}/predictions', 'parquet'), read(f'{tmp_path}/out', kind)
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
  with pytest.raises(JobError, match='answers other histories'):
    evaluate.run(
      [
        f'--predictions_dir={run}/predictions',
        f'--histories_dir={tmp_path}/other',
        f'--output_dir={tmp_path}/report',
      ]
    )
