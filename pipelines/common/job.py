"""What every job shares: flags, errors, rejects, versions.

A job is a module with a frozen dataclass `Config` whose fields are its flags and a
`run(argv)` that reads parse, validate, build(pipeline, config), run. The last lines
of a job import its own module by name, so that nothing of `__main__` is pickled:

    if __name__ == '__main__':
      from pipelines import build_histories
      job.main(build_histories.run)
"""

import argparse
import dataclasses
import difflib
import logging
import re
import sys
import types
import typing
from collections.abc import Callable, Sequence
from importlib import metadata

from apache_beam.options.pipeline_options import (
  GoogleCloudOptions,
  PipelineOptions,
  StandardOptions,
  _BeamArgumentParser,
)

import pipelines

_PACKAGES = ('apache-beam', 'numpy', 'pyarrow')


class JobError(ValueError):
  """Something the user can put right: one sentence, shown without a traceback."""


def main(run: Callable[[], object]) -> None:
  """Runs a job and exits: 0 done, 1 a JobError, 2 a bad flag."""
  logging.basicConfig(level=logging.INFO, format='%(asctime)s %(name)s: %(message)s')
  for library in ('apache_beam', 'jax', 'absl'):
    logging.getLogger(library).setLevel(logging.WARNING)
  logging.getLogger('apache_beam.runners.common').addFilter(_is_no_job_error)
  try:
    run()
  except JobError as error:  # Beam adds the step's name
    sys.exit(f'error: {str(error).split(" [while running")[0]}')
  except RuntimeError as error:  # runners with workers of their own send text
    found = re.search(r'JobError: (.*?)(?: \[while running|\n|$)', str(error))
    if not found:
      raise
    sys.exit(f'error: {found[1]}')


def _is_no_job_error(record):
  """Beam logs the trace of what a step raises; of a JobError the sentence is enough."""
  return not (record.exc_info and isinstance(record.exc_info[1], JobError))


def parse_with_beam(
  config_cls: type, argv: Sequence[str] | None = None, description: str = ''
):
  """Reads the command line.

  Every field of `config_cls` is a flag of the same name; `metadata={'help': ...}`
  describes it, a field without default is required, `Literal` types are choices and
  booleans read `--name`, `--noname` or `--name=true`. What is left over must be
  Beam's. Without `--runner` the pipeline runs in this process: Beam's own default
  first looks for a binary on the network.

  Args:
    config_cls: a dataclass. A ValueError of its `__post_init__` is a bad flag.
    argv: the arguments; those of the process when None.
    description: shown by --help.

  Returns:
    (config, PipelineOptions).

  Raises:
    SystemExit: 2 for a bad, missing or unknown flag, 0 for --help.
  """
  parser = _flag_parser(config_cls, description)
  parser.epilog = 'Any flag of Apache Beam may follow, such as --runner=DataflowRunner.'
  values, rest = parser.parse_known_args(argv)
  beam = _BeamArgumentParser(prog=parser.prog, allow_abbrev=False)
  for options in PipelineOptions.__subclasses__():
    options._add_argparse_args(beam)
  given, unknown = beam.parse_known_args(rest)
  if unknown:
    parser.error(_unknown_flag(unknown, parser, beam))
  config = _made(config_cls, values, parser)
  if not given.runner:
    rest = [*rest, '--runner=FnApiRunner']
  if problem := _cannot_run(given, config):
    parser.error(problem)
  return config, PipelineOptions(rest)


def parse_flags(config_cls: type, argv: Sequence[str] | None, description: str):
  """Reads the command line of a job without a pipeline, which has no flags of Beam.

  Args:
    config_cls: as in `parse`.
    argv: as in `parse`.
    description: shown by --help.

  Returns:
    The config.

  Raises:
    SystemExit: as `parse`.
  """
  parser = _flag_parser(config_cls, description)
  values, unknown = parser.parse_known_args(argv)
  if unknown:
    parser.error(_unknown_flag(unknown, parser))
  return _made(config_cls, values, parser)


