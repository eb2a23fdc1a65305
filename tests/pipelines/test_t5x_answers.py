"""t5x.infer's lines as the prediction table."""

import json
import re

import pyarrow.parquet as pq
import pytest

from pipelines import evaluate, t5x_answers
from pipelines.common import job, tfrecord
from pipelines.histories import history_records
from pipelines.predictions import t5x_lines
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
  shards = [line('7', GOOD)], [line('30', 'Drama!', 5)]
  rows = table(answers(*shards), '--run_id=r', '--split=all')
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


def split_users(histories, split='test') -> list[str]:
  """Ids of the users of a split, in the order of the files."""
  return [
    history_records.decode_example(x)['user_id']
    for path in sorted(histories.glob(f'{split}-*'))
    for x in tfrecord.read_tfrecord(str(path))
  ]


def test_nobody(answers, table, folders, tmp_path):
  assert table(answers([])) == []
  info = json.loads((tmp_path / 'predictions' / 'run_info.json').read_text())
  assert (info['users'], info['rejects']) == (0, len(split_users(folders[0])))


def test_every_user_of_the_split_is_a_row_or_a_reject(
  answers, table, folders, tmp_path
):
  first, *others = split_users(folders[0])
  rows = table(answers([line(user, GOOD) for user in others]))
  assert [row['user_id'] for row in rows] == sorted(others)
  info = json.loads((tmp_path / 'predictions' / 'run_info.json').read_text())
  assert (info['users'], info['rejects']) == (len(others), 1)
  path = tmp_path / 'predictions' / 'rejects-00000-of-00001.jsonl'
  reject = json.loads(path.read_text())
  assert (reject['reason'], reject['record']['user_id']) == ('no_answer', first)


def test_answers_to_another_split(answers, table, folders):
  user = split_users(folders[0], 'train')[0]
  with pytest.raises(job.JobError, match=f'00001:1: user {user!r} is not in the split'):
    table(answers([line(user, GOOD)]))


def test_another_run_id_is_another_table(answers, table):
  folder = answers([line('7', GOOD)])
  table(folder, '--run_id=monday', '--split=all')
  with pytest.raises(job.JobError, match="run_id was 'monday' and is 'tuesday'"):
    table(folder, '--run_id=tuesday', '--split=all')
  with pytest.raises(job.JobError, match="run_id was 'monday' and is None"):
    table(folder, '--split=all')
  (row,) = table(folder, '--run_id=tuesday', '--split=all', '--overwrite')
  assert row['run_id'] == 'tuesday'


def test_it_is_evaluated_like_any_other(answers, table, folders, tmp_path):
  users = split_users(folders[0])
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
    ({**line('7', GOOD), 'inputs': {'user_id': '7', 'history_mask': None}}, 'NoneType'),
    (line(None, GOOD), 'user_id is None'),
    (line('7', None), 'prediction is None'),
  ],
)
def test_a_bad_line_is_named(answers, table, bad, reason):
  with pytest.raises(job.JobError, match=rf'00001:2: .*{reason}'):
    table(answers([line('8', GOOD), bad]), '--split=all')


def test_a_user_twice(answers, table):
  with pytest.raises(job.JobError, match="user '7' has two answers"):
    table(answers([line('7', GOOD)], [line('7', GOOD)]), '--split=all')


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


def test_a_question_about_examples_is_refused(model, folders):
  words = {'kind': 'choice', 'prompt': 'x', 'options': ['A', 'B'], 'asks_item': False}
  config = f"own_question.name = 'a_v1'\nown_question.words = {words!r}\n"
  (model / 'config.gin').write_text(config)
  with pytest.raises(job.JobError, match='answers a_v1, which asks about examples'):
    t5x_lines.read_rows([], str(model), str(folders[0]), [])
