"""The page of a study, and its numbers."""

import copy
import itertools
import json
import re

import numpy as np
import pytest

from pipelines import study_report
from pipelines.common.job import JobError
from pipelines.report import study_numbers
from pipelines.report.study_page import render_study_page

RNG = np.random.default_rng(0)


def cell(number: int, adapter: str, size: int, seed: int) -> dict:
  """A result in the form of `pipelines.study.cells.result`."""
  score = lambda f1: {'f1': f1, 'f1_low': f1 - 0.1, 'f1_high': f1 + 0.1, 'users': 20}
  took = lambda seconds: {'seconds': seconds, 'processor_seconds': 1.0, 'peak_bytes': 1}
  return {
    'study': 'own <b>',
    'cell': f'{adapter}-{size}-{seed}-{number:08x}',
    'axes': {
      'recipe': 'runs/perceiver.gin',
      'adapter': adapter,
      'sampler': 'recency',
      'max_history': size,
      'seed': seed,
    },
    'data': {'name': 'ml-100k', 'sha256': {'u.data': 'abc'}},
    'methods': {
      'persoma': score(float(RNG.random())) | {'parse_failures': seed},
      'rule_on_sample': score(0.8),
      'constant': score(0.2),
      'counting': score(0.1),
    },
    'took': {'training': took(120.0 * size), 'predictions': took(40.0)},
    'wall_seconds': 200.0,
    'peak_bytes': 2_000_000_000 + number,
    'finished_at': '2026-01-01T00:00:00+00:00',
    'machine': {'processors': 2, 'device': 'cpu'},
    'config': 'train.seed = <0>',
  }


GRID = list(itertools.product(('mlp', 'perceiver'), (10, 50), (0, 1)))
CELLS = [cell(number, *axes) for number, axes in enumerate(GRID)]


def test_settings_are_means_over_seeds():
  found = study_numbers.group_settings(CELLS)
  assert [x.value for x in found] == sorted((x.value for x in found), reverse=True)
  assert {x.label for x in found} == {
    f'{adapter}, N={size}' for adapter in ('mlp', 'perceiver') for size in (10, 50)
  }
  one = next(x for x in found if x.label == 'mlp, N=50')
  values = [x['methods']['persoma']['f1'] for x in CELLS[2:4]]
  assert one.value == pytest.approx(np.mean(values))
  assert one.spread == pytest.approx(np.ptp(values))
  assert (one.low, one.high) == pytest.approx((one.value - 0.1, one.value + 0.1))
  assert (one.training_minutes, one.prediction_seconds) == (100.0, 2.0)
  assert (one.failures, one.bound, one.peak_bytes) == (0.5, 0.8, 2_000_000_003)


def test_lines_over_history_length():
  lines = study_numbers.group_lines(study_numbers.group_settings(CELLS))
  assert {line.label for line in lines} == {'mlp', 'perceiver'}
  assert all(
    [x.axes['max_history'] for x in line.settings] == [10, 50] for line in lines
  )
  assert study_numbers.group_lines(study_numbers.group_settings(CELLS[:2])) == []


def test_the_page():
  page = render_study_page(CELLS)
  assert page == render_study_page(CELLS), 'the same results give the same text'
  assert not re.search(r'(?:src|href)="(?!#)', page), 'it needs nothing else'
  assert '<b>”' not in page
  assert 'train.seed = &lt;0&gt;' in page
  assert page.count('<svg') == 3
  for each in CELLS:
    assert each['cell'] in page


def test_methods_without_a_model():
  """Results of older versions have fewer of them."""
  head = lambda page: re.findall(
    r'<th scope="col"[^>]*>([^<]*)', page[page.index('id="references"') :]
  )[:6]
  columns = ['sampler', 'N', 'rule_on_sample', 'constant', 'counting']
  assert head(render_study_page(CELLS))[:5] == columns
  assert 'linear_probe' not in render_study_page(CELLS)
  cells = copy.deepcopy(CELLS)
  for each in cells[2:4]:  # the settings of one length
    each['methods']['linear_probe'] = {'f1': 0.654}
  page = render_study_page(cells[:4])
  assert head(page) == [*columns, 'linear_probe']
  rows = re.sub('<[^>]*>', ' ', page[page.index('id="references"') :])
  rows = ' '.join(rows.split())
  assert 'recency 10 0.800 0.200 0.100 – ' in rows
  assert 'recency 50 0.800 0.200 0.100 0.654 ' in rows


