"""A choice from its examples to the prediction table, with a small model."""

import functools
import json
import shutil

import gin
import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from persoma_tf import decoders
from persoma_tf.inference.decoding_settings import Decoding
from persoma_tf.training import trainer
from pipelines import batch_predict
from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.predictions import finished_shards, prediction_files
from tasks import schema, vocabularies
from tasks.predictor import Predictor
from tests import choices

COLUMNS = schema.prediction_columns(choices.WORDS)


@pytest.fixture
def predict(choice_model, choice_folder, tmp_path, loaded_once):
  """Runs the job on four examples a shard; returns the rows."""

  def run(name='out', *flags, histories=choice_folder[0] / 'histories'):
    batch_predict.run(
      [
        f'--model_dir={choice_model}',
        f'--histories_dir={histories}',
        f'--embeddings_dir={choice_folder[0]}/embeddings',
        f'--output_dir={tmp_path / name}',
        '--format=json',
        '--batch_size=4',
        '--shard_users=4',
        '--weights=float32',
        *flags,
      ]
    )
    return prediction_files.read_predictions(str(tmp_path / name), 'json')

  return run


@pytest.fixture
def predictor(choice_model, choice_folder):
  return _predictor(str(choice_model), str(choice_folder[0]))


@functools.cache
def _predictor(model, folder):
  """One for all tests: to trace one takes long."""
  return Predictor(model, f'{folder}/histories', f'{folder}/embeddings', 3)


def test_a_row_for_every_example(predict, choice_folder, tmp_path):
  rows = predict('out', '--soft_prompts')
  examples = choices.by_id(choice_folder[1]['test'])
  assert sorted(row['example_id'] for row in rows) == sorted(examples)
  assert any(not example['answer'] for example in examples.values())
  ids = pq.read_table(choice_folder[0] / 'histories' / 'items.parquet')['item_id']
  for row in rows:
    example = examples[row['example_id']]
    assert list(row) == [column.name for column in COLUMNS]
    assert row['user_id'] == example['user_id']
    assert row['item_id'] == ids[example['example_item'][0]].as_py()
    assert row['answer'] == row['text'].strip()
    assert row['answer'] in ('Yes', 'No')
    assert (row['parse_ok'], row['task']) == (True, choices.NAME)
    assert row['history_length'] == min(12, len(example['history_items']))
    odds = row['draft_probabilities']
    assert sum(odds) == pytest.approx(1)
    assert row['draft_answer'] == ['Yes', 'No'][int(np.argmax(odds))]
    assert len(row['decoder_probabilities']) == 2
    assert sum(row['decoder_probabilities']) == pytest.approx(1)
  out = tmp_path / 'out'
  written = json.loads((out / 'bigquery_schema.json').read_text())
  assert written == schema.predictions_bigquery(COLUMNS)
  info = json.loads((out / 'run_info.json').read_text())
  assert (info['users'], info['rejects']) == (len(rows), 0)
  question = {'kind': 'choice', 'name': choices.NAME, 'asks_item': True}
  assert info['question'] == {**question, 'options': ['Yes', 'No']}
  soft = [pq.read_table(path) for path in sorted(out.glob('soft_prompts-*'))]
  found = [x for table in soft for x in table['example_id'].to_pylist()]
  assert found == [row['example_id'] for row in rows]
  paths = finished_shards.find_shards(str(out), 'json')
  assert finished_shards.check_shards(paths, 'json', COLUMNS)


def test_a_run_that_is_cut_goes_on(predict, monkeypatch):
  write = storage.write_file

  def cut(path, data):
    if 'predictions-00003' in path:
      raise OSError('cut')
    write(path, data)

  timeless = lambda rows: [{**row, 'predicted_at': ''} for row in rows]
  whole = timeless(predict('whole'))
  with monkeypatch.context() as patch:
    patch.setattr(storage, 'write_file', cut)
    with pytest.raises(OSError, match='cut'):
      predict('cut')
  assert timeless(predict('cut')) == whole


