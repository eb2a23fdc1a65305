"""A study in processes of its own, on generated ratings and a small decoder."""

import ast
import json
import pathlib
import re
import signal
import sys
import time

import pytest
import yaml

from tests import movielens, tiny
from tests.engines import processes

pytestmark = [pytest.mark.assets, pytest.mark.slow, pytest.mark.timeout(1200)]
ADAPTERS = ('mlp', 'perceiver')


@pytest.fixture(scope='module')
def command(tmp_path_factory, assets, tiny_decoder):
  """The command of a study of two adapters."""
  assets('all-MiniLM-L6-v2')
  assets('smollm2-135m-instruct')  # the vocabulary
  folder = tmp_path_factory.mktemp('study')
  small = dict(line.split(' = ', 1) for line in tiny.RECIPE)
  del small['history_limits.items']  # is an axis
  content = {
    'about': 'Which adapter?',
    'data': str(movielens.write(folder, users=60)),
    'base': {'max_history': 12},
    'bindings': {key: ast.literal_eval(value) for key, value in small.items()}
    | {'build.decoder': str(tiny_decoder), 'Mlp.width': 16},
    'grids': [{'adapter': list(ADAPTERS)}],
  }
  (folder / 'adapters.yaml').write_text(yaml.safe_dump(content))
  run = [sys.executable, '-m', 'pipelines.study', 'run']
  return [*run, f'{folder}/adapters.yaml', f'--output_dir={folder}/out']


@pytest.fixture(scope='module')
def out(command):
  """The folder of the study, which is stopped in its second cell and gone on with."""
  folder = pathlib.Path(command[-1].partition('=')[2])
  log, env = folder.with_suffix('.log'), processes.environment()
  with processes.started(command, log, env) as process:
    end = time.monotonic() + 600
    while len(list(folder.glob('cells/*/training.log'))) < len(ADAPTERS):
      assert process.poll() is None, log.read_text()
      assert time.monotonic() < end, log.read_text()
      time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
  (first,) = folder.glob('results/*.json')
  before = first.read_bytes()
  done = processes.run(command, log, env, timeout=600)
  assert not done.code, done.output
  assert first.read_bytes() == before, 'a finished cell is not run again'
  return folder


def test_each_cell_is_a_result(out):
  found = [json.loads(path.read_text()) for path in out.glob('results/*.json')]
  assert {cell['axes']['adapter'] for cell in found} == set(ADAPTERS)
  for cell in found:
    persoma, bound = (cell['methods'][x] for x in ('persoma', 'rule_on_sample'))
    assert 0 <= persoma['f1_low'] <= persoma['f1_high'] <= 1
    assert bound['users'] == persoma['users'] > 0
    stages = {'training', 'predictions', 'report'}
    assert cell['took'].keys() == stages
    assert cell['wall_seconds'] == pytest.approx(
      sum(cell['took'][stage]['seconds'] for stage in stages)
    )
    assert cell['peak_bytes'] > 1e8
    assert '/' not in cell['data']['name'], 'no path of a machine'
    assert 'train.seed = 0' in cell['config']
  continued = {cell['axes']['adapter']: cell['took']['training'] for cell in found}
  assert [continued[name]['continued'] for name in ADAPTERS] == [False, True]


def test_the_page_shows_both(out):
  page = (out / 'report' / 'study.html').read_text()
  assert '<svg' in page
  assert not re.search(r'(src|href)="https?:', page), 'opens without a network'
  for path in out.glob('results/*.json'):
    cell = json.loads(path.read_text())
    assert f'{cell["methods"]["persoma"]["f1"]:.3f}' in page


def test_nothing_is_left_to_do(command, out, tmp_path):
  results = {path: path.stat().st_mtime_ns for path in out.glob('results/*.json')}
  done = processes.run(
    [*command, '--dry_run'], tmp_path / 'log', processes.environment()
  )
  assert not done.code, done.output
  assert '2 of 2 cells finished' in done.output
  assert results == {path: path.stat().st_mtime_ns for path in results}
