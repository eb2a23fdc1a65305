"""Exported decoders, read back: the same model, vocabulary and answers."""

import json
import shutil

import gin
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from persoma_tf import decoders, export_decoder, recipes, testing
from persoma_tf.parameters import checkpoints, freezing
from persoma_tf.training import trainer
from tasks.vocabularies import load_vocabulary
from tests import tiny

TEXTS = ['The user likes Drama, War!', 'e\u0301 <|im_end|> 123', '  two\n\nlines ', '']


def export(*flags):
  export_decoder.main([f'--{flag}' for flag in flags])


def logits(decoder):
  tokens = np.arange(3, 15).reshape(2, 6)
  return np.asarray(jax.jit(decoder.module.apply)({'params': decoder.params}, tokens))


@pytest.fixture(scope='module')
def qwen(tmp_path_factory):
  return testing.write_decoder(tmp_path_factory.mktemp('export') / 'qwen')


@pytest.fixture(scope='module')
def gemma(tmp_path_factory):
  """A GGUF file with a SentencePiece vocabulary."""
  model = tiny.train_sentence_piece()
  return tiny.write_gemma(
    tmp_path_factory.mktemp('export') / 'gemma.gguf',
    tiny.random_gemma(370),
    lambda writer: tiny.add_sentence_piece(writer, model),
  )


@pytest.mark.parametrize('kind', ['qwen', 'gemma'])
def test_a_folder_says_what_its_source_says(kind, tmp_path, request):
  source = str(request.getfixturevalue(kind))
  export(f'decoder={source}', f'output_dir={tmp_path}/out')
  old, new = decoders.load_decoder(source), decoders.load_decoder(f'{tmp_path}/out')
  assert new.module == old.module
  jax.tree.map(np.testing.assert_array_equal, new.params, dict(old.params))
  ours, theirs = load_vocabulary(f'{tmp_path}/out'), load_vocabulary(source)
  for text in TEXTS:
    assert ours.encode(text) == theirs.encode(text)
  assert (ours.eos_id, ours.vocab_size) == (theirs.eos_id, theirs.vocab_size)
  assert [path.name for path in tmp_path.iterdir()] == ['out']


@pytest.mark.assets
def test_smollm2(assets, tmp_path):
  """The quickstart's decoder: the same parameters, and ids of all recorded texts."""
  assets('smollm2-135m-instruct')
  name = 'smollm2-135m-instruct'
  export(f'decoder={name}', f'output_dir={tmp_path}/out')
  old, new = decoders.load_decoder(name), decoders.load_decoder(f'{tmp_path}/out')
  assert new.module == old.module
  jax.tree.map(np.testing.assert_array_equal, new.params, dict(old.params))
  ours, theirs = load_vocabulary(f'{tmp_path}/out'), load_vocabulary(name)
  recorded = tiny.ROOT / 'tasks' / 'smollm2_token_ids.json'
  for text, ids in json.loads(recorded.read_text()):
    assert ours.encode(text) == ids
    assert ours.decode(ids) == theirs.decode(ids)
  assert (ours.eos_id, ours.other_ends) == (theirs.eos_id, ())
  assert ours.chat.around_message() == theirs.chat.around_message()
  before, _ = ours.chat.around_message()
  assert ours.encode_signs(before) == theirs.encode_signs(before)


def test_half_the_size(qwen, tmp_path):
  export(f'decoder={qwen}', 'dtype=bfloat16', f'output_dir={tmp_path}/out')
  old, new = decoders.load_decoder(str(qwen)), decoders.load_decoder(f'{tmp_path}/out')
  np.testing.assert_allclose(logits(new), logits(old), atol=0.1)
  config = json.loads((tmp_path / 'out' / 'config.json').read_text())
  assert config['dtype'] == 'bfloat16'


@pytest.fixture(scope='module')
def trained(qwen, folders, tmp_path_factory):
  """(folder of a model with LoRA in every matrix, its decoder with LoRA)."""
  gin.clear_config()
  macros = zip(('HISTORIES_DIR', 'EMBEDDINGS_DIR'), map(str, folders), strict=True)
  settings = [f'{name} = {value!r}' for name, value in macros]
  more = (
    f'DECODER = {str(qwen)!r}',
    'train.stages = [@decoder/Stage()]',
    "decoder/Stage.trainable = ('adapter/.*',)",
    'decoder/Stage.learning_rate = 0.05',
    "train.tuning = 'lora'",
    "lora.targets = 'all'",
  )
  recipes.parse_recipes(['runs/perceiver.gin'], [*settings, *tiny.RECIPE, *more])
  folder = tmp_path_factory.mktemp('trained')
  trainer.train(str(folder))
  gin.clear_config()
  decoder = decoders.load_decoder(str(qwen))
  sha256 = checkpoints.fingerprint(decoder.params)
  found = checkpoints.load_adapter(f'{folder}/adapter', sha256)
  params = freezing.overlay({'decoder': decoder.params}, found)['decoder']
  return folder, decoder._replace(params=params)


