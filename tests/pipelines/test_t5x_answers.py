"""t5x.infer's lines as the prediction table."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines import evaluate, t5x_answers
from pipelines.common import job, tfrecord
from pipelines.histories import history_records
from tasks import schema
from tests import choices

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


def of_question(model, name, words):
  """Gives the model a question."""
  config = f'own_question.name = {name!r}\nown_question.words = {words!r}\n'
  (model / 'config.gin').write_text(config)


def test_a_choice_has_a_row_for_each_example(answers, model, choice_folder, tmp_path):
  folder, examples = choice_folder[0] / 'histories', choice_folder[1]['test']
  of_question(model, choices.NAME, choices.WORDS)
  lines = []
  for number, example in enumerate(examples[1:]):
    made = line(example['user_id'], (' Yes', ' No', ' Perhaps')[number % 3], number % 5)
    made['inputs']['example_id'] = example['example_id']
    lines.append(made)
  output = tmp_path / 'predictions'
  flags = [f'--answers_dir={answers(lines)}', f'--model_dir={model}']
  flags += [f'--histories_dir={folder}', f'--output_dir={output}', '--format=parquet']
  t5x_answers.run(flags)
  rows = pq.read_table(output / 'predictions-00000-of-00001.parquet').to_pylist()
  columns = schema.prediction_columns(choices.WORDS)
  assert [*rows[0]] == [column.name for column in columns]
  ids = pq.read_table(folder / 'items.parquet')['item_id'].to_pylist()
  known, told = (
    {x['example_id']: x for x in found}
    for found in (examples, (y['inputs'] for y in lines))
  )
  texts = {x['inputs']['example_id']: x['prediction'] for x in lines}
  assert [row['example_id'] for row in rows] == sorted(texts)
  for row in rows:
    example, text = known[row['example_id']], texts[row['example_id']].strip()
    assert row['user_id'] == example['user_id']
    assert row['item_id'] == ids[example['example_item'][0]]
    assert row['history_length'] == sum(told[row['example_id']]['history_mask'])
    assert row['answer'] == (text if text in ('Yes', 'No') else None)
    assert row['parse_ok'] == (row['answer'] is not None)
    assert (row['draft_answer'], row['decoder_probabilities']) == (None, [])
  info = json.loads((output / 'run_info.json').read_text())
  assert (info['users'], info['rejects']) == (len(examples) - 1, 1)
  (reject,) = map(json.loads, (output / 'rejects-00000-of-00001.jsonl').open())
  assert reject['record']['example_id'] == examples[0]['example_id']
  evaluate.run(
    [
      f'--predictions_dir={output}',
      f'--histories_dir={folder}',
      f'--output_dir={tmp_path / "report"}',
      '--bootstrap_samples=10',
    ]
  )
  scores = json.loads((tmp_path / 'report' / 'metrics.json').read_text())
  right = [
    texts[x].strip() == known[x]['answer'][0] for x in texts if known[x]['answer']
  ]
  assert scores['methods']['persoma']['accuracy'] == pytest.approx(np.mean(right))
  lines[1]['inputs']['example_id'] = lines[0]['inputs']['example_id']
  with pytest.raises(job.JobError, match=r'00001:2: example .* has two answers'):
    t5x_answers.run([*flags[1:], f'--answers_dir={answers(lines)}', '--overwrite'])


def test_a_ranking_is_refused(answers, model, table):
  words = {'kind': 'rank', 'prompt': 'x', 'options': ['1', '2']}
  of_question(model, 'a_v1', words)
  with pytest.raises(job.JobError, match='or ranks candidates'):
    table(answers([line('7', GOOD)]))
