"""Flags and errors."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys
from typing import Literal

import pytest

from pipelines import batch_predict, build_histories, embed_items
from pipelines.common import flags, job


@dataclasses.dataclass(frozen=True)
class Config:
  """Flags of a job that does nothing."""

  ratings: str = dataclasses.field(metadata={'help': 'where from'})
  max_history: int = dataclasses.field(default=50, metadata={'help': '100 % of it'})
  overwrite: bool = False
  sampler: Literal['recency', 'random'] = 'recency'

  def __post_init__(self):
    if self.max_history < 1:
      raise ValueError(f'max_history={self.max_history}: expected at least 1')


def test_flags():
  config, options = flags.parse_with_beam(
    Config, ['--ratings=x', '--max_history=7', '--overwrite', '--job_name=test']
  )
  assert config == Config('x', 7, True)
  assert options.get_all_options()['job_name'] == 'test'
  assert options.get_all_options()['runner'] == 'FnApiRunner'


@pytest.mark.parametrize(
  ('flag', 'value'),
  [('--overwrite=true', True), ('--nooverwrite', False), ('--overwrite=0', False)],
)
def test_booleans(flag, value):
  assert flags.parse_with_beam(Config, ['--ratings=x', flag])[0].overwrite is value


def test_runner_is_kept():
  _, options = flags.parse_with_beam(Config, ['--ratings=x', '--runner=PortableRunner'])
  assert options.get_all_options()['runner'] == 'PortableRunner'


_DATAFLOW = {
  '--runner': 'DataflowRunner',
  '--output_dir': 'gs://bucket/h',
  '--project': 'test',
  '--region': 'us-central1',
  '--temp_location': 'gs://bucket/temp',
  '--setup_file': './setup.py',
}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'--output_dir': '/here'}, '--output_dir=/here: no place where workers can'),
    ({'--setup_file': None}, '--setup_file=./setup.py'),
    ({'--project': None}, '--project'),
  ],
)
def test_what_dataflow_needs_is_asked_for_before_anything_runs(
  changes, message, capsys
):
  def parse(flags):
    flags = [f'{flag}={value}' for flag, value in flags.items() if value]
    return flags.parse_with_beam(
      build_histories.Config, ['--ratings=gs://b/r', '--movies=gs://b/m', *flags]
    )

  assert parse(_DATAFLOW)[0].output_dir == 'gs://bucket/h'
  with pytest.raises(SystemExit) as ended:
    parse({**_DATAFLOW, **changes})
  assert ended.value.code == 2
  assert message in capsys.readouterr().err


@pytest.mark.parametrize('module', [build_histories, embed_items, batch_predict])
def test_flex_template_has_the_flags_of_the_job(module):
  name = f'{module.__name__.split(".")[-1]}_template.json'
  path = pathlib.Path(__file__).parents[2] / 'cloud' / name
  parameters = json.loads(path.read_text())['parameters']
  found = {parameter['name']: parameter for parameter in parameters}
  fields = {field.name: field for field in dataclasses.fields(module.Config)}
  assert found.keys() == fields.keys()
  for name, field in fields.items():
    required = field.default is dataclasses.MISSING
    assert found[name]['isOptional'] is not required, name
    default = 'gs://bucket/x' if required else str(field.default)
    default = default.lower() if isinstance(field.default, bool) else default
    for regex in found[name].get('regexes', []):
      assert re.search(regex, default), name
      assert not re.search(regex, ' no such value '), name


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--ratings=x', '--max_histroy=3'], 'did you mean --max_history?'),
    (['--ratings=x', '--runer=X'], 'did you mean --runner?'),
    (['--ratings=x', 'extra'], "'extra' is not a flag"),
    (['--ratings=x', '--max_history=0'], 'expected at least 1'),
    (['--ratings=x', '--max_history=ten'], 'max_history'),
    (['--ratings=x', '--sampler=newest'], 'recency'),
    (['--ratings=x', '--overwrite=maybe'], 'neither true nor false'),
    ([], '--ratings'),
  ],
)
def test_bad_flags(flags, message, capsys):
  with pytest.raises(SystemExit) as raised:
    flags.parse_with_beam(Config, flags)
  assert raised.value.code == 2
  assert message in capsys.readouterr().err


def test_a_job_without_a_pipeline_has_no_flags_of_beam(capsys):
  assert flags.parse(Config, ['--ratings=x', '--max_history=7'], '').max_history == 7
  with pytest.raises(SystemExit):
    flags.parse(Config, ['--ratings=x', '--runner=DataflowRunner'], '')
  assert 'unknown flag --runner' in capsys.readouterr().err


def test_help_names_every_flag(capsys):
  with pytest.raises(SystemExit) as raised:
    flags.parse_with_beam(Config, ['--help'])
  assert raised.value.code == 0
  shown = capsys.readouterr().out
  assert all(f'--{field.name}' in shown for field in dataclasses.fields(Config))
  assert '100 % of it' in shown
  assert 'default: 50' in shown


@pytest.mark.parametrize('error', [job.JobError, RuntimeError])
def test_a_job_error_is_one_sentence(error):
  def run():
    if error is job.JobError:
      raise job.JobError("ratings.csv is empty [while running 'Read']")
    raise RuntimeError(
      "pipelines.common.job.JobError: ratings.csv is empty [while running 'X']"
    )

  with pytest.raises(SystemExit) as raised:
    job.main(run)
  assert raised.value.code == 'error: ratings.csv is empty'


def test_other_errors_pass():
  def run():
    raise RuntimeError('a bug')

  with pytest.raises(RuntimeError, match='a bug'):
    job.main(run)


def test_versions():
  found = job.versions('numpy', 'no-such-package')
  assert found['numpy'][0].isdigit()
  assert found['no-such-package'] == 'not installed'


@pytest.mark.parametrize('name', ['build_histories', 'evaluate'])
def test_command_line(name):
  """Each job as people start it: an unknown flag ends with 2 and a hint."""
  command = [sys.executable, '-m', f'pipelines.{name}', '--output_dri=x']
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 2
  assert done.stderr.strip().splitlines()[-1].startswith('python -m pipelines.')
