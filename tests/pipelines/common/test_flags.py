"""Flags of jobs, and of Beam behind them."""

import argparse
import dataclasses
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
from typing import Literal

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from persoma_tf import convert_checkpoint, train
from pipelines import (
  batch_predict,
  build_histories,
  embed_items,
  evaluate,
  load_predictions,
  study_report,
  t5x_answers,
)
from pipelines.common import flags
from pipelines.study import __main__ as study


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
    ({'--output_dir': 'file:///here'}, '--output_dir=/here: workers cannot write'),
    ({'--ratings': '/home/r.csv'}, '--ratings=/home/r.csv: workers cannot read'),
    ({'--embeddings_dir': 'e'}, '--embeddings_dir=e: workers cannot read'),
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
    if '--embeddings_dir' in given[-1]:
      inputs += ['--sampler=diverse']
    return parse([*inputs, *given], build_histories.Config)

  assert read(_DATAFLOW)[0].output_dir == 'gs://bucket/h'
  with pytest.raises(SystemExit) as ended:
    read({**_DATAFLOW, **changes})
  assert ended.value.code == 2
  assert message in capsys.readouterr().err


@pytest.mark.parametrize('module', [embed_items, batch_predict])
def test_workers_of_dataflow_read_no_local_input(module, capsys):
  """But the name of an encoder, or its address, is no local path."""
  required = ('model_dir', 'histories_dir', 'embeddings_dir', 'output_dir')
  fields = module.Config.__dataclass_fields__
  right = {f'--{name}': f'gs://bucket/{name}' for name in required if name in fields}
  right = {**_DATAFLOW, **right}
  arguments = lambda given: [f'{flag}={value}' for flag, value in given.items()]
  inputs = [name for name in (*required[:3], 'encoder') if name in fields]
  for name in inputs:
    with pytest.raises(SystemExit) as ended:
      parse(arguments({**right, f'--{name}': '/home/x'}), module.Config)
    assert ended.value.code == 2
    assert f'--{name}=/home/x: workers cannot read' in capsys.readouterr().err
  parse(arguments(right), module.Config)
  if 'encoder' in inputs:
    for encoder in ('use-multilingual-v3', 'https://tfhub.dev/x/1', 'gs://bucket/x'):
      parse(arguments({**right, '--encoder': encoder}), module.Config)


# Module -> its flags that name files or folders.
_PATHS = {
  build_histories: (
    *('ratings', 'movies', 'output_dir', 'mapping', 'tags', 'descriptions', 'dataset'),
    'embeddings_dir',
  ),
  embed_items: ('histories_dir', 'output_dir', 'encoder'),
  batch_predict: ('model_dir', 'histories_dir', 'embeddings_dir', 'output_dir'),
  t5x_answers: ('answers_dir', 'model_dir', 'histories_dir', 'output_dir'),
  load_predictions: ('predictions_dir',),
  evaluate: ('predictions_dir', 'histories_dir', 'output_dir', 'model_dir'),
  study_report: ('results_dir', 'output_dir'),
}


def with_path(module, flag: str, value: str) -> list[str]:
  """A command line with every required flag, and one of its paths."""
  fields = dataclasses.fields(module.Config)
  required = [x.name for x in fields if x.default is dataclasses.MISSING]
  given = {name: 'p:d.t' if 'table' in name else 'x' for name in required}
  if module is build_histories:  # or a dataset file
    given |= {'ratings': 'x', 'movies': 'x'}
  if (module, flag) == (build_histories, 'embeddings_dir'):
    given['sampler'] = 'diverse'
  return [f'--{name}={text}' for name, text in {**given, flag: value}.items()]


@pytest.mark.parametrize(
  ('url', 'path'),
  [
    ('file:///data/a', '/data/a'),
    ('file://localhost/data/a', '/data/a'),
    ('file:/data/a', '/data/a'),
    ('FILE:///data/a%20b', '/data/a b'),
    ('file://data/a', 'data/a'),
    ('gs://bucket/a%20b', 'gs://bucket/a%20b'),
    ('/data/100%25', '/data/100%25'),
  ],
)
def test_a_file_url_is_a_path(url, path):
  for module, names in _PATHS.items():
    local = module in (evaluate, study_report)
    for name in names if not (local and 'gs:' in url) else ():
      config, _ = flags.parse_with_beam(module.Config, with_path(module, name, url))
      assert getattr(config, name) == path, (module, name)


