"""Every command that README and docs show is run by a test, or says why it is not.

RUN_BY names the file of tests that runs a module or a target of make; some are slow,
want T5X or need an emulator. README's steps by hand and docs/own_data.md are run as
they stand, but for flags that make them small. What no test runs is in NOT_RUN, and a
page that shows such a program says itself what was not run.

Here, without running anything, each command as it is shown: flags of our modules by
their own parsers, gin files and bindings by the recipes' parser, make's targets by
`make --dry-run`, and that the files that a command names are there.
"""

import argparse
import dataclasses
import importlib
import logging
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Sequence

import gin
import pytest

from persoma_tf import recipes
from pipelines.common import flags
from tests.commands import Command, commands_in, shown

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
RUN_BY = {
  'examples.books.make_data': 'e2e/test_own_data.py',
  'examples.serving.with_openai_server': 'examples/serving/test_serving.py',
  'examples.serving.with_transformers': 'examples/serving/test_serving.py',
  'make quickstart': 'e2e/test_quickstart.py',
  'make run': 'e2e/test_quickstart.py',
  'persoma_tf.assets': 'persoma_tf/test_assets.py',
  'persoma_tf.convert_checkpoint': 'persoma_tf/test_convert_checkpoint.py',
  'persoma_tf.export_decoder': 'persoma_tf/test_export_decoder.py',
  'pipelines.study': 'e2e/test_study.py',
  'pipelines.inspect': 'e2e/test_chain.py',
  'persoma_tf.train': 'e2e/test_chain.py',
  'pipelines.ask': 'e2e/test_chain.py',
  'pipelines.batch_predict': 'e2e/test_chain.py',
  'pipelines.build_histories': 'e2e/test_chain.py',
  'pipelines.embed_items': 'e2e/test_chain.py',
  'pipelines.evaluate': 'e2e/test_chain.py',
  'pipelines.load_predictions': 'engines/test_bigquery.py',
  'pipelines.try_dataset': 'pipelines/test_try_dataset.py',
  'pipelines.t5x_answers': 'pipelines/test_t5x_answers.py',
  'vllm.entrypoints.openai.api_server': 'examples/serving/test_serving.py',
  't5x.infer': 't5x/test_t5x.py',
  't5x.train': 't5x/test_t5x.py',
}
NOT_RUN = {
  'gcloud': 'Google Cloud',
  'bq': 'Google Cloud',
  'pip': 'downloads from the network',
  'tensorboard': 'a server that stays',
  'benchmarks': 'minutes to hours of a quiet machine; what they wrote is in results/',
  'make assets': 'downloads from the network',
  'make help': 'lists the targets',
  'make lock': 'downloads from the network',
  'make lint': 'what changes are checked with, before they are handed in',
  'make pin-images': 'asks the registries of the images',
  'make setup': 'makes the environment that the tests run in',
  'make setup-prism': 'downloads from the network',
  'make setup-t5x': 'downloads from the network',
  'make setup-vllm': 'downloads from the network',
  'make test': 'would run itself',
  'make test-vllm': 'runs the tests that start vLLM, on a machine that has it',
  'make test-engine': 'runs engines/test_job_service.py on a service of yours',
  'tests.pipelines.test_robustness': 'prints a table that its own test compares',
}
SHELL = ('cd', 'export', 'mkdir', 'rm', 'source')
OURS = ('pipelines', 'persoma_tf', 'tasks', 'benchmarks', 'examples', 'tests')
_FOLDERS = '|'.join((*OURS, 'cloud', 'docs', 'studies'))
_OUR_FILE = re.compile(rf'(?:--[^=]+=)?((?:\./[\w.]|(?:{_FOLDERS})/)[\w./-]*)')


COMMANDS = [(page.name, command) for page in PAGES for command in shown(page)]


class _Parsed(Exception):
  """Ends a module's `main` where its flags are read; holds them."""


