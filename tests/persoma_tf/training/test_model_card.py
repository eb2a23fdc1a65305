"""The model card, of files written here."""

import json

import pytest
import yaml

from persoma_tf.asset_table import ASSETS
from persoma_tf.training import model_card

DECODER = 'smollm2-135m-instruct'
CONFIG = """train.task = 'movielens_genre_prediction_v1'
train.tuning = 'lora'
train.seed = 3
train.stages = [@histories/Stage(), @decoder/Stage()]
train.validation_examples = 16
histories/Stage.steps = 1500
histories/Stage.batch_size = 64
decoder/Stage.steps = 120
"""
METRICS = [
  {'step': 5, 'validation/decoder/loss': 0.5, 'validation/decoder/lm_loss': 0.4},
  {'step': 9, 'validation/decoder/loss': 0.7, 'validation/decoder/lm_loss': 0.6},
]
DATA = {
  'counts': {'users': {'train': 600, 'test': 205}},
  'label_mode': 'future',
  'inputs': {'ratings': [{'name': 'r|x.csv', 'bytes': 12, 'checksum': 'sha256:ab'}]},
}
SCORES = {
  'f1': 0.5,
  'f1_low': 0.4,
  'f1_high': 0.6,
  'precision': 0.55,
  'recall': 0.45,
  'parse_failures': 2,
  'users': 205,
}


@pytest.fixture
def model(tmp_path):
  """A model folder and the histories that it was trained on."""
  histories, folder = tmp_path / 'histories', tmp_path / 'model'
  (folder / 'adapter').mkdir(parents=True)
  histories.mkdir()
  (histories / 'COMPLETED').write_text('{"fingerprint": "f00"}')
  (histories / 'dataset_info.json').write_text(json.dumps(DATA))
  (folder / 'config.gin').write_text(f'HISTORIES_DIR = {str(histories)!r}\n{CONFIG}')
  (folder / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, METRICS)))
  manifest = {
    'model_id': 'persoma-1620-abc',
    'decoder': DECODER,
    'decoder_sha256': 'dd',
    'step': 1620,
    'task_prompt': '\nGenres:\n',
    'histories': 'f00',
    'parameters': {'adapter/w': [3, 4], 'decoder/layers/lora_a': [5]},
  }
  (folder / 'adapter' / 'manifest.json').write_text(json.dumps(manifest))
  return folder


def test_what_it_says(model):
  card = model_card.card_of_folder(str(model))
  front = yaml.safe_load(card.split('---\n')[1])
  assert front['library_name'] == 'persoma'
  assert 'lora' in front['tags']
  assert front['base_model'] in ASSETS[DECODER].elsewhere
  assert '17 trained parameters in 2 arrays' in card
  assert ASSETS[DECODER].license in card
  assert '`"\\nGenres:\\n"`' in card
  assert 'train 600, test 205' in card
  assert '| ratings | r\\|x.csv | 12 | `sha256:ab` |' in card
  assert '| licence | not stated |' in card
  assert '| histories | 1500 | 64 |' in card
  assert '| decoder | 5 | loss | 0.5000 |' in card, 'the best, not the newest'
  assert 'Labels come from ratings after a cutoff time' in card
  assert str(model.parent) not in card, 'a card goes with the adapter: no paths'
  assert model_card.card_of_folder(str(model)) == card


def test_stages_elsewhere(model):
  """A recipe may name its stages by a macro: the card leaves their table out."""
  recipe = model / 'config.gin'
  stages = '[@histories/Stage(), @decoder/Stage()]'
  recipe.write_text(recipe.read_text().replace(stages, '%STAGES'))
  assert '| histories |' not in model_card.card_of_folder(str(model))


def test_the_scores_of_a_report(model):
  report = {'data': {'split': 'test'}, 'methods': {'persoma': SCORES}}
  assert 'Test scores\n\nNot in this file' in model_card.card_of_folder(str(model))
  card = model_card.card_of_folder(str(model), report=report)
  assert '| persoma | 0.500 | 0.400 to 0.600 | 0.550 | 0.450 | 2 of 205 |' in card
  coverage = {'users_scored': 205, 'users_in_split': 205, 'rejects': 0}
  report['data']['coverage'] = coverage
  assert model_card.card_of_folder(str(model), report=report) == card
  report['data']['coverage'] = coverage | {'users_in_split': 207, 'rejects': 2}
  card = model_card.card_of_folder(str(model), report=report)
  assert 'On the split `test` (205 of its 207 users); `persoma` is this' in card


def test_a_control_and_a_better_baseline(model):
  control = {name: x for name, x in SCORES.items() if name not in ('f1_low', 'f1_high')}
  methods = {'persoma': SCORES, 'swapped_users': control}
  report = {'data': {'split': 'test'}, 'methods': methods}
  card = model_card.card_of_folder(str(model), report=report)
  assert '| swapped_users | 0.500 | – | 0.550 | 0.450 | 2 of 205 |' in card
  below = 'persoma scores below linear_probe: F1 0.500 against 0.700.'
  report['better_baseline'] = {'method': 'linear_probe', 'text': below}
  assert f'over users. {below}\n\n' in model_card.card_of_folder(
    str(model), report=report
  )
  report['better_baseline'] = None
  assert model_card.card_of_folder(str(model), report=report) == card


def test_the_licence(model):
  info = model.parent / 'histories' / 'dataset_info.json'
  info.write_text(json.dumps(DATA | {'data_license': 'CC0'}))
  assert '| licence | CC0 |' in model_card.card_of_folder(str(model))
  name, (_, sha256) = next(iter(ASSETS['ml-100k'].files.items()))
  file = {'name': name, 'bytes': 1, 'checksum': f'sha256:{sha256}'}
  info.write_text(json.dumps(DATA | {'inputs': {'ratings': [file]}}))
  assert ASSETS['ml-100k'].license in model_card.card_of_folder(str(model))


def test_histories_that_are_no_longer_those(model, tmp_path):
  """Made again with other data, they are not told of; moved, they are."""
  folder = tmp_path / 'histories'
  moved = folder.rename(tmp_path / 'moved')
  assert 'Not stated: the info file' in model_card.card_of_folder(str(model))
  assert 'train 600' in model_card.card_of_folder(str(model), str(moved))
  (moved / 'COMPLETED').write_text('{"fingerprint": "0ther"}')
  assert 'was not available' in model_card.card_of_folder(str(model), str(moved))


def test_data_that_no_macro_names(model):
  recipe = model / 'config.gin'
  named = recipe.read_text().replace('HISTORIES_DIR', 'data_folders.histories_dir')
  recipe.write_text(named)
  assert 'train 600, test 205' in model_card.card_of_folder(str(model))


@pytest.mark.parametrize('said', [{'history': 'vectors'}, {}])
def test_a_mixture_does_not_read_text(model, said):
  """An older manifest does not say it, but has what only vectors need."""
  file = model / 'adapter' / 'manifest.json'
  manifest = json.loads(file.read_text()) | {'task_prompt': None}
  file.write_text(json.dumps(manifest))
  assert 'history is in the prompt as text' in model_card.card_of_folder(str(model))
  prompts = {'a_v1': 'A?', 'b_v1': None}
  manifest['parameters']['adapter/standardize/mean'] = [4]
  file.write_text(json.dumps(manifest | {'task_prompts': prompts} | said))
  card = model_card.card_of_folder(str(model))
  assert 'soft tokens: `"A?"` (`a_v1`), one for each user (`b_v1`)' in card
  assert 'prompt as text' not in card
