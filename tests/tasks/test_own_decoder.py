"""One's own decoder, with a vocabulary in its file or folder, from recipe to answer."""

import json

import gin
import pytest

from persoma_tf import decoders, recipes, testing
from persoma_tf.training import trainer
from pipelines.common import tfrecord
from pipelines.histories import history_records
from tasks.predictor import Predictor
from tests import tiny as tiny_parts


@pytest.fixture(scope='module')
def own(tmp_path_factory):
  """A GGUF file with random weights and a vocabulary of 370 tokens."""
  path = tmp_path_factory.mktemp('own') / 'own.gguf'
  decoder = tiny_parts.random_gemma(370)
  model = tiny_parts.train_sentence_piece()
  add = lambda writer: tiny_parts.add_sentence_piece(writer, model)
  return tiny_parts.write_gemma(path, decoder, add)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A Hugging Face folder with random weights and a tokenizer.json."""
  return testing.write_decoder(tmp_path_factory.mktemp('own') / 'qwen')


@pytest.fixture
def parse(folders):
  """Parses recipes for the small parts, with bindings."""

  def parse(*bindings, files=('runs/perceiver.gin',)):
    gin.clear_config()
    macros = zip(('HISTORIES_DIR', 'EMBEDDINGS_DIR'), map(str, folders), strict=True)
    settings = [f'{name} = {value!r}' for name, value in macros]
    recipes.parse_recipes(files, [*settings, *tiny_parts.RECIPE, *bindings])

  return parse


@pytest.mark.parametrize(('kind', 'start'), [('own', 2), ('folder', None)])
def test_trains_and_answers(parse, folders, kind, start, tmp_path, request):
  """One setting names the decoder and its vocabulary, also when the model is loaded."""
  own = request.getfixturevalue(kind)
  parse(
    f'DECODER = {str(own)!r}',
    'train.stages = [@decoder/Stage()]',
    "decoder/Stage.trainable = ('adapter/.*',)",
    "train.tuning = 'lora'",
  )
  trainer.train(str(tmp_path))
  manifest = json.loads((tmp_path / 'adapter' / 'manifest.json').read_text())
  assert manifest['start_token'] == start
  gin.clear_config()
  predictor = Predictor(str(tmp_path), *map(str, folders), batch_size=3)
  files = sorted(folders[0].glob('test-*'))
  users = [
    history_records.decode_example(x)
    for file in files
    for x in tfrecord.read_tfrecord(str(file))
  ]
  rows = [made.row for made in predictor.predict(users[:3])]
  assert [row['user_id'] for row in rows] == [user['user_id'] for user in users[:3]]
  assert predictor._vocabulary.vocab_size == decoders.load_decoder(str(own)).vocab_size
  assert all(row['log_prob'] < 0 for row in rows)


def test_a_vocabulary_that_the_decoder_has_not(parse, own, tmp_path):
  """A decoder of fewer tokens than the vocabulary."""
  small = tiny_parts.write_gemma(tmp_path / 'x.gguf', tiny_parts.random_gemma(300))
  parse(f'DECODER = {str(own)!r}', f'build.decoder = {str(small)!r}')
  with pytest.raises(ValueError, match=r'a vocabulary of 370 tokens, .* has 300'):
    trainer.train(str(tmp_path / 'model'))


def test_gemma_over_the_quickstart(parse):
  parse(files=('runs/perceiver.gin', 'models/gemma3_270m.gin'))
  for name in ('build.decoder', 'task_vocabulary.decoder'):
    assert gin.query_parameter(name).scoped_configurable_fn() == 'gemma3-270m'
