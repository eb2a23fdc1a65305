"""Cells with stages that only tell that they ran."""

import json

import pytest

from pipelines.study import cells, claims, data_files, plan, processes
from pipelines.study.study_file import Cell, Study

CELL = Cell({'sampler': 'recency', 'max_history': 5}, (), 'cell', '')
STUDY = Study('study', '', 0, 'data', {}, (CELL,))


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.setattr(data_files, 'checksums', lambda _: {'ratings': '0' * 64})
  monkeypatch.setattr(processes, 'input_commands', lambda *_: {})
  monkeypatch.setattr(
    processes, 'cell_commands', lambda *_: {'first': [], 'second': []}
  )
  monkeypatch.setattr(cells, 'cell_result', lambda *_: {'took': list(_[-1])})
  return cells.StudyFolder(str(tmp_path))


def test_a_cell(folder, monkeypatch):
  ran = []
  monkeypatch.setattr(
    processes,
    'run_process',
    lambda stage, *_: ran.append(stage) or processes.Took(1, 1, 1),
  )
  assert cells.finish_cell(folder, STUDY, CELL) == 'done'
  assert cells.finish_cell(folder, STUDY, CELL) == 'done'
  assert ran == ['first', 'second']
  assert json.loads(folder.result(CELL).read_text()) == {'took': ran}


@pytest.mark.parametrize('question', ['', 'like_v1'])
def test_the_result_of_a_cell_is_that_of_its_question(question, tmp_path, monkeypatch):
  monkeypatch.setattr(data_files, 'checksums', lambda _: {})
  for name, auc in (('', 0.5), ('like_v1', 0.75), ('stars_v1', 0.25)):
    (report := tmp_path / 'report' / name).mkdir(exist_ok=True)
    told = {'persoma': {'auc': auc}}
    content = {'data': {'score': 'auc'}, 'methods': told, 'run': {'model': {}}}
    (report / 'metrics.json').write_text(json.dumps(content))
  cell = Cell({'question': question} if question else {}, (), 'cell', '')
  took = {'training': {'seconds': 2, 'peak_bytes': 3}}
  found = cells.cell_result(STUDY, cell, tmp_path, took)
  assert found['methods'] == {'persoma': {'auc': 0.75 if question else 0.5}}


def test_the_list_of_cells_names_their_scores(folder):
  result = folder.result(CELL)
  result.parent.mkdir()
  told = {'methods': {'persoma': {'auc': 0.75, 'f1': 0.5}}, 'wall_seconds': 61}
  for score, shown in (({'score': 'auc'}, 'AUC 0.750'), ({}, 'F1 0.500')):
    result.write_text(json.dumps(told | score))
    assert plan.study_table(folder, STUDY).startswith(shown)


@pytest.mark.parametrize('fails', [False, True])
def test_who_lost_a_cell_writes_nothing(folder, monkeypatch, fails):
  ran = []

  def run(stage, *_):
    ran.append(stage)
    monkeypatch.setattr(claims, '_DEAD', -1)
    assert claims.Claim(folder.claim('cell'))._take()  # another process
    if fails:
      raise processes.StageError('the other one was in the way')
    return processes.Took(1, 1, 1)

  monkeypatch.setattr(processes, 'run_process', run)
  assert cells.finish_cell(folder, STUDY, CELL) == 'elsewhere'
  assert ran == ['first']
  assert not folder.result(CELL).exists()
  assert not folder.error(CELL).exists()


def test_other_movies_are_other_inputs(folder, monkeypatch):
  """Cells of one ratings file with two movies files share no histories."""
  took = set()
  monkeypatch.setattr(
    processes, 'cell_commands', lambda cell, inputs, own: took.add(inputs) or {}
  )
  for number, movies in enumerate(('a', 'b', 'b')):
    sums = {'ratings.csv': '0' * 64, 'movies.csv': movies}
    monkeypatch.setattr(data_files, 'checksums', lambda _, sums=sums: sums)
    cell = Cell(CELL.axes, (), f'cell{number}', '')
    assert cells.finish_cell(folder, STUDY, cell) == 'done'
  assert len(took) == 2
