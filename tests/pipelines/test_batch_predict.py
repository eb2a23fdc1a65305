"""The prediction table: cut runs, shares of machines, rejects, soft prompts."""

import json
import shutil
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from persoma_tf import operand_types
from persoma_tf.inference.decoding_settings import ENGINES
from persoma_tf.training import trainer
from pipelines import batch_predict
from pipelines.common import storage, tfrecord
from pipelines.common.job import JobError
from pipelines.common.output_folder import OutputFolder
from pipelines.histories import history_records
from pipelines.predictions import (
  answer_shards,
  prediction_files,
  predictions_folder,
  predictions_job,
)
from tasks import genre_prediction, item_prediction, questions, vocabularies
from tasks.predictor import Predictor
from tests import numpy_llama, predictions

pytestmark = pytest.mark.assets


@pytest.fixture
def predict(folders, model, tmp_path, loaded_once):
  """Runs the job on 4 users a shard; returns the rows without when they were made.

  In float32: in bfloat16, a processor's order of sums decides more digits.
  """

  def run(name='out', *flags, histories=folders[0]):
    batch_predict.run(
      [
        f'--model_dir={model}',
        f'--histories_dir={histories}',
        f'--embeddings_dir={folders[1]}',
        f'--output_dir={tmp_path / name}',
        '--format=json',
        '--batch_size=4',
        '--shard_users=4',
        '--weights=float32',
        *flags,
      ]
    )
    return rows(tmp_path / name)

  return run


def rows(folder) -> list[dict]:
  found = prediction_files.read_predictions(str(folder), 'json')
  for row in found:
    del row['predicted_at']
  return found


def users(histories, split='test') -> list[dict]:
  return [
    history_records.decode_example(record)
    for path in sorted(histories.glob(f'{split}-*'))
    for record in tfrecord.read_tfrecord(str(path))
  ]


def test_a_folder_keeps_its_type_on_every_machine(predict, tmp_path, monkeypatch):
  chosen_type = operand_types.chosen_type
  machine = lambda fastest: monkeypatch.setattr(
    operand_types, 'chosen_type', lambda x: fastest if x == 'auto' else chosen_type(x)
  )
  completed = tmp_path / 'out' / 'COMPLETED'
  weights = lambda: json.loads(completed.read_text())['settings']['decoding']['weights']
  auto = '--weights=auto'
  machine('bfloat16')
  predict('out', auto)
  assert weights() == 'bfloat16'
  machine('float32')
  written = completed.stat().st_mtime_ns
  predict('out', auto)  # nothing to do
  assert (weights(), completed.stat().st_mtime_ns) == ('bfloat16', written)
  with pytest.raises(JobError, match=r"'bfloat16'.*'float32'"):
    predict('out', '--weights=float32')
  predict('out', auto, '--overwrite')
  assert weights() == 'float32'
  predict('out', '--weights=int8', '--overwrite')
  predict('out', auto)
  assert weights() == 'int8'


@pytest.mark.parametrize('engine', ENGINES)
def test_every_engine_chooses_a_type_that_it_has(engine, tmp_path):
  folders = {f'{x}_dir': str(tmp_path) for x in ('model', 'histories', 'embeddings')}
  config = batch_predict.Config(
    **folders, output_dir=str(tmp_path / 'out'), engine=engine
  )
  assert config.weights == 'auto'
  chosen, _ = predictions_job._with_type(config, {})
  assert chosen.weights == operand_types.chosen_type('auto')


