"""t5x.infer's lines as the prediction table."""

import json
import re

import pyarrow.parquet as pq
import pytest

from pipelines import evaluate, t5x_answers
from pipelines.common import job
from pipelines.histories import history_records
from tasks import schema

SHARD = 'movielens_genre_prediction_v1-predict_with_aux.jsonl-{:05}-of-{:05}'


@pytest.fixture
def model(tmp_path):
  """What the job reads of a model folder."""
  folder = tmp_path / 'model'
  (folder / 'adapter').mkdir(parents=True)
  (folder / 'adapter' / 'manifest.json').write_text('{"model_id": "persoma-4-abc"}')
  (folder / 'COMPLETED').write_text('{"fingerprint": "x", "settings": {"step": 4}}')
  return folder


def line(user: str, text: str, shown: int = 3) -> dict:
  mask = [1] * shown + [0] * 2
  inputs = {'user_id': user, 'history_mask': mask}
  return {'inputs': inputs, 'prediction': text, 'aux': {'scores': -1.5}}


@pytest.fixture
def answers(tmp_path):
  """Writes shards of lines, as t5x.infer leaves them."""
  folder = tmp_path / 'answers'
  folder.mkdir()

  def write(*shards: list, finished: bool = True):
    for number, lines in enumerate(shards):
      path = folder / SHARD.format(number, len(shards))
      path.write_text(''.join(json.dumps(x) + '\n' for x in lines))
      if finished:
        path.with_name(f'{path.name}.COMPLETED').touch()
    return folder

  return write


@pytest.fixture
def table(tmp_path, model, folders):
  """Runs the job; returns the rows."""

  def make(answers, *flags):
    output = tmp_path / 'predictions'
    t5x_answers.run(
      [
        f'--answers_dir={answers}',
        f'--model_dir={model}',
        f'--histories_dir={folders[0]}',
        f'--output_dir={output}',
        '--format=parquet',
        *flags,
      ]
    )
    return pq.read_table(output / 'predictions-00000-of-00001.parquet').to_pylist()

  return make


GOOD = "The user likes Drama and doesn't like none"


def test_the_table(answers, table, tmp_path):
  rows = table(answers([line('7', GOOD)], [line('30', 'Drama!', 5)]), '--run_id=r')
  assert list(rows[0]) == [column.name for column in schema.PREDICTIONS]
  assert [row['user_id'] for row in rows] == ['30', '7']
  second, first = rows
  assert first['predicted_liked'] == ['Drama']
  assert first['predicted_disliked'] == []
  assert (first['parse_ok'], second['parse_ok']) == (True, False)
  assert (first['history_length'], second['history_length']) == (3, 5)
  assert first['log_prob'] == -1.5
  assert (first['model_id'], first['run_id']) == ('persoma-4-abc', 'r')
  info = json.loads((tmp_path / 'predictions' / 'run_info.json').read_text())
  assert (info['users'], info['parse_failures']) == (2, 1)


def test_nobody(answers, table):
  assert table(answers([])) == []


def test_it_is_evaluated_like_any_other(answers, table, folders, tmp_path):
  from pipelines.common import tfrecord

  (path,) = folders[0].glob('test-*')
  users = [
    history_records.decode_example(x)['user_id']
    for x in tfrecord.read_tfrecord(str(path))
  ]
  table(answers([line(user, GOOD) for user in users]))
  evaluate.run(
    [
      f'--predictions_dir={tmp_path / "predictions"}',
      f'--histories_dir={folders[0]}',
      f'--output_dir={tmp_path / "report"}',
    ]
  )
  scores = json.loads((tmp_path / 'report' / 'metrics.json').read_text())
  assert scores['methods']['persoma']['users'] == len(users)


@pytest.mark.parametrize(
  ('bad', 'reason'),
  [
    ({'prediction': GOOD}, 'inputs'),
    ({**line('7', GOOD), 'aux': {}}, 'scores'),
    ([], 'TypeError'),
  ],
)
def test_a_bad_line_is_named(answers, table, bad, reason):
  with pytest.raises(job.JobError, match=rf'00001:2: .*{reason}'):
    table(answers([line('8', GOOD), bad]))


def test_a_user_twice(answers, table):
  with pytest.raises(job.JobError, match="user '7' has two answers"):
    table(answers([line('7', GOOD)], [line('7', GOOD)]))


def test_unfinished_and_foreign_folders(answers, table, tmp_path):
  with pytest.raises(job.JobError, match='not finished'):
    table(answers([line('7', GOOD)], finished=False))
  folder = answers([line('7', GOOD)], [line('8', GOOD)])
  with pytest.raises(job.JobError, match='expected the shards of one'):
    table(folder)  # 1 of 1 lies beside 1 and 2 of 2
  (folder / SHARD.format(0, 1)).unlink()
  (folder / SHARD.format(0, 2)).unlink()
  missing = re.escape(SHARD.format(0, 2))
  with pytest.raises(job.JobError, match=missing):
    table(folder)
  empty = tmp_path / 'empty'
  empty.mkdir()
  with pytest.raises(job.JobError, match='expected the shards'):
    table(empty)