def _made(config_cls, values, parser):
  try:
    return config_cls(**vars(values))
  except ValueError as error:
    parser.error(str(error))


def _cannot_run(given, config):
  """What the runner lacks, in a sentence; Beam says it when files are written."""
  folder = getattr(config, 'output_dir', None)  # a job without one writes elsewhere
  if folder is None or 'dataflow' not in (given.runner or '').lower():
    return None
  if '://' not in folder:
    return f'--output_dir={folder}: no place where workers can write; expected gs://...'
  if not (given.setup_file or given.sdk_container_image or given.extra_packages):
    return (
      'workers of Dataflow lack this package: --setup_file=./setup.py, or '
      '--sdk_container_image with an image that has it'
    )
  return None if given.project else '--runner=DataflowRunner needs --project'


def is_detached(options: PipelineOptions) -> bool:
  """Whether this process ends before the pipeline does, as with a flex template."""
  template = options.view_as(GoogleCloudOptions).template_location
  return bool(template or options.view_as(StandardOptions).no_wait_until_finish)


def versions(*packages: str) -> dict[str, str]:
  """Versions of Python and of the installed packages, for the info files."""
  python = '.'.join(map(str, sys.version_info[:3]))
  # Not from the metadata: a checkout has none, a worker does.
  found = {'python': python, 'persoma': pipelines.__version__}
  for name in (*_PACKAGES, *packages):
    try:
      found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      found[name] = 'not installed'
  return found


def reject(stage: str, reason: str, **record) -> dict:
  """A row that could not be used, as it stands in rejects-*.jsonl.

  Args:
    stage: the step that refused it, such as 'read_ratings'.
    reason: a fixed name, such as 'not_a_number'.
    **record: `file`, `line` (counted from 1), `field`, `value`, `raw` text, and
      `expected`: what would be right.
  """
  return {'stage': stage, 'reason': reason, 'record': record}


class _Parser(argparse.ArgumentParser):
  """Says what is wrong in one line; --help has the rest."""

  def error(self, message):
    self.exit(2, f'{self.prog}: error: {message} (--help lists the flags)\n')


def _flag_parser(config_cls, description):
  parser = _Parser(
    prog=f'python -m {config_cls.__module__}',
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  hints = typing.get_type_hints(config_cls)
  for field in dataclasses.fields(config_cls):
    _add_flag(parser, field, hints[field.name])
  return parser


def _add_flag(parser, field, hint):
  flag = f'--{field.name}'
  text = field.metadata.get('help', '').replace('%', '%%')
  if field.default is dataclasses.MISSING:
    settings = {'required': True, 'help': f'{text} (required)'}
  else:
    default = str(field.default).replace('%', '%%')
    settings = {'default': field.default, 'help': f'{text} (default: {default})'}
  if typing.get_origin(hint) in (types.UnionType, typing.Union):
    hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
  if hint is bool:
    parser.add_argument(flag, nargs='?', const=True, type=_to_bool, **settings)
    parser.add_argument(
      f'--no{field.name}', dest=field.name, action='store_false', help=argparse.SUPPRESS
    )
  elif typing.get_origin(hint) is typing.Literal:
    parser.add_argument(flag, choices=typing.get_args(hint), **settings)
  else:
    parser.add_argument(flag, type=hint, metavar=hint.__name__.upper(), **settings)


def _to_bool(text):
  values = {'true': True, '1': True, 'false': False, '0': False}
  if text.lower() not in values:
    raise argparse.ArgumentTypeError(f'{text!r} is neither true nor false')
  return values[text.lower()]


def _unknown_flag(unknown, *parsers):
  """A sentence about the first argument that no parser knows."""
  first = next((word for word in unknown if word.startswith('-')), None)
  if first is None:
    return f'{unknown[0]!r} is not a flag; flags read --name=value'
  name = first.split('=')[0]
  known = {flag for parser in parsers for flag in parser._option_string_actions}
  nearest = difflib.get_close_matches(name, sorted(known), n=1)
  hint = f': did you mean {nearest[0]}?' if nearest else ''
  return f'unknown flag {name}{hint}'