def read_flags(
  module: str, arguments: Sequence[str], whole: bool, monkeypatch
) -> argparse.Namespace:
  """Flags of a module with an argument parser in `main`, which goes no further.

  Raises:
    SystemExit: a flag is unknown, or missing where the command is `whole`.
  """
  if importlib.util.find_spec(module).submodule_search_locations:  # a package
    module += '.__main__'
  source = pathlib.Path(importlib.util.find_spec(module).origin).read_text()
  if 'ArgumentParser' not in source:
    assert not arguments, f'{module} takes no arguments'
    return argparse.Namespace()
  assert '.parse_args(' in source, f'{module}: nothing would end its main'
  parse = argparse.ArgumentParser.parse_args

  def read(self, given=None, namespace=None):
    for action in self._actions:
      action.required = action.required and whole
    raise _Parsed(parse(self, given, namespace))

  with monkeypatch.context() as patch:
    patch.setattr(argparse.ArgumentParser, 'parse_args', read)
    patch.setattr(logging, 'basicConfig', lambda **_: None)
    patch.setattr(sys, 'argv', [module, *arguments])
    with pytest.raises(_Parsed) as ended:
      importlib.import_module(module).main()
  return ended.value.args[0]


def is_package(module: str) -> bool:
  """Tells whether a command is a folder with a `__main__`."""
  found = importlib.util.find_spec(module)
  return bool(found and found.submodule_search_locations)


def check_module(module: str, arguments: Sequence[str], whole: bool, monkeypatch):
  """Raises SystemExit or an error about a flag, a recipe or a binding."""
  if module.startswith('pipelines.') and not is_package(module):
    config = importlib.import_module(module).Config
    given = {word.partition('=')[0] for word in arguments}
    needed = [x for x in dataclasses.fields(config) if x.default is dataclasses.MISSING]
    names = [x.name for x in needed]
    if module == 'pipelines.build_histories' and '--dataset' not in given:
      names += ['ratings', 'movies']
    missing = [] if whole else [name for name in names if f'--{name}' not in given]
    # What all of them can be, tables too.
    flags.parse_with_beam(
      config, [*arguments, *(f'--{name}=p:d.t' for name in missing)]
    )
    return
  bindings, _ = recipes.bindings_of(arguments)
  found = read_flags(module, arguments, whole, monkeypatch)
  if files := getattr(found, 'gin_file', None):
    folders = ["HISTORIES_DIR = 'h'", "EMBEDDINGS_DIR = 'e'"]
    gin.clear_config()
    recipes.parse_recipes(files, [*bindings, *folders])
    gin.clear_config()


def check_t5x(arguments: Sequence[str], whole: bool) -> None:
  """What can be said without T5X: the recipe is there and speaks of every setting."""
  bindings, flags = recipes.bindings_of(arguments)
  files = [flag.partition('=')[2] for flag in flags if flag.startswith('--gin_file=')]
  assert files or not whole, 'no recipe'
  text = ''.join((ROOT / file).read_text() for file in files)
  for binding in bindings:
    name = binding.partition(' = ')[0]
    assert re.search(rf'\b{re.escape(name)}\b', text), f'{files} do not name {name}'