@pytest.mark.parametrize('scheme', ['https', 'abfs', 'hdfs', 's3', 'GS', 'wasbs'])
def test_a_scheme_that_does_not_work_is_one_sentence(scheme, capsys):
  """For inputs and outputs of every job, before anything is read or written."""
  for module, names in _PATHS.items():
    for name in {*names} - ({'encoder'} if scheme == 'https' else set()):
      value = f'{scheme}://host/x'
      with pytest.raises(SystemExit) as ended:
        module.run(with_path(module, name, value))
      (line,) = capsys.readouterr().err.splitlines()
      assert ended.value.code == 2
      assert f' error: --{name}={value}: ' in line
      works = 'only local paths and file://'
      if module not in (evaluate, study_report):
        works = (
          f'{scheme}:// does not work here; expected a local path, file:// or gs://'
        )
      assert works in line


@pytest.mark.parametrize('url', ['file://', 'FILE://'])
def test_a_file_url_without_a_path_is_not_the_root(url, capsys):
  """As file://$UNSET gives it."""
  for module, names in _PATHS.items():
    for name in names:
      with pytest.raises(SystemExit):
        module.run(with_path(module, name, url))
      (line,) = capsys.readouterr().err.splitlines()
      assert f' error: --{name}={url}: expected a path behind file://' in line
  with pytest.raises(SystemExit):
    train.main([f'--model_dir={url}', '--gin_file=x'])
  said = capsys.readouterr().err
  assert f' argument --model_dir: {url}: expected a path behind file://\n' in said


def test_hdfs_works_where_beam_knows_its_host(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', _find_spec_with_hdfs)
  arguments = with_path(embed_items, 'histories_dir', 'hdfs://x/h')
  with pytest.raises(SystemExit):
    flags.parse_with_beam(embed_items.Config, arguments)
  config, _ = flags.parse_with_beam(
    embed_items.Config, [*arguments, '--hdfs_host=node', '--hdfs_port=9870']
  )
  assert config.histories_dir == 'hdfs://x/h'


def _find_spec_with_hdfs(name, find=importlib.util.find_spec):
  return find('json' if name == 'hdfs' else name)


@pytest.mark.parametrize(
  ('command', 'flag'),
  [
    (train.main, '--model_dir={} --gin_file=x'),
    (train.main, '--gin_file={} --model_dir=x'),
    (train.main, '--histories_dir={} --gin_file=x --model_dir=x'),
    (convert_checkpoint.main, '--checkpoint={} --gin_file=x --output_dir=x'),
    (convert_checkpoint.main, '--output_dir={} --gin_file=x'),
    (study.main, 'run {}'),
    (study.main, 'run x --output_dir={}'),
    (study.main, 'run x --data={}'),
  ],
)
def test_commands_that_read_local_paths_say_so(command, flag, capsys):
  with pytest.raises(SystemExit) as ended:
    command(flag.format('gs://bucket/x').split())
  assert ended.value.code == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert 'gs://bucket/x: gs:// is neither read nor written here; expected a ' in line


def test_a_job_reads_and_writes_file_urls(tmp_path, monkeypatch):
  """Nothing is left in a folder that is called "file:"."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'a b').mkdir()
  (tmp_path / 'a b' / 'r.csv').write_text(
    'userId,movieId,rating,timestamp\nu,1,4,100\nu,2,4,100\n'
  )
  (tmp_path / 'm.csv').write_text('movieId,title,genres\n1,A,War\n2,B,Drama\n')
  build_histories.run(
    [
      f'--ratings=file://{tmp_path}/a%20b/r.csv',
      f'--movies=file:{tmp_path}/m.csv',
      f'--output_dir=file://localhost{tmp_path}/h',
    ]
  )
  info = json.loads((tmp_path / 'h' / 'dataset_info.json').read_text())
  assert info['counts']['rows_kept'] == 2
  assert {path.name for path in tmp_path.iterdir()} == {'a b', 'm.csv', 'h'}


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
