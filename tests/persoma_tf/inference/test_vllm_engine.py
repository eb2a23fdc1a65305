"""vLLM behind soft prompts: JAX's form, the same answers, clear refusals."""

import concurrent.futures
import json
import shutil
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from persoma_tf.inference import grammar, vllm_server
from persoma_tf.inference.decoding_settings import Decoding
from persoma_tf.inference.grammar import FormPlace, Phrase
from persoma_tf.inference.vllm_engine import VllmProcess
from pipelines import batch_predict
from tests import tiny
from tests.vllm import (
  PYTHON,
  ROOT,
  _model_folder,  # noqa: F401  a fixture
  both,
  check_same,
  command,
  tiny_decoder,  # noqa: F401  a fixture
  with_vllm,
)

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
  made, seen = lists(), 0
  form = json.loads(json.dumps(made.as_lists()))
  begun, reached = made.forced()
  whole, walk = vllm_server.FormWalk(form), vllm_server.FormWalk(form, begun)
  todo = [((), reached)]
  for written, reached in todo:
    edges = np.asarray(made.allowed(reached))[0]
    edges = edges[edges >= 0]
    allowed = np.asarray(made.tokens)[edges].tolist()
    assert walk.allowed(written).tolist() == allowed
    assert whole.allowed([*begun, *written]).tolist() == allowed
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
    VllmProcess(sys.executable, {})


@with_vllm
@pytest.mark.assets
@pytest.mark.parametrize('flag', ['--constrained', '--noconstrained'])
def test_the_same_table(folders, model, tmp_path, flag):
  check_same(both(tmp_path, model, *folders, flag))


@with_vllm
@pytest.mark.assets
@pytest.mark.parametrize('victim', ['vLLM', 'worker'])
def test_nothing_is_lost_when_a_process_is_killed(folders, model, tmp_path, victim):
  """After some shards; the next run has the missing ones, and the same table."""
  out = tmp_path / 'out'
  flags = ('--engine=vllm', '--shard_users=1', '--split=all', '--batch_size=2')
  argv = command(model, *folders, out, *flags)
  started = [sys.executable, '-m', 'pipelines.batch_predict', *argv]
  worker = psutil.Popen(started, cwd=ROOT, stderr=subprocess.PIPE, text=True)
  read = concurrent.futures.ThreadPoolExecutor(1).submit(worker.stderr.read)
  while not (done := sorted(out.rglob('predictions-*'))):
    assert worker.poll() is None
    time.sleep(0.01)
  (server,) = [x for x in worker.children() if 'vllm_server' in ' '.join(x.cmdline())]
  (server if victim == 'vLLM' else worker).kill()
  assert worker.wait(60) != 0
  server.wait(60)  # it ends with the worker
  said = read.result(60)
  if victim == 'vLLM':
    assert f'the process of vLLM ({PYTHON}) ended; its log above says why' in said
  kept = {path: path.stat().st_mtime_ns for path in out.rglob('predictions-*')}
  assert {*done} <= {*kept}
  assert not (out / 'COMPLETED').exists()
  batch_predict.run(argv)
  again = [path.stat().st_mtime_ns for path in kept if path.exists()]
  assert again == [kept[path] for path in kept if path.exists()]
  batch_predict.run(command(model, *folders, tmp_path / 'jax', *flags[1:]))
  check_same([tmp_path / 'jax', out])


@pytest.mark.assets
def test_the_decoder_is_another_one_or_not_there(
  folders,
  model,
  tiny_decoder,  # noqa: F811
  tmp_path,
):
  """Both are said before vLLM would be started."""
  wider = lambda writer: writer.add_key_length(64)
  other = tiny.write_decoder(tmp_path / 'other.gguf', wider, head=64)
  for place, told in (
    (other, 'the adapter was trained with the decoder of'),
    (tmp_path / 'none', "none': not a folder and not a .gguf file"),
  ):
    changed = tmp_path / f'model_{place.name}'
    shutil.copytree(model, changed)
    config = changed / 'config.gin'
    text = config.read_text()
    assert str(tiny_decoder) in text
    config.write_text(text.replace(str(tiny_decoder), str(place)))
    argv = command(changed, *folders, tmp_path / f'out_{place.name}', '--engine=vllm')
    with pytest.raises(Exception, match=told):
      batch_predict.run(argv)