def dry_run(*arguments: str) -> str:
  """What make would run; nothing of a make that runs the tests is passed on."""
  run = ['make', '--dry-run', *arguments]
  own = {name: x for name, x in os.environ.items() if not name.startswith('MAKE')}
  done = subprocess.run(
    run, cwd=ROOT, env=own, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
  return done.stdout


def check(command: Command, monkeypatch) -> None:
  """Fails if a command cannot be right."""
  words = command.words
  for word in words:
    if path := _OUR_FILE.fullmatch(word):
      assert (ROOT / path[1]).exists(), f'{path[1]} is not there'
  if command.program in SHELL or command.program in NOT_RUN:
    return
  if command.program == 'make':
    dry_run(*words[1:])
    return
  monkeypatch.chdir(ROOT)
  assert command.program == 'python', f'{words[0]} is neither checked nor in NOT_RUN'
  if words[1] != '-m':
    assert (ROOT / words[1]).is_file(), f'{words[1]} is not there'
  elif words[2].startswith('t5x.'):
    check_t5x(words[3:], command.whole)
  elif not words[2].startswith('vllm.'):  # which is in another environment
    assert words[2].split('.')[0] in OURS, f'{words[2]} is none of our modules'
    check_module(words[2], words[3:], command.whole, monkeypatch)


@pytest.mark.parametrize(
  ('page', 'command'),
  COMMANDS,
  ids=[f'{page}: {" ".join(command.words)[:60]}' for page, command in COMMANDS],
)
def test_what_a_page_shows(page, command, monkeypatch):
  check(command, monkeypatch)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_a_page_says_what_was_not_run(page):
  mine = [command for name, command in COMMANDS if name == page.name]
  t5x = any(word.startswith('t5x.') for command in mine for word in command.words)
  if t5x or any(command.program in NOT_RUN for command in mine):
    assert re.search(r'\bNot run\b', page.read_text())


def test_the_makefile_calls_the_jobs_rightly(tmp_path, monkeypatch):
  called = []
  for command in commands_in(dry_run('quickstart', f'RUN={tmp_path}/run')):
    words = command.words[: (*command.words, '>').index('>')]
    if command.program == 'python' and words[2].split('.')[0] in OURS:
      check(command._replace(words=words), monkeypatch)
      called.append(words[2].rpartition('.')[2])
  chain = ['build_histories', 'embed_items', 'train', 'batch_predict', 'evaluate']
  assert [name for name in called if name != 'assets'] == chain


def runs(command: Command) -> str:
  """What a command runs, by its name in RUN_BY and NOT_RUN."""
  if command.program == 'make':
    return f'make {command.words[1]}'
  if command.program != 'python':
    return command.program
  module = command.words[2]
  return 'benchmarks' if module.startswith('benchmarks.') else module


def test_each_is_run_by_a_test_or_says_why_not():
  found = {runs(command) for _, command in COMMANDS} - {*SHELL}
  assert found == RUN_BY.keys() | NOT_RUN.keys()
  for name, test in RUN_BY.items():
    assert re.split(r'[. ]', name)[-1] in (ROOT / 'tests' / test).read_text(), name


RIGHT = [
  'python -m pipelines.embed_items --histories_dir=h --output_dir=e',
  'python -m persoma_tf.train --gin_file=runs/perceiver.gin --model_dir=m '
  '--gin.train.tuning="\'lora\'"',
  'make test',
  'gcloud storage ls',
]


@pytest.mark.parametrize('command', RIGHT)
def test_what_is_right_passes(command, monkeypatch):
  check(*commands_in(command), monkeypatch)


_QUICKSTART = 'python -m persoma_tf.train --model_dir=m --gin_file=runs/perceiver.gin'
_T5X = 'python -m t5x.train --gin_file=persoma_tf/configs/t5x'


@pytest.mark.parametrize(
  ('command', 'reason'),
  [
    ('python -m pipelines.embed_items --histories_dir=h', '--output_dir'),
    (f'{RIGHT[0]} --batch_sise=3', 'did you mean --batch_size?'),
    ('python -m pipelines.no_such_job', 'no_such_job'),
    ('python -m persoma_tf.train --gin_file=runs/perceiver.gin', '--model_dir'),
    (f'{_QUICKSTART} --no_such=3', '--no_such'),
    (f'{_QUICKSTART} --gin_file=runs/quickstrat.gin', 'no recipe'),
    (f'{_QUICKSTART} --gin.train.tunning=3', 'tunning'),
    ('python -m benchmarks.samplers --movielens=m --no_such=3', '--no_such'),
    ('python -m benchmarks.record_minilm_reference --no_such=3', 'no arguments'),
    ('python -m torch.distributed', 'none of our modules'),
    (f'{_T5X}/train.gin --gin.NO_SUCH=1', 'NO_SUCH'),
    (f'{_T5X}/no_such.gin', 'no_such.gin'),
    ('python examples/no_such.py', 'no_such.py is not there'),
    ('make no-such-target', 'no-such-target'),
    ('gcloud builds submit --config=cloud/no_such.json', 'no_such.json is not there'),
    ('no_such_program', 'neither checked nor in NOT_RUN'),
  ],
)
def test_what_is_wrong_fails(command, reason, monkeypatch, capsys):
  wrong = (AssertionError, OSError, ImportError, ValueError, SystemExit)
  with pytest.raises(wrong) as raised:
    check(*commands_in(command), monkeypatch)
  assert reason in f'{raised.value} {capsys.readouterr().err}'


def test_how_commands_are_read():
  text = """
A=1 B='2 3' one --a=$(x y) \\
  --b  # a comment
# nothing
two && three ...
four --command='cd there &&
  five "six"'
"""
  found = [(' '.join(command.words), command.whole) for command in commands_in(text)]
  assert found == [
    ('one --a=made --b', True),
    ('two', True),
    ('three', False),
    ('four --command=cd there &&\n  five "six"', True),
    ('cd there', True),
    ('five six', True),
  ]
