"""Several questions are answered with one model, each into a table of its own."""

import json
import shutil

import numpy as np
import pytest

from persoma_tf.inference.decoding_settings import Decoding
from persoma_tf.training import trainer
from pipelines import batch_predict
from pipelines.common import storage
from pipelines.common.job import JobError
from pipelines.predictions import prediction_files
from pipelines.predictions.asker import Asker
from pipelines.predictions.table_name import table_of
from tasks.predictor import Predictor
from tests.tasks.test_question_mixture import (
  LIKE,
  SHELF,
  SUBJECTS,
  folder,  # noqa: F401  a fixture
  recipe,  # noqa: F401  a fixture
)
from tests.vllm import both, check_same, tiny_decoder, with_vllm  # noqa: F401

ALL = (LIKE, SUBJECTS, SHELF)
STEPS = ('histories/Stage.steps = 1', 'decoder/Stage.steps = 1')


@pytest.fixture(scope='module')
def model_dir(tmp_path_factory):
  return tmp_path_factory.mktemp('model_of_questions')


@pytest.fixture
def predict(recipe, folder, model_dir, tmp_path, loaded_once):  # noqa: F811
  """Runs the job with a model of like and subjects; returns the folder."""
  if not (model_dir / 'COMPLETED').exists():
    recipe(f"own_questions.names = ('{LIKE}', '{SUBJECTS}')", *STEPS)
    trainer.train(str(model_dir))

  def run(name, *flags):
    batch_predict.run(
      [
        f'--model_dir={model_dir}',
        f'--histories_dir={folder}/histories',
        f'--embeddings_dir={folder}/embeddings',
        f'--output_dir={tmp_path / name}',
        '--format=json',
        '--batch_size=4',
        '--shard_users=8',
        '--weights=float32',
        *flags,
      ]
    )
    return tmp_path / name

  return run


def rows_of(folder):  # noqa: F811
  rows = prediction_files.read_predictions(str(folder), 'json')
  return [{**row, 'predicted_at': '', 'run_id': ''} for row in rows]


def test_each_question_has_a_folder_of_its_own(predict, monkeypatch):
  write = storage.write_file

  def cut(path, data):
    if 'predictions-00001' in path and f'/{SUBJECTS}/' in path:
      raise OSError('cut')
    write(path, data)

  with monkeypatch.context() as patch:
    patch.setattr(storage, 'write_file', cut)
    with pytest.raises(OSError, match='cut'):
      predict('both', '--questions=all')
  both = predict('both')  # all questions, too
  folders = prediction_files.folders_of_questions(str(both))
  assert folders == {name: f'{both}/{name}' for name in (LIKE, SUBJECTS)}
  assert prediction_files.folders_of_questions(folders[LIKE]) == {'': folders[LIKE]}
  for name, place in folders.items():
    rows = rows_of(place)
    assert {row['task'] for row in rows} == {name}
    assert [row for row in rows if not row['parse_ok']] == []
  likes = rows_of(folders[LIKE])
  answered = json.loads((both / LIKE / 'run_info.json').read_text())
  assert answered['users'] == len(likes)
  assert all(len(row['draft_probabilities']) == 2 for row in likes)


def test_other_questions_are_asked_without_drafts(predict):
  with pytest.raises(JobError, match=f'not to {SHELF}.*--nodrafts'):
    predict('out', f'--questions={SHELF}')
  with pytest.raises(JobError, match=r"have no question 'shelves'.*expected all, or"):
    predict('out', '--questions=shelves')
  out = predict('out', f'--questions={LIKE},{SHELF}', '--nodrafts')
  for row in rows_of(out / LIKE):
    assert row['draft_probabilities'] == []
    assert len(row['decoder_probabilities']) == 2
  assert {row['task'] for row in rows_of(out / SHELF)} == {SHELF}


def test_a_name_of_no_question(predict, folder, model_dir):  # noqa: F811
  del predict  # trains the model
  places = str(model_dir), f'{folder}/histories', f'{folder}/embeddings', 2
  with pytest.raises(ValueError, match=r'no draft for question .*drafts=False'):
    Predictor(*places, questions=[SHELF])


def test_one_user_is_asked_one_of_them(predict, folder, model_dir, tmp_path):  # noqa: F811
  """Of the others the folder needs no examples."""
  del predict  # trains the model
  shutil.copytree(folder / 'histories', tmp_path / 'histories')
  info = tmp_path / 'histories' / 'dataset_info.json'
  without = json.loads(info.read_text())
  del without['counts']['examples'][LIKE]
  info.write_text(json.dumps(without))
  places = model_dir, tmp_path / 'histories', folder / 'embeddings'
  user = 'reader-0031'
  asker = Asker(*places, Decoding(weights='float32'))
  drafted = asker.ask(user, SUBJECTS)
  assert drafted.row['task'] == SUBJECTS
  with pytest.raises(JobError, match=f'no examples of .*{LIKE}'):
    asker.ask(user, LIKE)
  with pytest.raises(JobError, match=f'{LIKE}, {SUBJECTS}, not {SHELF}: expected'):
    asker.ask(user, SHELF)
  masked = Asker(*places, Decoding(weights='float32'), drafts=False)
  assert [*masked.questions] == [LIKE, SUBJECTS, SHELF]
  named = masked.ask(user, SHELF, prompt='What is on the shelf?')
  assert named.row['task'] == SHELF
  assert named.prompt.strip() == 'What is on the shelf?'
  user_tokens = drafted.soft_prompt[: len(named.soft_prompt)]
  assert len(user_tokens) < len(drafted.soft_prompt)
  listed = masked.ask(user, SUBJECTS)
  assert (listed.row['draft_liked'], listed.row['parse_ok']) == ([], True)
  np.testing.assert_allclose(listed.soft_prompt, user_tokens, atol=1e-5)


def test_names_of_tables():
  assert table_of('p:d.t', '') == 'p:d.t'
  assert table_of('p:d.t', LIKE) == f'p:d.t_{LIKE}'


@with_vllm
@pytest.mark.assets
def test_vllm_answers_them_in_one_process(
  recipe,  # noqa: F811
  folder,  # noqa: F811
  tiny_decoder,  # noqa: F811
  tmp_path,
):
  """With the probabilities of all options of a choice, or of the draft's."""
  asked = f"own_questions.names = ('{LIKE}', '{SUBJECTS}')"
  recipe(asked, f'DECODER = {str(tiny_decoder)!r}', *STEPS)
  trainer.train(f'{tmp_path}/model')
  inputs = [tmp_path / 'model', folder / 'histories', folder / 'embeddings']
  for name, *flags in (('all',), ('first', '--scored_options=1', '--noconstrained')):
    outs = both(tmp_path / name, *inputs, '--questions=all', *flags)
    for question in (LIKE, SUBJECTS):
      check_same([out / question for out in outs])
    assert all(row['decoder_probabilities'] for row in rows_of(outs[1] / LIKE))
