"""What tests with vLLM share: those of `make test-vllm`."""

import json
import os
import pathlib
import sys

import pytest

from persoma_tf import decoders
from persoma_tf.decoders import hugging_face_export
from persoma_tf.tokenizers import gguf_tokenizer
from pipelines import batch_predict
from pipelines.predictions import prediction_files
from tasks import vocabularies
from tests import tiny

ROOT = tiny.ROOT.parent
SMOLLM2 = 'smollm2-135m-instruct'

ENGINES = ('jax', 'vllm')
PYTHON = pathlib.Path(f'{sys.prefix}-vllm', 'bin', 'python')


def with_vllm(test):
  """Marks a test that starts vLLM; it is skipped where vLLM is not."""
  is_there = os.access(PYTHON, os.X_OK)
  skip = pytest.mark.skipif(not is_there, reason='no vLLM here: make setup-vllm')
  return pytest.mark.vllm(skip(test))


@pytest.fixture(scope='module')
def tiny_decoder(assets, tmp_path_factory) -> pathlib.Path:
  """As elsewhere, but as a Hugging Face folder with SmolLM2's tokenizer.

  vLLM's attention on CPUs knows no heads of width 4.
  """
  assets(SMOLLM2)
  source, folder = (tmp_path_factory.mktemp(x) for x in ('source', 'decoder'))
  file, width = source / 'tiny.gguf', 32
  tiny.write_decoder(file, lambda writer: writer.add_key_length(width), head=width)
  made = decoders.load_decoder(str(file))
  parts = str(file), made.module.config, made.params, 'float32'
  hugging_face_export.write_model(folder, *parts)
  gguf_tokenizer.write_tokenizer(decoders.gguf_file(SMOLLM2), folder, None)
  config = folder / 'config.json'
  ends = {'eos_token_id': vocabularies.load_vocabulary(SMOLLM2).eos_id}
  config.write_text(json.dumps({**json.loads(config.read_text()), **ends}))
  return folder


@pytest.fixture(scope='module')
def _model_folder(tmp_path_factory) -> pathlib.Path:
  """Where `model` is trained, with this decoder."""
  return tmp_path_factory.mktemp('model')


def command(model, histories, embeddings, out, *more) -> list[str]:
  """Flags of batch_predict."""
  named = {'model': model, 'histories': histories, 'embeddings': embeddings}
  named |= {'output': out}
  return [
    *(f'--{name}_dir={path}' for name, path in named.items()),
    *('--format=json', '--weights=float32', '--run_id=r', f'--vllm_python={PYTHON}'),
    *more,
  ]


def rows_of(folder) -> list[dict]:
  """Rows of a table in JSON lines."""
  return prediction_files.read_predictions(str(folder), 'json')


def both(folder, *inputs) -> list[pathlib.Path]:
  """Folders of both engines, by the arguments of `command` without the output."""
  model, histories, embeddings, *more = inputs
  outs = [folder / engine for engine in ENGINES]
  for out in outs:
    engine = f'--engine={out.name}'
    batch_predict.run(command(model, histories, embeddings, out, engine, *more))
  return outs


def check_same(folders):
  """Checks that two folders have the same table."""
  assert rows_of(folders[0])
  for ours, theirs in zip(*map(rows_of, folders), strict=True):
    assert theirs['text'] == ours['text']
    assert theirs['log_prob'] == pytest.approx(ours['log_prob'], abs=1e-3)
    odds = [row.get('decoder_probabilities') for row in (ours, theirs)]
    assert odds[0] is None or odds[1] == pytest.approx(odds[0], abs=1e-4)
