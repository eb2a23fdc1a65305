"""vLLM behind soft prompts: JAX's form, the same answers, clear refusals."""

import os
import pathlib
import sys

import numpy as np
import pytest

from persoma_tf.inference import grammar, vllm_server
from persoma_tf.inference.decoding_settings import Decoding
from persoma_tf.inference.grammar import FormPlace, Phrase
from persoma_tf.inference.vllm_engine import VllmProcess, form_of
from pipelines import batch_predict
from pipelines.predictions import prediction_files
from tests import tiny

PYTHON = pathlib.Path(sys.prefix).with_name('.venv-vllm') / 'bin' / 'python'
_END = 9


def lists() -> grammar.Grammar:
  """Two names, or one, none twice; names share their first token."""
  phrases = [
    Phrase(f'{name}{kind}', (1, 2 + name, *[8] * (kind == ',')), kind, name)
    for name in range(3)
    for kind in (',', '')
  ]
  phrases = [x._replace(tokens=(*x.tokens, 7)) if not x.kind else x for x in phrases]
  places = [FormPlace({',': 1, '': grammar.END}), FormPlace({'': grammar.END}, 1)]
  return grammar.compiled(phrases, places, _END, opening=(5, 6))


def test_the_form_is_that_of_jax():
  form, _ = form_of(made := lists())
  walk, seen = vllm_server.FormWalk(*form), 0
  todo = [((), made.forced()[1])]
  for written, reached in todo:
    edges = np.asarray(made.allowed(reached))[0]
    edges = edges[edges >= 0]
    allowed = np.asarray(made.tokens)[edges].tolist()
    assert walk.allowed(written).tolist() == allowed
    seen += 1
    for token, edge in zip(allowed, edges, strict=True):
      if token != _END:
        todo.append(((*written, token), made.reach(reached, np.array([edge]))))
  assert seen > 20


@pytest.mark.parametrize(
  'wrong', [{'beams': 2}, {'temperature': 0.5}, {'weights': 'int8'}], ids=str
)
def test_refuses_what_it_cannot_do(wrong):
  ((name, value),) = wrong.items()
  with pytest.raises(ValueError, match=f'{name}={value} with engine=vllm'):
    Decoding(**wrong).check_engine('vllm')
  Decoding(**wrong).check_engine('jax')


def test_without_vllm_it_names_the_command(tmp_path):
  with pytest.raises(ValueError, match='make setup-vllm'):
    VllmProcess(str(tmp_path / 'python'), {})


def test_a_python_without_vllm_says_so():
  with pytest.raises(ValueError, match='no Python that has vLLM; make setup-vllm'):
    VllmProcess(sys.executable, {'form': None})


@pytest.fixture(scope='module')
def tiny_decoder(tmp_path_factory) -> pathlib.Path:
  """As elsewhere, but vLLM's attention on CPUs knows no heads of width 4."""
  folder, width = tmp_path_factory.mktemp('decoder'), 32
  change = lambda writer: writer.add_key_length(width)
  return tiny.write_decoder(folder / 'tiny.gguf', change, head=width)


@pytest.fixture(scope='module')
def _model_folder(tmp_path_factory) -> pathlib.Path:
  """Where `model` is trained, with this decoder."""
  return tmp_path_factory.mktemp('model')


@pytest.mark.assets
@pytest.mark.skipif(
  not os.access(PYTHON, os.X_OK), reason='no vLLM here: make setup-vllm'
)
@pytest.mark.parametrize('flag', ['--constrained', '--noconstrained'])
def test_the_same_table(folders, model, tmp_path, flag):
  common = [
    *(f'--model_dir={model}', f'--histories_dir={folders[0]}', '--format=json'),
    *(f'--embeddings_dir={folders[1]}', '--weights=float32', '--run_id=r', flag),
  ]
  tables = []
  for engine in ('jax', 'vllm'):
    out = tmp_path / engine
    batch_predict.run(
      [*common, f'--output_dir={out}', f'--engine={engine}', f'--vllm_python={PYTHON}']
    )
    tables.append(prediction_files.read_predictions(str(out), 'json'))
  for ours, theirs in zip(*tables, strict=True):
    assert theirs['text'] == ours['text']
    assert theirs['log_prob'] == pytest.approx(ours['log_prob'], abs=1e-3)