def test_batches_and_neighbours_change_no_answer(predictor, choice_folder):
  examples = choice_folder[1]['test'][:7]
  together = [x.row for x in predictor.predict(examples)]
  for example, row in zip(examples, together, strict=True):
    (alone,) = predictor.predict([example])
    assert (alone.row['text'], alone.row['draft_answer']) == (
      row['text'],
      row['draft_answer'],
    )
    odds = alone.row['draft_probabilities']
    np.testing.assert_allclose(odds, row['draft_probabilities'], atol=1e-5)
    odds = alone.row['decoder_probabilities']
    np.testing.assert_allclose(odds, row['decoder_probabilities'], atol=1e-3)
    assert alone.row['log_prob'] == pytest.approx(row['log_prob'], abs=1e-2)
  drafts = predictor.drafts(examples)
  assert drafts == [row['draft_answer'] for row in together]
  odds = predictor.draft_probabilities(examples)
  assert odds.shape == (7, 2)
  expected = [row['draft_probabilities'] for row in together]
  np.testing.assert_allclose(odds, expected, atol=1e-6)


def test_the_decoder_scores_options_without_a_grammar(
  predictor, choice_model, choice_folder
):
  examples = choice_folder[1]['test'][:3]
  folders = [f'{choice_folder[0]}/{name}' for name in ('histories', 'embeddings')]
  odds = lambda found: [x.row['decoder_probabilities'] for x in found]
  kept = odds(predictor.predict(examples))
  assert np.ptp(np.array(kept)[:, 0]) > 0
  free = Predictor(str(choice_model), *folders, 3, Decoding(constrained=False))
  np.testing.assert_allclose(odds(free.predict(examples)), kept, atol=1e-3)


def test_an_empty_history_is_answered(predictor, choice_folder):
  example = {**choice_folder[1]['test'][0]}
  for name in ('history_items', 'history_ratings', 'history_timestamps'):
    example[name] = example[name][:0]
  (found,) = predictor.predict([example])
  assert found.row['history_length'] == 0
  assert np.isfinite(found.row['draft_probabilities']).all()
  assert found.row['parse_ok']


def test_the_answer_depends_on_the_item(predictor, choice_folder):
  example = choice_folder[1]['test'][0]
  others = [{**example, 'example_item': [item]} for item in range(8)]
  odds = [x.row['draft_probabilities'][0] for x in predictor.predict(others)]
  assert len({round(x, 5) for x in odds}) == 8


def test_examples_that_cannot_be_asked(predict, choice_folder, tmp_path):
  folder = tmp_path / 'histories'
  shutil.copytree(choice_folder[0] / 'histories', folder)
  rows = [{**row} for row in choice_folder[1]['test']]
  rows[0]['example_item'] = []
  rows[1]['example_item'] = [900]
  rows[2]['history_items'] = rows[2]['history_items'][:-1]
  place = folder / 'questions' / choices.NAME
  choices.write_examples(place, 'test', rows)
  answered = predict('out', histories=folder)
  assert len(answered) == len(rows) - 3
  files = sorted((tmp_path / 'out').glob('rejects-*'))
  rejects = [json.loads(x) for file in files for x in file.read_text().splitlines()]
  rejects = [reject['record'] for reject in rejects]
  found = {reject['example_id']: reject['value'] for reject in rejects}
  assert found[rows[0]['example_id']] == 'example_item is missing'
  assert found[rows[1]['example_id']].startswith('example_item is 900; the item table')
  assert 'history_items with' in found[rows[2]['example_id']]