def test_merged(trained, qwen, tmp_path):
  folder, decoder = trained
  export(f'model_dir={folder}', f'output_dir={tmp_path}/out')
  merged = decoders.load_decoder(f'{tmp_path}/out')
  np.testing.assert_allclose(logits(merged), logits(decoder), atol=1e-4)
  assert np.abs(logits(decoder) - logits(decoders.load_decoder(str(qwen)))).max() > 0.01
  about = json.loads((tmp_path / 'out' / 'persoma.json').read_text())
  manifest = checkpoints.adapter_manifest(f'{folder}/adapter')
  assert {name: about[name] for name in ('model_id', 'decoder_sha256')} == {
    name: manifest[name] for name in ('model_id', 'decoder_sha256')
  }


def test_peft(trained, tmp_path):
  """By PEFT's formula, W + alpha / r * B A, on the matrices of the folder."""
  folder, decoder = trained
  export(f'model_dir={folder}', 'form=peft', f'output_dir={tmp_path}/out')
  config = json.loads((tmp_path / 'out' / 'adapter_config.json').read_text())
  assert config['target_modules'] == sorted(
    f'{name}_proj' for name in ('q', 'k', 'v', 'o', 'gate', 'up', 'down')
  )
  tensors = load_file(tmp_path / 'out' / 'adapter_model.safetensors')
  assert len(tensors) == 2 * 7 * decoder.module.config.num_layers
  base = load_file(f'{config["base_model_name_or_path"]}/model.safetensors')
  export(f'model_dir={folder}', f'output_dir={tmp_path}/merged')
  merged = load_file(tmp_path / 'merged' / 'model.safetensors')
  for name, a in tensors.items():
    if name.endswith('.lora_A.weight'):
      module = name.removeprefix('base_model.model.').removesuffix('.lora_A.weight')
      b = tensors[name.replace('lora_A', 'lora_B')]
      expected = base[f'{module}.weight'] + config['lora_alpha'] / config['r'] * b @ a
      np.testing.assert_allclose(merged[f'{module}.weight'], expected, atol=1e-5)
      assert np.abs(b @ a).max() > 0
  about, of_merged = (
    json.loads((tmp_path / x / 'persoma.json').read_text()) for x in ('out', 'merged')
  )
  assert about.pop('weights_sha256') != of_merged.pop('weights_sha256')
  assert about == of_merged


def test_what_was_trained_beside_lora_is_not_lost(trained, qwen, tmp_path):
  folder = tmp_path / 'model'
  shutil.copytree(trained[0], folder)
  adapter = f'{folder}/adapter'
  manifest = checkpoints.adapter_manifest(adapter)
  params = checkpoints.load_adapter(adapter, manifest['decoder_sha256'])
  width = len(load_file(f'{qwen}/model.safetensors')['model.norm.weight'])
  scale = np.arange(width, dtype=np.float32)
  params['decoder/final_norm/scale'] = scale
  checkpoints.save_adapter(str(folder), params, manifest)
  with pytest.raises(
    ValueError, match='decoder/final_norm/scale was trained beside LoRA'
  ):
    export(f'model_dir={folder}', 'form=peft', f'output_dir={tmp_path}/out')
  export(f'model_dir={folder}', f'output_dir={tmp_path}/out')
  written = load_file(tmp_path / 'out' / 'model.safetensors')['model.norm.weight']
  np.testing.assert_array_equal(written, scale)


def test_a_model_without_its_decoders_start_token(trained, qwen, tmp_path, caplog):
  """As adapters of Llama from before their manifest had the token."""
  folder, started = tmp_path / 'model', tmp_path / 'qwen'
  shutil.copytree(trained[0], folder)
  shutil.copytree(qwen, started)
  config = json.loads((qwen / 'config.json').read_text())
  (started / 'config.json').write_text(json.dumps({**config, 'bos_token_id': 3}))
  settings = json.loads((qwen / 'tokenizer_config.json').read_text())
  settings['add_bos_token'] = True
  (started / 'tokenizer_config.json').write_text(json.dumps(settings))
  recipe = (folder / 'config.gin').read_text().replace(str(qwen), str(started))
  (folder / 'config.gin').write_text(recipe)
  export(f'model_dir={folder}', f'output_dir={tmp_path}/out')
  assert 'was trained without the start token 3' in caplog.text


def test_what_cannot_be_written(trained, qwen, tmp_path):
  with pytest.raises(ValueError, match='was trained without LoRA'):
    export(f'decoder={qwen}', 'form=peft', f'output_dir={tmp_path}/out')
  assert not list(tmp_path.iterdir()), 'nothing is left of it'
  t5 = tiny.write_t5(tmp_path / 't5', 60)
  with pytest.raises(ValueError, match='is no decoder-only model'):
    export(f'decoder={t5}', f'output_dir={tmp_path}/out')
  with pytest.raises(FileExistsError, match='is not empty'):
    export(f'decoder={qwen}', f'output_dir={tmp_path}/t5')
