"""What methods without a language model reach, against the report of a run."""

import json

import pytest

from pipelines.common.job import JobError
from pipelines.inspect import __main__ as command
from pipelines.inspect import floors, printed
from pipelines.try_dataset import run_chain
from tests.pipelines.test_try_dataset import write


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  folder = tmp_path_factory.mktemp('floors')
  return run_chain(write(folder), folder / 'made').folder


def test_scores_are_those_of_the_report(made, capsys):
  found = floors.describe_floors(f'{made}/histories', f'{made}/embeddings')
  report = json.loads((made / 'report' / 'metrics.json').read_text())['methods']
  bound = report['rule_on_sample']['f1']
  for name, row in found['methods'].items():
    assert row['f1'] == pytest.approx(report[name]['f1'])
    assert row['of_the_bound'] == pytest.approx(report[name]['f1'] / bound)
  assert {*report} - {*found['methods']} <= {'persoma', 'draft', 'swapped_users'}
  best = max(set(found['methods']) - {'rule_on_sample'}, key=lambda x: report[x]['f1'])
  assert found['advice'].startswith(f'{best} has ')
  flags = [f'--histories_dir={made}/histories', f'--embeddings_dir={made}/embeddings']
  with pytest.raises(SystemExit) as ended:
    command.main(flags)
  assert not ended.value.code
  assert capsys.readouterr().out == f'{printed.format_floors(found)}\n'


def test_folders_that_are_not_there(made):
  with pytest.raises(JobError, match='nowhere'):
    floors.describe_floors(f'{made}/nowhere', f'{made}/embeddings')
