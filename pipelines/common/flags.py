"""Reads the command line of a job.

A job's flags are the fields of a frozen dataclass `Config`. This module imports nothing
slow: `beam_options` imports Beam, after the job's own flags are checked, so that
`--help` and a mistyped flag are answered at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib.util
import pathlib
import re
import types
import typing
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.common import places
from pipelines.common.places import Place

if TYPE_CHECKING:
  from apache_beam.options.pipeline_options import PipelineOptions


def flag(text: str, default: Any = dataclasses.MISSING) -> Any:
  """Returns a `Config` field with its help text; without a default it is required."""
  return dataclasses.field(default=default, metadata={'help': text})


def path_flag(
  text: str, default: Any = dataclasses.MISSING, place: Place = places.LAUNCHER
) -> Any:
  """Returns a field as `flag` does, of the path or address of files or of a folder."""
  about = {'help': text, 'place': place}
  return dataclasses.field(default=default, metadata=about)


def split_names(text: str) -> list[str]:
  """Returns the names in a value with commas."""
  return [name for name in text.split(',') if name]


def parse(config_cls: type, argv: Sequence[str] | None, description: str = '') -> Any:
  """Reads the command line of a job without a pipeline.

  Every field of `config_cls` is a flag of the same name. A field of type `Literal` is a
  choice; a boolean flag has the form `--name`, `--noname` or `--name=true`.

  Args:
    config_cls: dataclass of the flags; a ValueError of its `__post_init__` is reported
      as a bad flag.
    argv: command-line arguments; None for the arguments of the process.
    description: text whose first line --help shows.

  Returns:
    An instance of `config_cls`.

  Raises:
    SystemExit: with code 2 for a bad, missing or unknown flag, with 0 for --help.
  """
  parser = _flag_parser(config_cls, description)
  values, unknown = parser.parse_known_args(argv)
  if unknown:
    parser.error(_unknown_flag(unknown, _names(parser)))
  return _make_config(config_cls, values, parser, ())


def parse_with_beam(
  config_cls: type, argv: Sequence[str] | None, description: str = ''
) -> tuple[Any, list[str]]:
  """Reads the command line of a job with a pipeline; arguments as for `parse`.

  Returns:
    (instance of `config_cls`, Beam's own arguments for `beam_options`).

  Raises:
    SystemExit: with the codes of `parse`.
  """
  parser = _flag_parser(config_cls, description)
  parser.epilog = 'Any flag of Apache Beam may follow, such as --runner=DataflowRunner.'
  values, rest = parser.parse_known_args(argv)
  beam_flags = _beam_flag_names()
  if unknown := _not_of_beam(rest, beam_flags):
    parser.error(_unknown_flag(unknown, {*_names(parser), *beam_flags}))
  return _make_config(config_cls, values, parser, rest), rest


def named_in(arguments: Sequence[str]) -> set[str]:
  """Returns the names of the flags in a command line, without dashes."""
  words = [word for word in arguments if word.startswith('--')]
  return {word.removeprefix('--').partition('=')[0] for word in words}


def beam_options(config: Any, arguments: Sequence[str]) -> PipelineOptions:
  """Returns Beam's options, after a check that the runner has all flags it needs.

  Without `--runner` the pipeline runs in this process.

  Args:
    config: flags of the job.
    arguments: Beam's own arguments, from `parse_with_beam`.

  Raises:
    SystemExit: with code 2 if a flag that the runner needs is missing.
  """
  from apache_beam.io.filesystems import FileSystems
  from apache_beam.options.pipeline_options import PipelineOptions

  from pipelines.common import engines

  options = PipelineOptions([*engines.DEFAULTS, *arguments])
  options.get_all_options()  # ends with 2 where a value is wrong
  FileSystems.set_options(options)  # hdfs:// is read before the pipeline is made, too
  paths = [(name, getattr(config, name), place) for name, place in _places(config)]
  try:
    engines.check_engine(options, paths)
  except ValueError as error:
    _Parser(prog=_program(type(config))).error(str(error))
  return options


def is_detached(options: PipelineOptions) -> bool:
  """Tells whether this process ends before the pipeline, as for a flex template."""
  from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions

  template = options.view_as(GoogleCloudOptions).template_location
  return bool(template or options.view_as(StandardOptions).no_wait_until_finish)


class _Parser(argparse.ArgumentParser):
  """Reports an error in one line that points to --help."""

  def error(self, message):
    self.exit(2, f'{self.prog}: error: {message} (--help lists the flags)\n')


def _program(config_cls):
  return f'python -m {config_cls.__module__}'


def _flag_parser(config_cls, description):
  parser = _Parser(
    prog=_program(config_cls),
    description=description.split('\n')[0],
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  hints = typing.get_type_hints(config_cls)
  for field in dataclasses.fields(config_cls):
    _add_flag(parser, field, hints[field.name])
  return parser


def _add_flag(parser, field, hint):
  name = f'--{field.name}'
  text = field.metadata.get('help', '').replace('%', '%%')
  if field.default is dataclasses.MISSING:
    settings = {'required': True, 'help': f'{text} (required)'}
  else:
    default = str(field.default).replace('%', '%%')
    settings = {'default': field.default, 'help': f'{text} (default: {default})'}
  if typing.get_origin(hint) in (types.UnionType, typing.Union):
    hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
  if hint is bool:
    parser.add_argument(name, nargs='?', const=True, type=_to_bool, **settings)
    parser.add_argument(
      f'--no{field.name}', dest=field.name, action='store_false', help=argparse.SUPPRESS
    )
  elif typing.get_origin(hint) is typing.Literal:
    parser.add_argument(name, choices=typing.get_args(hint), **settings)
  else:
    parser.add_argument(name, type=hint, metavar=hint.__name__.upper(), **settings)


def _to_bool(text):
  values = {'true': True, '1': True, 'false': False, '0': False}
  if text.lower() not in values:
    raise argparse.ArgumentTypeError(f'{text!r} is neither true nor false')
  return values[text.lower()]


def _make_config(config_cls, values, parser, beams):
  given = vars(values)
  try:
    for name, place in _places(config_cls):
      given[name] = place.read(name, given[name], beams)
    return config_cls(**given)
  except ValueError as error:
    parser.error(str(error))


def _places(config) -> list[tuple[str, Place]]:
  """Returns name and place of each flag that takes paths."""
  fields = dataclasses.fields(config)
  return [(x.name, x.metadata['place']) for x in fields if 'place' in x.metadata]


def _names(parser):
  return {name for action in parser._actions for name in action.option_strings}


def _beam_flag_names() -> set[str]:
  """Reads the flag names from Beam's source text; importing Beam takes seconds."""
  package = importlib.util.find_spec('apache_beam').submodule_search_locations[0]
  source = pathlib.Path(package, 'options', 'pipeline_options.py').read_text()
  return set(re.findall(r"""['"](--[\w-]+)['"]""", source))


def _not_of_beam(arguments: Sequence[str], known: Collection[str]) -> list[str]:
  """Returns the arguments that are neither Beam flags nor values of Beam flags."""
  unknown, takes_value = [], False
  for word in arguments:
    name, equals, _ = word.partition('=')
    if word.startswith('-'):
      takes_value = not equals
      unknown += [] if name in known else [word]
    elif not takes_value:
      unknown.append(word)
  return unknown


def _unknown_flag(unknown, known):
  """Returns an error message about the first unknown argument."""
  first = next((word for word in unknown if word.startswith('-')), None)
  if first is None:
    return f'{unknown[0]!r} is not a flag; flags have the form --name=value'
  name = first.split('=')[0]
  nearest = difflib.get_close_matches(name, sorted(known), n=1)
  hint = f': did you mean {nearest[0]}?' if nearest else ''
  return f'unknown flag {name}{hint}'
