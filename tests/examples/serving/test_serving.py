"""Other servers write the table's answers behind exported soft prompts."""

import json
import os
import socket
import subprocess
import time
import urllib.request

import pytest

from examples.serving.fitting import check_decoder
from persoma_tf import export_decoder
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


def check_answers(module: str, exported, *more: str):
  """Checks what an example writes against the table."""
  predictions, decoder = exported
  argv = [PYTHON, '-m', module, f'--predictions={predictions}', f'--decoder={decoder}']
  done = subprocess.run([*argv, *more], cwd=ROOT, stdout=subprocess.PIPE, check=True)
  answers = {x['user_id']: x['text'] for x in map(json.loads, done.stdout.splitlines())}
  assert answers == {row['user_id']: row['text'] for row in rows_of(predictions)}


@with_vllm
@pytest.mark.assets
@pytest.mark.parametrize(
  'exported', ['--constrained', '--noconstrained'], indirect=True
)
def test_transformers(exported):
  check_answers('examples.serving.with_transformers', exported)


@with_vllm
@pytest.mark.assets
def test_a_server_by_the_protocol_of_openai(exported):
  with socket.create_server(('127.0.0.1', 0)) as free:
    port = free.getsockname()[1]
  argv = [PYTHON, '-m', 'vllm.entrypoints.openai.api_server', '--host=127.0.0.1']
  argv += [f'--port={port}', f'--model={exported[1]}', '--dtype=float32']
  argv += ['--enable-prompt-embeds', '--enforce-eager']
  settings = {'VLLM_CPU_KVCACHE_SPACE': '1', 'VLLM_CPU_OMP_THREADS_BIND': 'nobind'}
  server = subprocess.Popen(argv, env=os.environ | settings)
  try:
    while not answers(f'http://127.0.0.1:{port}/health'):
      assert server.poll() is None
      time.sleep(0.5)
    address = f'--server=http://127.0.0.1:{port}'
    check_answers('examples.serving.with_openai_server', exported, address)
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
def test_what_does_not_fit(exported):
  predictions, decoder = exported
  check_decoder(predictions, decoder)
  run, about = predictions / 'run_info.json', decoder / 'persoma.json'
  manifest = json.loads(run.read_text())['model']
  tuned = {**manifest, 'parameters': {'decoder/layers/attention/query/lora_a': [2, 2]}}
  shared = {**manifest, 'task_prompt': None}
  for file, changed, told in (
    (run, {'soft_prompts': False}, 'without --soft_prompts'),
    (run, {'model': shared}, 'prompts of their own'),
    (run, {'model': tuned}, f'of model None; expected .* for {manifest["model_id"]}'),
    (about, {'decoder_sha256': 'a'}, 'is another decoder'),
    (about, {'model_id': 'persoma-1-a'}, 'is of model persoma-1-a'),
    (about, {'weights_sha256': 'a'}, 'model.safetensors has changed'),
  ):
    before = file.read_text()
    file.write_text(json.dumps({**json.loads(before), **changed}))
    with pytest.raises(ValueError, match=told):
      check_decoder(predictions, decoder)
    file.write_text(before)