def test_shards_hold_every_user_once(predict, folders, tmp_path):
  made = predict()
  wanted = users(folders[0])
  assert [row['user_id'] for row in made] == [user['user_id'] for user in wanted]
  assert len(list((tmp_path / 'out').glob('predictions-*'))) == -(-len(wanted) // 4) > 1
  assert all(row['parse_ok'] for row in made), 'constrained'
  info = json.loads((tmp_path / 'out' / 'run_info.json').read_text())
  assert (info['users'], info['rejects'], info['parse_failures']) == (len(wanted), 0, 0)
  mean = np.mean([row['log_prob'] for row in made])
  assert info['mean_log_prob'] == pytest.approx(mean)


def changed(folder, to, file, **facts):
  """A copy of a folder with other facts in its info file."""
  shutil.copytree(folder, to)
  info = json.loads((to / file).read_text())
  (to / file).write_text(json.dumps(info | facts))
  return to


def test_other_vectors_than_in_training_are_refused(predict, folders, tmp_path):
  nouns = {'item': 'book', 'genres': 'subjects', 'rating': 'stars'}
  other = changed(folders[1], tmp_path / 'other', 'encoder_info.json', nouns=nouns)
  wanted = r"nouns is \{'item': 'book'.*, but .* trained with None: run python -m pip"
  with pytest.raises(JobError, match=wanted):
    predict('out', f'--embeddings_dir={other}')
  assert not (tmp_path / 'out').exists()


@pytest.fixture(scope='module')
def of_a_mixture(tmp_path_factory):
  """A folder to train a readout on a mixture into once."""
  return tmp_path_factory.mktemp('of_a_mixture')


@pytest.fixture
def readout(recipe, of_a_mixture):
  """The model folder of a run that trains only a readout, on two tasks."""
  if not (of_a_mixture / 'adapter' / 'manifest.json').exists():
    recipe(
      "train.task = 'movielens_items_and_genres_v1'",
      'feature_lengths.min_targets = 64',
      'train.stages = [@decoder/Stage()]',
      'decoder/Stage.steps = 1',
    )
    trainer.train(str(of_a_mixture))
  return of_a_mixture


def test_a_model_that_trained_its_readout_answers(readout, folders, tmp_path):
  predictor = Predictor(str(readout), *map(str, folders), batch_size=4)
  asked = users(folders[0])[:4]
  assert [x.row['user_id'] for x in predictor.predict(asked)] == [
    user['user_id'] for user in asked
  ]
  # A folder that lacks parameters says so.
  shutil.copytree(readout / 'adapter', tmp_path / 'adapter')
  shutil.copy(readout / 'config.gin', tmp_path)
  file = tmp_path / 'adapter' / 'adapter.safetensors'
  arrays = load_file(file)
  del arrays['adapter/token_rms']
  save_file(arrays, file)
  with pytest.raises(ValueError, match=r"does not fit the model: missing .'token_rms'"):
    Predictor(str(tmp_path), *map(str, folders), batch_size=4)


def test_a_model_of_a_mixture_reads_vectors(readout, folders, tmp_path):
  other = changed(folders[1], tmp_path / 'other', 'encoder_info.json', template='other')
  flags = [f'--model_dir={readout}', f'--histories_dir={folders[0]}']
  flags += [f'--embeddings_dir={other}', f'--output_dir={tmp_path / "out"}']
  with pytest.raises(JobError, match=r'template is other, but .* trained with fields'):
    batch_predict.run(flags)
  prompts = {item_prediction.TASK: '\nMovies:\n'}
  prompts['movielens_genre_prediction_subhistories_v1'] = '\nGenres:\n'
  manifest = json.loads((readout / 'adapter' / 'manifest.json').read_text())
  assert manifest['task_prompts'] == prompts
  assert manifest['history'] == 'vectors'
  card = (readout / 'adapter' / 'README.md').read_text()
  assert '`"\\nMovies:\\n"` (`movielens_item_prediction_v1`)' in card
  assert 'history is in the prompt' not in card


def test_genres_that_the_model_has_not_seen(predict, folders, tmp_path, caplog):
  info = json.loads((folders[0] / 'dataset_info.json').read_text())
  genres = sorted([*info['genres'], 'Polka'])
  other = changed(folders[0], tmp_path / 'new', 'dataset_info.json', genres=genres)
  with caplog.at_level('WARNING'):
    assert len(predict(histories=other)) == len(users(other))
  assert 'was not trained on the genres Polka' in caplog.text


def test_no_answer_depends_on_its_neighbours(predict):
  texts = lambda made: {row['user_id']: row['text'] for row in made}
  scores = lambda made: pytest.approx(
    {row['user_id']: row['log_prob'] for row in made}, abs=1e-4
  )
  whole, alone = predict(), predict('alone', '--batch_size=1')
  wide = predict('wide', '--batch_size=64', '--shard_users=1000')
  assert len({row['log_prob'] for row in whole}) > 1
  assert texts(alone) == texts(wide) == texts(whole)
  for made in (alone, wide):
    assert {row['user_id']: row['log_prob'] for row in made} == scores(whole)
  drawn = predict('drawn', '--temperature=1.5', '--seed=3')
  assert len(set(texts(drawn).values())) > 1
  flags = ('--temperature=1.5', '--seed=3', '--batch_size=3', '--shard_users=5')
  assert texts(predict('again', *flags)) == texts(drawn)
  assert texts(predict('other', '--temperature=1.5', '--seed=4')) != texts(drawn)


class Cut:
  """Lets so many files be written, then leaves half of one and raises."""

  def __init__(self, left: int):
    self.left, self.write = left, storage.write_file

  def __call__(self, path, data):
    if not self.left:
      self.write(f'{path}.tmp-{"0" * 32}', data[: len(data) // 2])
      raise OSError('cut')
    self.left -= 1
    self.write(path, data)


def test_a_run_that_is_cut_goes_on(predict, tmp_path, monkeypatch):
  """Cut at each of its writes; what is there stays, and the table is the same."""
  every = Cut(left=1000)
  with monkeypatch.context() as patch:
    patch.setattr(storage, 'write_file', every)
    whole = predict('whole')
  assert every.left < 995
  shards = len(list((tmp_path / 'whole').glob('predictions-*')))
  for left in range(2, 1000 - every.left):  # after both copies of UNFINISHED
    name = f'cut_{left}'
    with monkeypatch.context() as patch:
      patch.setattr(storage, 'write_file', Cut(left))
      with pytest.raises(OSError, match='cut'):
        predict(name)
    assert not (tmp_path / name / 'COMPLETED').exists()
    found = (tmp_path / name).rglob('predictions-*.jsonl')
    before = {path.name: path.read_bytes() for path in found}
    answer = mock.Mock(wraps=answer_shards.answer_shard)
    with monkeypatch.context() as patch:
      patch.setattr(answer_shards, 'answer_shard', answer)
      assert predict(name) == whole
    assert answer.call_count == shards - len(before)
    for file, data in before.items():
      assert (tmp_path / name / file).read_bytes() == data
    assert not list((tmp_path / name).rglob('*.tmp-*'))


@pytest.mark.parametrize(
  'flags', [['--noconstrained'], ['--temperature=2.0'], ['--run_id=x']]
)
def test_other_settings_never_mix(predict, tmp_path, monkeypatch, flags):
  other = predict('other', *flags)
  with monkeypatch.context() as patch:
    patch.setattr(OutputFolder, 'complete', mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
      predict('out')
  assert any((tmp_path / 'out').rglob('predictions-*'))
  assert predict('out', *flags) == other
  with pytest.raises(JobError, match=r'other settings \((decoding|run_id) was'):
    predict('out')


def test_machines_that_share_a_folder(predict, tmp_path):
  whole = predict('whole')
  assert predict('out', '--shard=0/2') == [], 'not before the folder is complete'
  (attempt,) = (tmp_path / 'out').glob('attempt-*')
  assert 0 < len(rows(attempt)) < len(whole)
  assert not (tmp_path / 'out' / 'COMPLETED').exists()
  assert predict('out', '--shard=1/2') == whole
  assert (tmp_path / 'out' / 'COMPLETED').exists()


def test_a_machine_that_ends_while_another_plans(predict, monkeypatch):
  plan = answer_shards.plan_shards

  def slow(*arguments):
    monkeypatch.setattr(predictions_job, 'plan_shards', plan)
    done.append(predict('out'))
    return plan(*arguments)

  done = []
  monkeypatch.setattr(predictions_job, 'plan_shards', slow)
  assert predict('out') == done[0] != []


def test_two_machines_that_end_at_once(tmp_path, monkeypatch):
  """One completes the folder while the other counts."""
  machines = [OutputFolder(str(tmp_path / 'out'), {'format': 'json'}) for _ in '12']
  shard = answer_shards.AnswerShard(0, 1, '', 0, 2)
  rows = [row | {'log_prob': -1.0} for row in predictions.rows(2)]
  finish = lambda folder: predictions_folder.finish_predictions(folder, [shard], 'json')
  for folder in machines:
    folder.begin(go_on=True)
  data = prediction_files.to_bytes(rows, 'json')
  storage.write_file(machines[0].file(shard.file('json')), data)
  read = prediction_files.read_shards

  def slow(*arguments):
    monkeypatch.setattr(prediction_files, 'read_shards', read)
    finish(machines[1])
    return read(*arguments)

  monkeypatch.setattr(prediction_files, 'read_shards', slow)
  finish(machines[0])
  assert prediction_files.read_predictions(str(tmp_path / 'out'), 'json') == [
    json.loads(line) for line in data.splitlines()
  ]
  names = {path.name for path in (tmp_path / 'out').iterdir()}
  assert names == {
    'predictions-00000-of-00001.jsonl',
    *('COMPLETED', 'bigquery_schema.json', 'run_info.json'),
  }


@pytest.mark.parametrize('shard', ['2/2', 'x', '1', '-1/2'])
def test_a_share_that_is_none(predict, shard, capsys):
  with pytest.raises(SystemExit):
    predict('out', f'--shard={shard}')
  assert f"shard='{shard}': expected i/n" in capsys.readouterr().err


def test_histories_that_cannot_be_answered(predict, folders, tmp_path, caplog):
  """In = out + rejects, each with its place and reason."""
  histories = tmp_path / 'histories'
  shutil.copytree(folders[0], histories)
  whole = users(histories)
  path = next(histories.glob('test-*'))
  records = list(tfrecord.read_tfrecord(str(path)))
  wrong = history_records.decode_example(records[1])
  wrong['history_items'] = np.array([10**6, *wrong['history_items'][1:]])
  records[1] = history_records.encode_example(wrong)
  records[2] = b'\x0a\x01'
  path.write_bytes(tfrecord.frame_records(pa.array(records, pa.binary())))
  made = predict('out', histories=histories)
  rejects = [
    json.loads(line)
    for file in sorted((tmp_path / 'out').glob('rejects-*'))
    for line in file.read_text().splitlines()
  ]
  assert len(made) + len(rejects) == len(whole)
  assert f'2 of {len(whole)} users have no answer' in caplog.text
  assert [x['reason'] for x in rejects] == ['not_answerable', 'not_a_history']
  record = rejects[0]['record']
  assert (record['file'], record['line']) == (str(path), 2)
  assert record['user_id'] == wrong['user_id']
  assert record['value'].startswith(
    'history_items has 1000000; the item table has rows'
  )
  info = json.loads((tmp_path / 'out' / 'run_info.json').read_text())
  assert info['rejects'] == 2


def test_no_users(predict, folders, tmp_path):
  histories = tmp_path / 'histories'
  shutil.copytree(folders[0], histories)
  for path in histories.glob('test-*'):
    path.write_bytes(b'')
  info = json.loads((histories / 'dataset_info.json').read_text())
  info['counts']['users']['test'] = 0
  (histories / 'dataset_info.json').write_text(json.dumps(info))
  with pytest.raises(JobError, match=r'no users in the split test \(train \d+, valid'):
    predict('out', histories=histories)
  assert not (tmp_path / 'out').exists()


def test_soft_prompts_in_another_implementation(predict, tmp_path, tiny_decoder):
  """Numpy's decoder writes our answers behind the exported soft prompts."""
  made = predict('out', '--soft_prompts', '--noconstrained')
  vocabulary = vocabularies.load_vocabulary('smollm2-135m-instruct')
  other = numpy_llama.Llama(tiny_decoder)
  prompt = vocabulary.encode(questions.TASK_PROMPT)
  most = genre_prediction.feature_lengths()['targets']
  files = sorted((tmp_path / 'out').glob('soft_prompts-*'))
  tables = [pq.read_table(path) for path in files]
  assert [x for table in tables for x in table['user_id'].to_pylist()] == [
    row['user_id'] for row in made
  ]
  about = {
    name.decode(): json.loads(x) for name, x in tables[0].schema.metadata.items()
  }
  assert (about['max_tokens'], about['form']) == (most, None)
  for row, soft in zip(made, tables[0]['soft_prompt'].to_pylist(), strict=False):
    soft = np.array(soft).reshape(about['num_tokens'], about['width'])
    tokens, log_prob = other.greedy(soft, prompt, vocabulary.eos_id, most)
    assert vocabulary.decode(tokens) == row['text']
    assert row['log_prob'] == pytest.approx(log_prob, rel=1e-4)
