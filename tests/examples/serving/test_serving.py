"""Other servers write the table's answers behind exported soft prompts."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest

from examples.serving.fitting import check_decoder
from persoma_tf import export_decoder
from persoma_tf.training import trainer
from pipelines import batch_predict
from tests.vllm import (
  PYTHON,
  ROOT,
  _model_folder,  # noqa: F401  a fixture
  command,
  rows_of,
  tiny_decoder,  # noqa: F401  a fixture
  with_vllm,
)


@pytest.fixture(params=['--noconstrained'])
def exported(request, folders, model, tiny_decoder, tmp_path):  # noqa: F811
  """(predictions with soft prompts, folder of the decoder)."""
  predictions, decoder = tmp_path / 'predictions', tmp_path / 'decoder'
  flags = ('--soft_prompts', request.param)
  batch_predict.run(command(model, *folders, predictions, *flags))
  export_decoder.main([f'--decoder={tiny_decoder}', f'--output_dir={decoder}'])
  return predictions, decoder


@pytest.fixture
def tuned(recipe, folders, tiny_decoder, tmp_path):  # noqa: F811
  """(predictions with soft prompts of a model with LoRA, its PEFT folder)."""
  model, predictions, lora = (tmp_path / f'tuned_{x}' for x in ('model', 'out', 'lora'))
  recipe(
    f'build.decoder = {str(tiny_decoder)!r}',
    'train.stages = [@decoder/Stage()]',
    "decoder/Stage.trainable = ('adapter/.*',)",
    'decoder/Stage.learning_rate = 0.05',
    "train.tuning = 'lora'",
    "lora.targets = 'all'",
  )
  trainer.train(str(model))
  flags = ('--soft_prompts', '--noconstrained')
  batch_predict.run(command(model, *folders, predictions, *flags))
  flags = [f'--model_dir={model}', '--form=peft', f'--output_dir={lora}']
  export_decoder.main(flags)
  return predictions, lora


def written(example: str, predictions, decoder, *more: str) -> dict[str, str]:
  """User -> what an example writes."""
  argv = [PYTHON, '-m', f'examples.serving.{example}', f'--predictions={predictions}']
  argv += [f'--decoder={decoder}', *more]
  done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, check=True)
  return {x['user_id']: x['text'] for x in map(json.loads, done.stdout.splitlines())}


def change(file, **changed):
  """Changes a JSON file."""
  file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


def table(predictions) -> dict[str, str]:
  """User -> text of the table."""
  return {row['user_id']: row['text'] for row in rows_of(predictions)}


@with_vllm
@pytest.mark.assets
@pytest.mark.parametrize(
  'exported', ['--constrained', '--noconstrained'], indirect=True
)
def test_transformers(exported):
  assert written('with_transformers', *exported) == table(exported[0])


@with_vllm
@pytest.mark.assets
def test_a_server_by_the_protocol_of_openai(exported, tuned):
  """It answers with and without LoRA, which changes the answers."""
  (predictions, decoder), (of_lora, lora) = exported, tuned
  with socket.create_server(('127.0.0.1', 0)) as free:
    port = free.getsockname()[1]
  argv = [PYTHON, '-m', 'vllm.entrypoints.openai.api_server', '--host=127.0.0.1']
  argv += [f'--port={port}', f'--model={decoder}', '--dtype=float32']
  argv += ['--enable-prompt-embeds', '--enforce-eager']
  argv += ['--enable-lora', '--lora-modules', f'{lora.name}={lora}']
  modules = json.loads((lora / 'adapter_config.json').read_text())['target_modules']
  argv += ['--lora-target-modules', *modules]
  settings = {'VLLM_CPU_KVCACHE_SPACE': '1', 'VLLM_CPU_OMP_THREADS_BIND': 'nobind'}
  server = subprocess.Popen(argv, env=os.environ | settings)
  try:
    while not answers(f'http://127.0.0.1:{port}/health'):
      assert server.poll() is None
      time.sleep(0.5)
    ask = lambda *inputs: written(
      'with_openai_server', *inputs, f'--server=http://127.0.0.1:{port}'
    )
    assert ask(predictions, decoder) == table(predictions)
    assert ask(of_lora, decoder, f'--lora={lora}') == table(of_lora)
    trained = json.loads((lora / 'persoma.json').read_text())['model_id']
    change(decoder / 'persoma.json', model_id=trained)  # as if LoRA were merged in it
    assert ask(of_lora, decoder) != table(of_lora)
  finally:
    server.terminate()
    server.wait()


def answers(address: str) -> bool:
  """Tells whether a server is there."""
  try:
    return urllib.request.urlopen(address).status == 200
  except OSError:
    return False


@pytest.mark.assets
def test_what_does_not_fit(exported, tmp_path):
  predictions, decoder = exported
  run, about = predictions / 'run_info.json', decoder / 'persoma.json'
  lora = tmp_path / 'lora'
  lora.mkdir()
  (lora / 'adapter_model.safetensors').touch()
  manifest = json.loads(run.read_text())['model']
  tuned = {**manifest, 'parameters': {'decoder/layers/attention/query/lora_a': [2, 2]}}
  shared, name = {**manifest, 'task_prompt': None}, manifest['model_id']
  of_lora = {'model_id': name, 'weights_sha256': hashlib.sha256().hexdigest()}
  shutil.copy(about, lora)
  change(lora / 'persoma.json', **of_lora)
  check_decoder(predictions, decoder)
  check_decoder(predictions, decoder, lora)
  for file, changed, said, *more in (
    (run, {'soft_prompts': False}, 'without --soft_prompts'),
    (run, {'model': shared}, 'prompts of their own'),
    (run, {'model': tuned}, f'of model None; expected .*--model_dir=... of {name}'),
    (about, {'decoder_sha256': 'a'}, 'belongs to another decoder'),
    (about, {'model_id': 'persoma-1-a'}, 'is of model persoma-1-a'),
    (about, {'weights_sha256': 'a'}, 'model.safetensors has changed'),
    (about, {'model_id': name}, f'of model {name}; expected .*--decoder=', lora),
    (lora / about.name, {'model_id': None}, 'lora is of model None; expected', lora),
  ):
    before = file.read_text()
    change(file, **changed)
    with pytest.raises(ValueError, match=said):
      check_decoder(predictions, decoder, *more)
    file.write_text(before)