def test_the_page_names_the_machines():
  assert 'cpu (2 processors)' in render_study_page(CELLS)
  machines = [{'processors': 1, 'device': 'cpu'}, {'processors': 8, 'device': 'tpu'}]
  more = [x | {'machine': machine} for x, machine in zip(CELLS, machines, strict=False)]
  page = render_study_page([*CELLS, *more])
  assert 'cpu (1 or 2 processors), tpu (8 processors)' in page


def test_the_page_of_one_cell():
  page = render_study_page(CELLS[:1])
  assert page.count('<svg') == 2
  assert 'No setting was run at several history lengths' in page


def test_the_job(tmp_path, capsys):
  results = tmp_path / 'results'
  results.mkdir()
  flags = [f'--results_dir={results}', f'--output_dir={tmp_path}/report']
  with pytest.raises(JobError, match='holds no finished cell'):
    study_report.run(flags)
  for each in CELLS:
    (results / f'{each["cell"]}.json').write_text(json.dumps(each))
  study_report.run(flags)
  printed = capsys.readouterr().out
  assert printed == (tmp_path / 'report' / 'scores.md').read_text()
  assert len(printed.splitlines()) == 2 + 4
  assert (tmp_path / 'report' / 'study.html').read_text() == render_study_page(
    sorted(CELLS, key=lambda x: x['cell'])
  )
  (results / 'other.json').write_text('{"axes": {}}')
  with pytest.raises(JobError, match=r'other\.json is no result'):
    study_report.run([*flags, '--overwrite'])
  nobody = copy.deepcopy(CELLS[0])
  nobody['methods']['persoma']['users'] = 0
  (results / 'other.json').write_text(json.dumps(nobody))
  with pytest.raises(JobError, match=r'other\.json .*scores no users'):
    study_report.run([*flags, '--overwrite'])


def test_each_question_has_a_page_with_its_own_score(tmp_path, capsys):
  """Of errors the smallest is the best, and no rule bounds them."""
  told = {'like_v1': ('auc', (0.7, 0.8)), 'stars_v1': ('rmse', (1.2, 1.1))}
  for question, (score, values) in told.items():
    for tuning, value in zip(('frozen', 'lora'), values, strict=True):
      each = cell(0, '', 1, 0)
      each |= {'cell': f'{question}-{tuning}', 'score': score}
      each['axes'] = {'question': question, 'tuning': tuning, 'seed': 0}
      ours = {score: value, f'{score}_low': value - 0.1, f'{score}_high': value + 0.1}
      ours |= {'users': 20, 'parse_failures': 0}
      each['methods'] = {'persoma': ours, 'draft': ours, 'item_mean': {score: 0.75}}
      (tmp_path / f'{each["cell"]}.json').write_text(json.dumps(each))
  study_report.run([f'--results_dir={tmp_path}', f'--output_dir={tmp_path}/report'])
  printed = capsys.readouterr().out
  assert re.findall(r'(?m)^## (.*)$', printed) == [*told]
  assert re.findall(r'\| (AUC|RMSE) \|', printed) == ['AUC', 'RMSE']
  rows = re.findall(r'\| (frozen|lora) \| 1 \| (\S+) \| (\S+) to .* \| – \|', printed)
  assert rows == [
    ('lora', '0.800', '0.700'),
    ('frozen', '0.700', '0.600'),
    ('lora', '1.100', '1.000'),
    ('frozen', '1.200', '1.100'),
  ]
  for question, (score, _) in told.items():
    page = (tmp_path / 'report' / f'study_{question}.html').read_text()
    assert f'{question}-lora' in page
    assert {'auc': 'AUC', 'rmse': 'RMSE'}[score] in page
    assert not re.search('F1|rule_on_sample, ', page)
    text = ' '.join(re.sub('<[^>]*>', ' ', page).split())
    assert 'Methods without a language model item_mean 0.750 Cells' in text


def test_labels_of_a_study_that_varies_one_axis_at_a_time():
  grid = [('perceiver', 50), ('mlp', 50), ('perceiver', 10), ('perceiver', 200)]
  cells = [cell(number, *axes, 0) for number, axes in enumerate(grid)]
  found = study_numbers.group_settings(cells)
  assert {x.label for x in found} == {'common', 'mlp', 'N=10', 'N=200'}
  assert [line.label for line in study_numbers.group_lines(found)] == ['perceiver']
  text = ' '.join(render_study_page(cells).split())
  assert 'named by its differences from perceiver, N=50; “common” has none' in text
