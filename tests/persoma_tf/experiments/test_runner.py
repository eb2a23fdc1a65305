"""Cells with stages that only tell that they ran."""

import json

import pytest

from persoma_tf.experiments import claims, data_files, runner, stages
from persoma_tf.experiments.study import Cell, Study

CELL = Cell({'sampler': 'recency', 'max_history': 5}, (), 'cell', '')
STUDY = Study('study', '', 0, 'data', {}, (CELL,))


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.setattr(data_files, 'checksums', lambda _: {'ratings': '0' * 64})
  monkeypatch.setattr(stages, 'prepare', lambda *_: {})
  monkeypatch.setattr(stages, 'own', lambda *_: {'first': [], 'second': []})
  monkeypatch.setattr(runner, 'result', lambda *_: {'took': list(_[-1])})
  return runner.Folder(str(tmp_path))


def test_a_cell(folder, monkeypatch):
  ran = []
  monkeypatch.setattr(
    stages, 'run', lambda stage, *_: ran.append(stage) or stages.Took(1, 1, 1)
  )
  assert runner.finish(folder, STUDY, CELL) == 'done'
  assert runner.finish(folder, STUDY, CELL) == 'done'
  assert ran == ['first', 'second']
  assert json.loads(folder.result(CELL).read_text()) == {'took': ran}


@pytest.mark.parametrize('fails', [False, True])
def test_who_lost_a_cell_writes_nothing(folder, monkeypatch, fails):
  ran = []

  def run(stage, *_):
    ran.append(stage)
    monkeypatch.setattr(claims, '_DEAD', -1)
    assert claims.Claim(folder.claim('cell'))._take()  # another process
    if fails:
      raise stages.StageError('the other one was in the way')
    return stages.Took(1, 1, 1)

  monkeypatch.setattr(stages, 'run', run)
  assert runner.finish(folder, STUDY, CELL) == 'elsewhere'
  assert ran == ['first']
  assert not folder.result(CELL).exists()
  assert not folder.error(CELL).exists()
