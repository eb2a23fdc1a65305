"""Flags of jobs, and of Beam behind them."""

import argparse
import dataclasses
import json
import pathlib
import re
import subprocess
import sys
from typing import Literal

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import batch_predict, build_histories, embed_items
from pipelines.common import flags


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


def parse(arguments, config_cls=Config):
  """(config, Beam's options) of a command line."""
  config, beams = flags.parse_with_beam(config_cls, arguments, 'Does nothing.')
  return config, flags.beam_options(config, beams)


def test_flags():
  config, options = parse(
    ['--ratings=x', '--max_history=7', '--overwrite', '--job_name=test']
  )
  assert config == Config('x', 7, True)
  assert options.get_all_options()['job_name'] == 'test'
  assert options.get_all_options()['runner'] == 'FnApiRunner'


@pytest.mark.parametrize(
  ('flag', 'value'),
  [('--overwrite=true', True), ('--nooverwrite', False), ('--overwrite=0', False)],
)
def test_booleans(flag, value):
  assert parse(['--ratings=x', flag])[0].overwrite is value


def test_runner_is_kept():
  _, options = parse(['--ratings=x', '--runner=PortableRunner'])
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
    ({'--output_dir': '/here'}, '--output_dir=/here: workers cannot write'),
    ({'--setup_file': None}, '--setup_file=./setup.py'),
    ({'--project': None}, '--project'),
  ],
)
def test_what_dataflow_needs_is_asked_for_before_anything_runs(
  changes, message, capsys
):
  def read(given):
    given = [f'{flag}={value}' for flag, value in given.items() if value]
    inputs = ['--ratings=gs://b/r', '--movies=gs://b/m']
    return parse([*inputs, *given], build_histories.Config)

  assert read(_DATAFLOW)[0].output_dir == 'gs://bucket/h'
  with pytest.raises(SystemExit) as ended:
    read({**_DATAFLOW, **changes})
  assert ended.value.code == 2
  assert message in capsys.readouterr().err


@pytest.mark.parametrize('module', [build_histories, embed_items, batch_predict])
def test_flex_template_has_the_flags_of_the_job(module):
  name = f'{module.__name__.split(".")[-1]}_template.json'
  path = pathlib.Path(__file__).parents[3] / 'cloud' / name
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
  ('arguments', 'message'),
  [
    (['--ratings=x', '--max_histroy=3'], 'did you mean --max_history?'),
    (['--ratings=x', '--runer=X'], 'did you mean --runner?'),
    (['--ratings=x', 'extra'], "'extra' is not a flag"),
    (['--ratings=x', '--job_name=a', 'extra'], "'extra' is not a flag"),
    (['--ratings=x', '--max_history=0'], 'expected at least 1'),
    (['--ratings=x', '--max_history=ten'], 'max_history'),
    (['--ratings=x', '--sampler=newest'], 'recency'),
    (['--ratings=x', '--overwrite=maybe'], 'neither true nor false'),
    ([], '--ratings'),
  ],
)
def test_bad_flags(arguments, message, capsys):
  with pytest.raises(SystemExit) as raised:
    parse(arguments)
  assert raised.value.code == 2
  assert message in capsys.readouterr().err


def test_a_job_without_a_pipeline_has_no_flags_of_beam(capsys):
  assert flags.parse(Config, ['--ratings=x', '--max_history=7'], '').max_history == 7
  with pytest.raises(SystemExit):
    flags.parse(Config, ['--ratings=x', '--runner=DataflowRunner'], '')
  assert 'unknown flag --runner' in capsys.readouterr().err


def test_help_names_every_flag(capsys):
  with pytest.raises(SystemExit) as raised:
    parse(['--help'])
  assert raised.value.code == 0
  shown = capsys.readouterr().out
  assert all(f'--{field.name}' in shown for field in dataclasses.fields(Config))
  assert '100 % of it' in shown
  assert 'default: 50' in shown


@pytest.mark.parametrize('name', ['build_histories', 'evaluate'])
def test_command_line(name):
  """Each job as people start it: an unknown flag ends with 2 and a hint."""
  command = [sys.executable, '-m', f'pipelines.{name}', '--output_dri=x']
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 2
  assert done.stderr.strip().splitlines()[-1].startswith('python -m pipelines.')


def test_flags_of_beam_are_those_that_beam_parses():
  """The names that its source spells are the names that its options take."""
  parser = argparse.ArgumentParser(allow_abbrev=False)
  for options in PipelineOptions.__subclasses__():
    if options.__module__ == PipelineOptions.__module__:
      options._add_argparse_args(parser)
  taken = {name for name in parser._option_string_actions if name.startswith('--')}
  assert taken - {'--help'} <= flags._beam_flag_names()


@pytest.mark.parametrize('name', ['build_histories', 'embed_items', 'batch_predict'])
def test_nothing_heavy_is_imported_before_flags_are_read(name):
  """A bad flag ends a job before Beam, JAX or TensorFlow are loaded."""
  code = (
    f'import sys, pipelines.{name} as job\n'
    "try: job.run(['--no_such_flag'])\n"
    'except SystemExit as ended: assert ended.code == 2\n'
    "heavy = {'apache_beam', 'jax', 'tensorflow', 'scipy', 'google.cloud.storage'}\n"
    'print(*heavy & {*sys.modules})'
  )
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
  assert done.stdout.strip() == '', done.stderr