def test_a_folder_without_the_question(predict, choice_folder, tmp_path):
  folder = tmp_path / 'histories'
  shutil.copytree(choice_folder[0] / 'histories', folder)
  file = folder / 'dataset_info.json'
  info = json.loads(file.read_text())
  info['counts']['examples'] = {'other_v1': {'test': 3}}
  file.write_text(json.dumps(info))
  with pytest.raises(JobError, match=r"no examples of .*, but of \['other_v1'"):
    predict('out', histories=folder)
  info['counts']['examples'] = {choices.NAME: {'train': 9, 'test': 0}}
  file.write_text(json.dumps(info))
  with pytest.raises(JobError, match=r'in the split test \(train 9, test 0\)'):
    predict('out', histories=folder)


def test_the_model_card(choice_model):
  card = (choice_model / 'adapter' / 'README.md').read_text()
  prompt = json.dumps(choices.WORDS['prompt'])
  assert f'Task prompt, after the soft tokens: `{prompt}`, about an example.' in card
  assert f'| examples of {choices.NAME} | train ' in card
  assert 'Labels are a function' not in card


def test_a_model_of_text_histories(choice_recipe, choice_folder, tmp_path):
  choice_recipe(
    'history_limits.text_tokens = 200',
    'build.num_task_tokens = 2',
    "train.tuning = 'frozen'",
    "decoder/Stage.trainable = ('adapter/.*',)",
    'decoder/Stage.steps = 2',
    file='runs/choice_text.gin',
  )
  trainer.train(str(tmp_path))
  folder = choice_folder[0]
  places = f'{folder}/histories', f'{folder}/embeddings'
  predictor = Predictor(str(tmp_path), *places, 3, Decoding(scored_options=0))
  rows = [x.row for x in predictor.predict(choice_folder[1]['test'][:5])]
  assert {row['answer'] for row in rows} <= {'Yes', 'No'}
  assert {row['draft_answer'] for row in rows} == {None}
  for name in ('draft_probabilities', 'decoder_probabilities'):
    assert [row[name] for row in rows] == [[]] * 5, 'no draft, none scored'
  with pytest.raises(ValueError, match='drafts no answer'):
    predictor.draft_probabilities(choice_folder[1]['test'][:5])
  gin.clear_config()


def test_without_soft_tokens_the_decoder_reads_text_alone(
  choice_recipe, choice_folder, tmp_path
):
  """LoRA with a rate of 0 leaves the decoder as it is, which is asked by itself."""
  choice_recipe(
    'history_limits.text_tokens = 200',
    'decoder/Stage.learning_rate = 0.0',
    'decoder/Stage.steps = 1',
    file='runs/choice_text.gin',
  )
  trainer.train(str(tmp_path))
  folder, examples = choice_folder[0], choice_folder[1]['test'][:3]
  places = f'{folder}/histories', f'{folder}/embeddings'
  predictor = Predictor(str(tmp_path), *places, 3, Decoding(weights='float32'))
  assert predictor.soft_prompts(examples).shape == (3, 0, 16)
  vocabulary = vocabularies.load_vocabulary(f'{folder}/small_decoder')
  decoder = decoders.load_decoder(f'{folder}/small_decoder')
  read = jax.jit(functools.partial(decoder.module.apply, {'params': decoder.params}))
  for example, answer in zip(examples, predictor.predict(examples), strict=True):
    before = predictor._request(example).prompt.tolist()
    assert vocabulary.decode(before).endswith(predictor.task_prompt(example))
    scores = []
    for option in predictor.question.option_tokens(vocabulary.encode):
      tokens, end = [*option, vocabulary.eos_id], len(before) - 1
      row = np.zeros((1, 400), np.int32)  # one shape; what stands behind is not read
      row[0, : len(before) + len(tokens)] = [*before, *tokens]
      told = np.asarray(jax.nn.log_softmax(read(row)))[0, end : end + len(tokens)]
      scores.append(told[np.arange(len(tokens)), tokens].sum())
    odds = answer.row['decoder_probabilities']
    np.testing.assert_allclose(odds, jax.nn.softmax(np.array(scores)), atol=1e-4)
  gin.clear_config()
